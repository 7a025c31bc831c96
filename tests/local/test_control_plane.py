"""Start and end of control planes: nothing disturbs another one, nothing is left (docs/local.md)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import eventually
from scalesets.local.api import ApiError
from scalesets.local.binaries import find_binaries
from scalesets.local.controlplane import ControlPlane, free_ports, stop_in
from scalesets.local.errors import LocalError
from scalesets.local.kubeconfig import write_kubeconfig
from scalesets.local.layout import Layout
from scalesets.local.processes import ProcessIdentity, is_alive
from scalesets.local.progress import Progress
from scalesets.local.state import State, read_state

COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
SCALESETS = [sys.executable, "-c", "from scalesets.cli.app import main; main()"]


@pytest.fixture(scope="module")
def binaries() -> dict[str, Path]:
    return find_binaries(Progress(print))


def bare(directory: Path, binaries: dict[str, Path], **more: object) -> ControlPlane:
    """Return a control plane that starts quickest: nothing but the components."""
    return ControlPlane(directory, binaries=binaries, **{"machines": False, "install": False, **more})  # type: ignore[arg-type]


def scalesets(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SCALESETS, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


class TestTheSharedOne:
    def test_the_operator_has_an_identity_of_its_own_and_no_more_than_its_role(
        self, control_plane: ControlPlane
    ) -> None:
        as_operator = f"--kubeconfig={control_plane.operator_kubeconfig}"

        assert "system:serviceaccount:scaleset-system:scaleset-operator" in control_plane.kubectl(
            as_operator, "auth", "whoami"
        )
        assert control_plane.kubectl(as_operator, "auth", "can-i", "*", "*", check=False).startswith("no")

    def test_our_kinds_are_served(self, control_plane: ControlPlane) -> None:
        served = control_plane.kubectl("api-resources", "--api-group=scalesets.dev", "-o", "name").split()

        assert "scalesets.scalesets.dev" in served and "rollingupgrades.scalesets.dev" in served

    def test_kubectl_knows_the_version_of_the_server(self, control_plane: ControlPlane) -> None:
        said = json.loads(control_plane.kubectl("version", "-o", "json"))

        assert said["serverVersion"]["gitVersion"] == said["clientVersion"]["gitVersion"] == "v1.36.3"

    def test_kubeconfigs_are_for_their_owner_only(self, control_plane: ControlPlane) -> None:
        secret = [control_plane.kubeconfig, control_plane.operator_kubeconfig, control_plane.layout.pki.admin.key]

        assert [oct(path.stat().st_mode & 0o777) for path in secret] == ["0o600"] * 3


def test_two_at_once_dont_disturb_each_other_and_nothing_is_left(
    control_plane: ControlPlane, binaries: dict[str, Path], tmp_path: Path
) -> None:
    with bare(tmp_path / "second", binaries) as second:
        state = read_state(second.layout.state)
        assert state is not None and set(state.processes) == COMPONENTS
        assert set(ports_of(state)).isdisjoint(ports_of(read_state(control_plane.layout.state)))
        with second.api() as api:
            api.create("/api/v1/namespaces", {"metadata": {"name": "only-here"}})

        with pytest.raises(LocalError, match=r"already runs in .*second: use it, end it with"):
            bare(tmp_path / "second", binaries).start()
        bare(tmp_path / "second", binaries).stop()
        second.restart_apiserver()
        with second.api() as api:
            assert api.get("/api/v1/namespaces/only-here")["metadata"]["name"] == "only-here"

    assert not any(map(is_alive, state.processes.values()))
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == ["logs", "scalesets-local.lock"]
    with control_plane.api() as api, pytest.raises(ApiError, match="only-here"):
        api.get("/api/v1/namespaces/only-here")


def test_a_real_node_is_itself_and_no_other(binaries: dict[str, Path], tmp_path: Path) -> None:
    """127.0.0.2 is loopback as well, and not what the API server listens on without kubelets."""
    with bare(tmp_path, binaries, address="127.0.0.2", kubelets=("alpha",)) as running:
        node = tmp_path / "alpha.kubeconfig"
        write_kubeconfig(
            node,
            server=f"https://127.0.0.2:{running.ports.apiserver}",
            authority=running.layout.pki.authority,
            user="system:node:alpha",
            client=running.layout.pki.node("alpha"),
        )
        as_node = f"--kubeconfig={node}"
        assert "system:nodes" in running.kubectl(as_node, "auth", "whoami")
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "alpha"}}
        assert "created" in running.kubectl(as_node, "create", "-f", "-", stdin=json.dumps(body))
        body["metadata"] = {"name": "beta"}
        with pytest.raises(LocalError, match='node "alpha" is not allowed to modify node "beta"'):
            running.kubectl(as_node, "create", "-f", "-", stdin=json.dumps(body))


def test_a_directory_with_other_things_in_it_is_left_alone(binaries: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()

    with pytest.raises(LocalError, match="is not empty and no control plane's: name a new directory"):
        bare(tmp_path, binaries).start()

    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_a_port_that_was_taken_meanwhile_is_chosen_again(binaries: dict[str, Path], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        tries: list[list[int]] = []

        def choose(count: int) -> list[int]:
            tries.append(free_ports(count))
            if len(tries) == 1:
                tries[0][2] = taken.getsockname()[1]
            return tries[-1]

        with bare(tmp_path, binaries, choose_ports=choose) as plane:
            assert plane.ports.apiserver == tries[1][2]
    assert len(tries) == 2


def test_a_component_that_ends_shows_its_log_and_takes_the_others_with_it(
    binaries: dict[str, Path], tmp_path: Path
) -> None:
    plane = bare(tmp_path, binaries, apiserver_flags=("--no-such-flag",))

    with pytest.raises(
        LocalError, match=r"kube-apiserver ended with 1; .*kube-apiserver.log ends so:(?s:.)*no-such-flag"
    ):
        plane.start()

    assert read_state(plane.layout.state) is None
    assert not plane.layout.data.exists()


async def test_a_cancelled_start_leaves_nothing(binaries: dict[str, Path], tmp_path: Path) -> None:
    plane = bare(tmp_path, binaries)
    starting = asyncio.create_task(plane.__aenter__())
    while not (state := read_state(plane.layout.state)) or "kube-apiserver" not in state.processes:  # noqa: ASYNC110
        await asyncio.sleep(0.01)

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert not any(map(is_alive, state.processes.values()))
    assert read_state(plane.layout.state) is None


class TestCommands:
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Path]:
        yield tmp_path
        stop_in(tmp_path / ".local")

    def test_up_status_kubeconfig_down(self, place: Path) -> None:
        up = scalesets("local", "up", "--nodes", "2", "--zones", "1,2", cwd=place)
        assert up.returncode == 0, up.stderr
        assert "KUBECONFIG=.local/kubeconfig kubectl get nodes" in up.stdout
        state = state_in(place)
        assert set(state.processes) == {*COMPONENTS, "machines"}

        zones = scalesets("local", "kubectl", "get", "nodes", "-Ltopology.kubernetes.io/zone", cwd=place).stdout
        assert [line.split()[-1] for line in zones.splitlines()[1:]] == ["1", "2"]
        assert scalesets("local", "kubeconfig", cwd=place).stdout.strip() == str(place / ".local" / "kubeconfig")
        again = scalesets("local", "up", cwd=place)
        assert again.returncode == 1 and "a control plane already runs in" in again.stderr
        assert scalesets("local", "status", cwd=place).stdout.count("running") == 5
        kill(state.processes["kube-scheduler"])
        sick = scalesets("local", "status", cwd=place)
        assert sick.returncode == 1 and "kube-scheduler ended by itself" in sick.stderr

        down = scalesets("local", "down", cwd=place)
        assert down.returncode == 0 and "kube-apiserver" in down.stdout
        assert not any(map(is_alive, state.processes.values()))
        assert scalesets("local", "status", cwd=place).returncode == 3
        assert "Nothing runs" in scalesets("local", "down", cwd=place).stdout

    @pytest.mark.parametrize(
        ("after", "sent"),
        [("etcd", signal.SIGINT), ("kube-apiserver", signal.SIGTERM), ("machines", signal.SIGINT)],
    )
    def test_ctrl_c_in_the_middle_of_up_leaves_nothing(self, place: Path, after: str, sent: signal.Signals) -> None:
        up = subprocess.Popen([*SCALESETS, "local", "up"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        layout = Layout(place / ".local")
        eventually(lambda: (state := read_state(layout.state)) is not None and after in state.processes)
        seen = state_in(place)

        up.send_signal(sent)
        up.communicate(timeout=60)

        assert up.returncode == 130
        assert not any(map(is_alive, seen.processes.values()))
        assert read_state(layout.state) is None


def ports_of(state: State | None) -> list[int]:
    assert state is not None
    ports = state.ports
    return [ports.etcd, ports.etcd_peer, ports.apiserver, ports.controller_manager, ports.scheduler]


def state_in(place: Path) -> State:
    state = read_state(Layout(place / ".local").state)
    assert state is not None
    return state


def kill(process: ProcessIdentity) -> None:
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(process))
