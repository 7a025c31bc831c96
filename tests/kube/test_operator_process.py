"""``scalesets operator`` as a process: how it starts, refuses to start, tells what it costs, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from scalesets.local.controlplane import ControlPlane

SCALESETS = Path(sys.executable).with_name("scalesets")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an operator; it ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(*options: str, **environment: str) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")}
        process = subprocess.Popen(
            [str(SCALESETS), "operator", *options],
            env={**clean, **environment},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """The log up to the line with these words."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"it ended without saying {words!r}:\n{''.join(lines)}")


def options(control_plane: ControlPlane) -> list[str]:
    # A Lease of its own: other tests' operators may lead on the shared control plane.
    name = {"name": "lease-of-a-test", "namespace": "default"}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    with control_plane.api() as api:
        role = api.get(f"{rbac}/namespaces/scaleset-system/roles/scaleset-operator")
        binding = api.get(f"{rbac}/namespaces/scaleset-system/rolebindings/scaleset-operator")
        api.apply(f"{rbac}/namespaces/default/roles/{name['name']}", {**role, "metadata": name})
        reference = {**binding["roleRef"], "name": name["name"]}
        bound = {**binding, "metadata": name, "roleRef": reference}
        api.apply(f"{rbac}/namespaces/default/rolebindings/{name['name']}", bound)
    return [
        f"--kubeconfig={control_plane.operator_kubeconfig}",
        "--namespace=nothing-here",
        "--lease-namespace=default",
    ]


def test_it_ends_at_once_when_told_to_and_hands_the_lease_over(control_plane: ControlPlane, start: Start) -> None:
    first = start(*options(control_plane))
    read_until(first, "ready:")
    second = start(*options(control_plane))
    read_until(second, "leads")
    first.send_signal(signal.SIGTERM)
    read_until(first, "leadership released")
    # kopf sleeps for five seconds if anything still runs then.
    released = time.monotonic()
    assert first.wait(timeout=30) == 0
    assert time.monotonic() - released < 4.9, "a task of ours held the process up"
    read_until(second, "ready:")
    second.send_signal(signal.SIGINT)
    assert second.wait(timeout=10) == 0


def test_it_tells_what_it_costs(control_plane: ControlPlane, start: Start, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    process = start(*options(control_plane), "--no-leader-election", SCALESETS_STATS=str(figures))
    read_until(process, "ready:")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    told = orjson.loads(figures.read_bytes())
    assert told["writes"] == {}
    assert told["marks"]["synced"]["cpu_seconds"] > 0


def test_it_says_so_when_the_crds_are_missing(control_plane: ControlPlane, start: Start, tmp_path: Path) -> None:
    """An API server without the CRDs: the same one, asked at a path that has none."""
    config = tmp_path / "elsewhere.kubeconfig"
    config.write_text(
        control_plane.kubeconfig.read_text().replace(control_plane.server, f"{control_plane.server}/version")
    )
    process = start(f"--kubeconfig={config}")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 6
    assert "install the CRDs" in said
    assert "Traceback" not in said


def test_it_says_so_when_nobody_answers(control_plane: ControlPlane, start: Start, tmp_path: Path) -> None:
    config = tmp_path / "nobody.kubeconfig"
    config.write_text(control_plane.kubeconfig.read_text().replace(control_plane.server, "https://127.0.0.1:9"))
    process = start(f"--kubeconfig={config}")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 6
    assert "no answer from https://127.0.0.1:9" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--trigger-delay-min=5 minutes",), "not an ISO 8601 duration"),
        (("--trigger-delay-min=PT2H", "--trigger-delay-max=PT1H"), "is longer than"),
        (("--timing=whenever",), "whenever"),
        (("--kubeconfig=/does/not/exist",), "there is no kubeconfig /does/not/exist"),
    ],
)
def test_wrong_options_are_said_in_words(start: Start, wrong: tuple[str, ...], words: str) -> None:
    process = start(*wrong)
    _, said = process.communicate(timeout=20)
    assert process.returncode in (2, 6)
    assert words in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said
