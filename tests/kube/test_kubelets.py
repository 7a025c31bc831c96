"""Who can't be patched: instances on nodes whose kubelet doesn't restart a patched sidecar (docs/rules.md)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import kube_objects as objects
import pytest
from aiohttp import web
from faulty_server import json, serving, status_object
from kube_objects import NOW

from scalesets.engine.view import (
    Catalogue,
    CatalogueVersion,
    Instance,
    Model,
    ModelExtension,
    Release,
    SetStatus,
    SetView,
    StartedBy,
    Upgrade,
    UpgradeMode,
    UpgradeType,
)
from scalesets.kube import kubelets
from scalesets.kube.kubelets import Kubelets, is_near, is_too_old, on_nodes


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("v1.31.14", True),
        ("v1.32.0", False),
        ("v1.36.3", False),
        ("v1.9.0", True),
        ("v2.0.0", False),
        ("1.31.0", True),
        ("v1.31.4-gke.1372000", True),
        ("v1.32.0-rc.1+k3s1", False),
        ("v1.100.0", False),
        ("", False),
        ("kubelet", False),
        ("v1", False),
    ],
)
def test_kubelets_before_1_32_are_too_old(version: str, old: bool) -> None:
    assert is_too_old(version) is old


def an_instance(ordinal: int, node: str, **extensions: str) -> Instance:
    release = Release("1.0.0", "m", tuple(sorted(extensions.items())))
    return Instance(ordinal, f"uid-{ordinal}", release, NOW, node=node)


def test_the_instances_on_them_are_named() -> None:
    instances = {0: an_instance(0, "old"), 1: an_instance(1, "new"), 2: an_instance(2, ""), 3: an_instance(3, "old")}
    assert on_nodes(instances, {"old"}) == {0, 3}
    assert on_nodes(instances, set()) == frozenset()


# -- when nodes are looked at ------------------------------------------------------------------------------------------


def a_view(*, installed: str = "1.0.0", follows: bool = True, supported: bool = True, **given: Any) -> SetView:
    extension = ModelExtension("monitor", "acme/monitor", "1.0", enable_automatic_upgrade=follows)
    versions = tuple(CatalogueVersion(v, NOW, NOW) for v in ("1.0.0", "1.1.0", "2.0.0"))
    return SetView(
        namespace="team",
        name="web",
        uid="uid",
        generation=1,
        created=NOW,
        replicas=1,
        mode=UpgradeMode.ROLLING,
        model=Model("m", "c", "image", extensions=(extension,)),
        status=SetStatus(),
        extensions={"acme/monitor": Catalogue("monitor", versions, supports_automatic_upgrade=supported)},
        instances={0: an_instance(0, "node", monitor=installed)},
        **given,
    )


LATER = NOW + timedelta(seconds=1)
BY_HAND = Upgrade("up", "uid", NOW, UpgradeType.EXTENSION, StartedBy.USER)


def test_they_are_looked_at_when_an_extension_upgrade_is_near() -> None:
    assert is_near(a_view(), LATER)
    assert is_near(a_view(follows=False, upgrades=(BY_HAND,)), LATER), "a user asks for one"


def test_they_are_not_looked_at_otherwise() -> None:
    assert not is_near(a_view(installed="1.1.0"), LATER), "up to date within its major"
    assert not is_near(a_view(follows=False), LATER)
    assert not is_near(a_view(supported=False), LATER)
    model_upgrade = Upgrade("up", "uid", NOW, UpgradeType.MODEL, StartedBy.USER)
    assert not is_near(a_view(follows=False, upgrades=(model_upgrade,)), LATER)


# -- learning ----------------------------------------------------------------------------------------------------------


class Nodes:
    """An API server with these nodes."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions
        self.refusal: tuple[int, str, str] | None = None
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.refusal is not None:
            return status_object(*self.refusal)
        items: list[objects.Obj] = [
            {"metadata": {"name": n}, "status": {"nodeInfo": {"kubeletVersion": v}}} for n, v in self.versions.items()
        ]
        return json({"metadata": {"resourceVersion": "1"}, "items": [*items, {"metadata": {"name": "new"}}]})


INSTANCES = {0: an_instance(0, "a"), 1: an_instance(1, "b"), 2: an_instance(2, "new")}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_versions_are_learnt_once_and_hold_for_a_while() -> None:
    nodes = Nodes(a="v1.31.9", b="v1.36.3")
    clock = Clock()
    async with serving(nodes.answer) as cluster:
        known = Kubelets(cluster, clock=clock)
        assert not known.fresh_for
        assert not await known.learn()
        assert known.unpatchable(INSTANCES) == {0}
        assert known.fresh_for > 60
        assert not await known.learn()
        assert nodes.asked == 1, "another set needn't ask"
        clock.now += kubelets.HOLDS_FOR
        nodes.versions = {"a": "v1.36.3"}
        await known.learn()
        assert not known.unpatchable(INSTANCES)


async def test_who_may_not_read_nodes_says_so_once_and_goes_on() -> None:
    nodes = Nodes(a="v1.31.9")
    clock = Clock()
    nodes.refusal = (403, "Forbidden", "User cannot list nodes")
    async with serving(nodes.answer) as cluster:
        known = Kubelets(cluster, clock=clock)
        said = await known.learn()
        assert "User cannot list nodes" in said
        assert "ClusterRole" in said
        assert not known.unpatchable(INSTANCES)
        assert known.fresh_for > 60, "it isn't asked for again and again"
        clock.now += kubelets.HOLDS_FOR
        assert not await known.learn()
        assert nodes.asked == 2


async def test_a_busy_server_is_asked_again_soon_and_what_was_known_stays() -> None:
    nodes = Nodes(a="v1.31.9")
    clock = Clock()
    async with serving(nodes.answer) as cluster:
        known = Kubelets(cluster, clock=clock)
        await known.learn()
        nodes.refusal = (503, "ServiceUnavailable", "later")
        clock.now += kubelets.HOLDS_FOR
        assert not await known.learn()
        assert known.unpatchable(INSTANCES) == {0}
        assert 0 < known.fresh_for <= kubelets.AGAIN_AFTER
