"""`make run` runs the operator as itself, not as the administrator of the local control plane."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = "running as the operator's own ServiceAccount: KUBECONFIG="


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, and an environment whose `scalesets` says how it was called."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    bin_ = tmp_path / ".venv" / "bin"
    bin_.mkdir(parents=True)
    program = bin_ / "scalesets"
    program.write_text('#!/bin/sh\necho "called: $* with $KUBECONFIG"\n')
    program.chmod(0o755)
    for stamp in (".requirements-installed", ".package-installed"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def a_control_plane(directory: Path) -> Path:
    directory.mkdir()
    (directory / "operator.kubeconfig").touch()
    (directory / "kubeconfig").touch()
    return directory / "kubeconfig"


def make_run(project: Path, *arguments: str, kubeconfig: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin"} | ({"KUBECONFIG": kubeconfig} if kubeconfig else {})
    command = ["make", "--silent", "run", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_by_default_on_the_local_control_plane(project: Path) -> None:
    a_control_plane(project / ".local")

    done = make_run(project)

    own = ".local/operator.kubeconfig"
    assert done.stdout.splitlines() == [f"{OWN}{own}", f"called: operator with {own}"]


def test_where_the_administrators_is_exported(project: Path) -> None:
    admin = a_control_plane(project / "elsewhere")

    done = make_run(project, "ARGS=--timing azure", kubeconfig=str(admin))

    own = admin.with_name("operator.kubeconfig")
    assert done.stdout.splitlines() == [f"{OWN}{own}", f"called: operator --timing azure with {own}"]


@pytest.mark.parametrize("name", ["config", "operator.kubeconfig"])
def test_any_other_cluster_is_taken_as_it_is_named(project: Path, name: str) -> None:
    directory = a_control_plane(project / "elsewhere").parent
    named = directory / name
    named.touch()

    assert make_run(project, f"KUBECONFIG={named}").stdout == f"called: operator with {named}\n"


def test_without_a_cluster_it_says_how_to_get_one(project: Path) -> None:
    done = make_run(project)

    assert done.returncode != 0
    assert "there is no .local/kubeconfig: run `make cluster-up` first, or set KUBECONFIG" in done.stderr
