"""`make test-kubelet` says in one line why it can't run, and what it needs it installs."""

from __future__ import annotations

import os
import sys
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
    assert kubelets.why_not() == "kubelets run on Linux only, this is darwin"


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
    for program in ("ip", "unshare", "mount", "runc"):
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
