"""What `make kind-up` tells kind, and what it does where there is no Docker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalesets.local.errors import LocalError
from tools import debian, kind


@pytest.fixture
def no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kind, "STATE", tmp_path / "state")
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
    with pytest.raises(LocalError, match=r"no Docker answers \(there is no program docker\): start Docker, or name"):
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


class Docker:
    """A Docker that answers, and a kind that keeps its clusters in a file; both note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.clusters, self._log = folder / "clusters", folder / "log"
        self.clusters.touch()
        scripts = {
            "docker": 'case "$1 $2" in "image inspect") exit 1 ;; esac',
            "kubectl": "",
            "kind": f"""case "$1 $2" in
                "get clusters") while read -r each; do echo "$each"; done < {self.clusters} ;;
                "create cluster") echo {kind.NAME} > {self.clusters}; : > {kind.KUBECONFIG} ;;
                "export kubeconfig") : > {kind.KUBECONFIG} ;;
                "delete cluster") : > {self.clusters} ;;
                esac""",
        }
        for name, script in scripts.items():
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {self._log}\n{script}\n')
            (folder / name).chmod(0o755)
        self.programs = {name: folder / name for name in scripts}

    def called(self, words: str) -> bool:
        return words in self._log.read_text()


@pytest.fixture
def docker(no_docker: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setattr(kind, "ROOT", no_docker)
    monkeypatch.setattr(kind, "KUBECONFIG", kind.STATE / "kubeconfig")
    monkeypatch.delenv("KIND_NODE_IMAGE", raising=False)
    made = Docker(no_docker)
    monkeypatch.setattr(kind, "find_binaries", lambda _, names: {name: made.programs[name] for name in names})
    return made


def test_the_users_docker_and_the_published_image_are_used(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    kind.up()
    assert docker.called("kind create cluster --name scalesets")
    assert not docker.called("--image"), "kind's own"
    assert docker.called("kubectl --kubeconfig=") and docker.called("wait --for=condition=Ready nodes")
    assert not (kind.STATE / "docker.json").exists(), "no Docker of ours"


def test_a_cluster_that_is_there_is_brought_to_its_end(docker: Docker) -> None:
    """It was made from another clone, or its making was interrupted."""
    docker.clusters.write_text(f"{kind.NAME}\n")
    kind.up()
    assert not docker.called("create cluster")
    assert kind.KUBECONFIG.exists()
    assert docker.called("wait --for=condition=Ready nodes")


def test_a_cluster_that_never_gets_ready_is_told(docker: Docker) -> None:
    docker.clusters.write_text(f"{kind.NAME}\n")
    docker.programs["kubectl"].write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(LocalError, match="`make kind-down`, and try again"):
        kind.up()


def test_install_asks_for_a_cluster_first_of_all(no_docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no Docker gets one from `make kind-up`, as root."""
    monkeypatch.setattr(kind, "KUBECONFIG", kind.STATE / "kubeconfig")
    with pytest.raises(LocalError, match="there is no cluster: run `make kind-up` first"):
        kind.install()


def test_install_asks_for_a_cluster_before_it_builds_an_image(docker: Docker) -> None:
    with pytest.raises(LocalError, match="there is no cluster: run `make kind-up` first"):
        kind.install()


def test_a_trial_takes_nobodys_cluster_away(docker: Docker) -> None:
    docker.clusters.write_text(f"{kind.NAME}\n")
    with pytest.raises(LocalError, match="a trial would take away the cluster that is there"):
        kind.trial()
    assert docker.clusters.read_text()


def test_a_trial_without_registry_and_root_is_no_failure(
    docker: Docker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kind, "_is_reached", lambda _: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert kind.trial() == 0
    assert "test-kind: not run here: no registry is reached" in capsys.readouterr().out


def test_what_is_gone_is_forgotten(docker: Docker, capsys: pytest.CaptureFixture[str]) -> None:
    kind.up()
    kind.down()
    assert not docker.clusters.read_text()
    assert not kind.KUBECONFIG.exists(), "`make clean` goes by it"
    docker.programs["docker"].unlink()
    kind.down()
    assert "there is no cluster" in capsys.readouterr().out


def test_a_cluster_that_nobody_can_reach_is_not_forgotten(docker: Docker) -> None:
    kind.up()
    docker.programs["docker"].write_text("#!/bin/sh\necho 'permission denied at /var/run/docker.sock' >&2; exit 1\n")
    with pytest.raises(LocalError, match=r"no Docker answers \(permission denied at /var/run/docker.sock\)"):
        kind.down()


def test_a_docker_that_says_nothing_is_told(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("docker", 30)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(LocalError, match="it is silent for 30 s"):
        kind._docker(start=False)
