"""`make test-kubelet` says in one line why it can't run, and what it needs it installs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import debian, kubelets


def a_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    monkeypatch.setattr(debian, "PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_it_runs_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    why = "kubelets run on Linux only, this is darwin: `make kind-trial` has Docker run them"
    assert kubelets.why_not() == why


def test_it_takes_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert kubelets.main([]) == 0, "it isn't a failure"
    assert capsys.readouterr().out.startswith("test-kubelet: not run here: it takes root")
    assert kubelets.main(["--check"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("real kubelets: not here: it takes root")


def test_it_names_what_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for program in ("ip", "setpriv", "mount", "runc"):
        a_program(path / program, "")
    monkeypatch.setattr(kubelets, "_CNI_PLACES", (str(path),))
    assert (
        kubelets.why_not() == "containerd, containernetworking-plugins missing, and there is no apt-get to install them"
    )


def test_packages_are_installed_with_fresh_lists_when_the_first_try_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    log = path / "log"
    script = f'echo "$1 $@" >> {log}; [ "$1" = update ] && touch={path}/updated && : > $touch; [ -e {path}/updated ]'
    a_program(path / "apt-get", script)
    said: list[str] = []
    assert debian.install(["runc"], said.append) == ""
    assert said == ["installing runc"]
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["install", "update", "install"]


def test_a_failed_installation_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    a_program(path / "apt-get", "echo 'E: no network' >&2; exit 100")
    assert debian.install(["runc"], lambda _: None) == "apt-get could not install runc: E: no network"


def test_only_root_installs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    a_program(path / "apt-get", "exit 0")
    assert debian.install(["runc"], lambda _: None).startswith("runc missing, and only root")


@pytest.fixture
def namespaces() -> None:
    if why := kubelets.why_not():
        pytest.skip(f"no namespaces here: {why}")


LOOK = """
set -e
cat /proc/self/cgroup
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir /sys/fs/cgroup/pods
  for each in cpu cpuset memory pids; do grep -qw "$each" /sys/fs/cgroup/pods/cgroup.controllers; done
else
  for each in cpu cpuset memory pids; do mkdir /sys/fs/cgroup/$each/pods; done
fi
"""
"""What a kubelet needs: it is at the root, with controllers to hand on to groups of pods."""


def test_a_node_has_controllers_for_its_pods_and_starts_again_after_it_was_killed(namespaces: None) -> None:
    group = f"scalesets-try-{os.getpid()}"
    node = f"{LOOK}\n{kubelets.NAMESPACES} alpha bash -c '{LOOK}'"
    again = f"{node}\n{kubelets.NAMESPACES} --remove alpha\n{kubelets.NAMESPACES} alpha bash -c '{LOOK}'"
    try:
        done = subprocess.run([kubelets.NAMESPACES, group, "bash", "-c", again], capture_output=True, text=True)
    finally:
        removed = subprocess.run([kubelets.NAMESPACES, "--remove", group])
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stdout.splitlines() if not line.endswith((":/", ":/init"))]
    assert removed.returncode == 0
    assert not list(kubelets._GROUPS.glob(f"**/{group}"))


def test_a_run_that_is_killed_leaves_nothing(namespaces: None) -> None:
    """Its processes end at once; its cgroups can only be removed by the next run."""
    script = "from tools import kubelets; kubelets._in_namespaces(['sh', '-c', 'echo up; exec sleep 600'], {})"
    environment = {**os.environ, "PYTHONPATH": str(kubelets.ROOT)}
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert run.stdout is not None and run.stdout.readline() == b"up\n"
    group = f"scalesets-kubelets-{run.pid}"
    run.kill()
    assert run.stdout.read() == b"", "who holds the other end is gone"
    run.wait()
    assert list(kubelets._GROUPS.glob(f"**/{group}"))
    deadline = time.monotonic() + 10
    while list(kubelets._GROUPS.glob(f"**/{group}")):
        assert time.monotonic() < deadline
        kubelets._sweep()
