"""The finalizer goes off every upgrade, but not while an operator is at work (docs/design.md, "Before it starts")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from faulty_server import json, serving, status_object
from typer.testing import CliRunner

from scalesets.cli.commands import app
from scalesets.kube import farewell
from scalesets.kube.client import Outcome, Refusal
from scalesets.kube.names import FINALIZER
from scalesets.kube.settings import Settings
from scalesets.local.controlplane import ControlPlane

Body = dict[str, Any]


class Server:
    """Upgrades and a Lease."""

    def __init__(self, *upgrades: Body, lease: Body | None = None) -> None:
        self.upgrades = {each["metadata"]["name"]: each for each in upgrades}
        self.lease = lease
        self.on_lease: Callable[[], None] = lambda: None
        self.on_patch: Callable[[Body], None] = lambda _: None
        self.lists: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        if "leases" in request.path:
            self.on_lease()
            if self.lease is None:
                return status_object(404, "NotFound", "no lease")
            return json({"metadata": {}, "spec": self.lease})
        if request.method == "GET":
            self.lists.append(request.path)
            return json({"metadata": {"resourceVersion": "9"}, "items": list(self.upgrades.values())})
        name = request.path.rpartition("/")[2]
        version, finalizers = await request.json()
        self.on_patch(self.upgrades[name])
        if name not in self.upgrades:
            return status_object(404, "NotFound", "gone")
        metadata = self.upgrades[name]["metadata"]
        if version["value"] != metadata["resourceVersion"]:
            return status_object(409, "Conflict", "modified")
        metadata["finalizers"] = finalizers["value"]
        return json(self.upgrades[name])

    def finalizers(self) -> dict[str, list[str]]:
        return {name: each["metadata"]["finalizers"] for name, each in self.upgrades.items()}


def an_upgrade(name: str, *finalizers: str) -> Body:
    where = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"metadata": {**where, "finalizers": list(finalizers)}}


async def released(server: Server, *, patience: float = 0.0, **settings: Any) -> int:
    async with serving(server.answer) as cluster:
        return await farewell.release_finalizers(cluster, Settings(**settings), patience=patience)


async def test_ours_goes_and_others_stay() -> None:
    server = Server(an_upgrade("a", FINALIZER), an_upgrade("b", "x/y", FINALIZER), an_upgrade("c", "x/y"))
    assert await released(server) == 2
    assert server.finalizers() == {"a": [], "b": ["x/y"], "c": ["x/y"]}


async def test_in_the_chosen_namespaces_only() -> None:
    server = Server()
    await released(server, namespaces=("p", "q"))
    assert [path.split("/")[5] for path in server.lists] == ["p", "q"]


async def test_one_that_is_written_meanwhile_is_released_all_the_same() -> None:
    server = Server(an_upgrade("a", FINALIZER))
    changes = iter(("2", "3"))

    def change(upgrade: Body) -> None:
        upgrade["metadata"]["resourceVersion"] = next(changes, upgrade["metadata"]["resourceVersion"])

    server.on_patch = change
    assert await released(server) == 1
    assert server.finalizers() == {"a": []}


async def test_one_that_is_written_all_the_time_is_told() -> None:
    server = Server(an_upgrade("a", FINALIZER))
    server.on_patch = lambda u: u["metadata"].update(resourceVersion=u["metadata"]["resourceVersion"] + "1")
    with pytest.raises(Refusal) as caught:
        await released(server)
    assert caught.value.outcome is Outcome.CONFLICT


async def test_one_that_goes_meanwhile_needs_nothing() -> None:
    server = Server(an_upgrade("a", FINALIZER))
    server.on_patch = lambda _: server.upgrades.clear()
    assert await released(server) == 0


async def test_without_the_crd_there_is_nothing_to_do() -> None:
    async def answer(_: web.Request) -> web.Response:
        return status_object(404, "NotFound", "the server could not find the requested resource")

    async with serving(answer) as cluster:
        assert await farewell.release_finalizers(cluster, Settings(), patience=0) == 0


class TestTheLease:
    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(farewell, "LOOK_SECONDS", 0.01)

    async def test_one_that_was_given_back_is_free(self) -> None:
        server = Server(an_upgrade("a", FINALIZER), lease={"holderIdentity": "", "leaseDurationSeconds": 1})
        assert await released(server) == 1

    async def test_while_an_operator_is_at_work_nothing_is_touched(self) -> None:
        server = Server(an_upgrade("a", FINALIZER), lease={"holderIdentity": "op", "leaseDurationSeconds": 15})
        renewals = iter(range(1_000_000))
        server.on_lease = lambda: server.lease.update(renewTime=str(next(renewals)))  # type: ignore[union-attr]
        with pytest.raises(
            farewell.StillLed, match=r"the operator op is at work \(Lease scaleset-system/scaleset-operator"
        ):
            await released(server, patience=0.2)
        assert server.finalizers() == {"a": [FINALIZER]}

    async def test_it_waits_until_the_operator_ends(self) -> None:
        server = Server(an_upgrade("a", FINALIZER), lease={"holderIdentity": "op", "leaseDurationSeconds": 15})
        looks = iter(range(1_000_000))

        def look() -> None:
            if next(looks) == 3:
                assert server.finalizers() == {"a": [FINALIZER]}
                server.lease = {"holderIdentity": ""}

        server.on_lease = look
        assert await released(server, patience=30) == 1

    async def test_one_that_is_renewed_by_nobody_is_free_after_its_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(farewell, "LEASE_SECONDS", 0.1)
        server = Server(an_upgrade("a", FINALIZER), lease={"holderIdentity": "op", "leaseDurationSeconds": 0})
        assert await released(server, patience=30) == 1


def test_the_command_on_a_cluster_without_upgrades(control_plane: ControlPlane) -> None:
    result = CliRunner().invoke(
        app, ["release-finalizers", f"--kubeconfig={control_plane.kubeconfig}", "-n", "default"]
    )
    assert (result.exit_code, result.stdout) == (0, "Released 0 RollingUpgrades.\n")


def test_the_command_without_a_cluster() -> None:
    result = CliRunner().invoke(app, ["release-finalizers", "--kubeconfig=/does/not/exist"])
    assert result.exit_code == 6
    assert "there is no kubeconfig /does/not/exist" in result.stderr
