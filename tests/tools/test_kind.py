"""What `make kind-up` tells kind, and what it does where there is no Docker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalesets.local.errors import LocalError
from tools import debian, kind


@pytest.fixture
def no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kind, "STATE", tmp_path / "kind")
    monkeypatch.setattr(debian, "PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("own", [False, True])
def test_two_nodes_are_two_zones(own: bool) -> None:
    nodes: Any = kind._configuration(own=own)["nodes"]
    assert [node["labels"]["topology.kubernetes.io/zone"] for node in nodes] == ["1", "2"]


def test_only_our_own_nodes_are_told_how_to_be() -> None:
    assert set(kind._configuration(own=False)) == {"kind", "apiVersion", "nodes"}
    patches: Any = kind._configuration(own=True)["kubeadmConfigPatches"]
    assert [yaml.safe_load(patch)["kind"] for patch in patches] == ["ClusterConfiguration", "KubeletConfiguration"]


def test_without_docker_only_root_gets_one(no_docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LocalError, match=r"no Docker answers: start Docker, or name one that runs in \$DOCKER_HOST"):
        kind._docker(start=True)


def test_install_starts_no_docker(no_docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(LocalError, match="no cluster was made with `make kind-up`"):
        kind._docker(start=False)


def test_a_trial_that_can_not_be_is_no_failure(
    no_docker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert kind.trial() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("test-kind: not run here: no Docker answers")


def test_a_docker_that_has_ended_is_not_taken_for_ours(no_docker: Path) -> None:
    kind.STATE.mkdir()
    (kind.STATE / "docker.json").write_text(f'{{"pid": {os.getpid()}, "started": "of another process"}}')
    assert kind._our_daemon() is None
