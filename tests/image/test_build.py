"""The image itself: built on this machine, run as nobody on a read-only root, and compared with the Dockerfile's.

It takes minutes and needs root on Debian 12, so `make test-image` runs it, and `make test` says that it doesn't.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workshop import ROOT, carry_out, image

from scalesets.local.controlplane import ControlPlane

REASON = "`make test-image` builds the image (minutes, root, Debian 12)"
pytestmark = [
    pytest.mark.skipif(not os.environ.get("SCALESETS_TEST_IMAGE"), reason=REASON),
    pytest.mark.timeout(1200),
]
NOBODY = 65532


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system that tools/image.py packs."""
    made = tmp_path_factory.mktemp("image") / "root"
    subprocess.run([str(ROOT / image.SCRIPT), str(ROOT), str(made)], check=True, stdout=sys.stderr)
    return made


@pytest.fixture
def running(root: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run what the image runs, as a kubelet would: its user and environment, a read-only root, the chart's /tmp."""
    stage = image.read_last_stage(ROOT / "Dockerfile")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            new_mounts, private, bind, remount_read_only = 0x20000, 0x44000, 0x1000, 0x1021
            assert libc.unshare(new_mounts) == 0
            assert libc.mount(None, b"/", None, private, None) == 0
            place = str(root).encode()
            assert libc.mount(place, place, None, bind, None) == 0
            assert libc.mount(None, place, None, remount_read_only, None) == 0
            assert libc.mount(b"tmpfs", f"{root}/tmp".encode(), b"tmpfs", 0, b"mode=1777,size=16m") == 0
            os.chroot(root)
            os.chdir(stage.directory)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

        return subprocess.run(
            [*stage.entrypoint, *(arguments or stage.command)],
            preexec_fn=enter,
            env=stage.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    yield run


def test_it_runs_as_nobody_on_a_root_that_it_may_not_write_to(
    running: Callable[..., subprocess.CompletedProcess[str]], root: Path
) -> None:
    done = running("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "scaleset-operator"), done.stderr
    assert not list(root.rglob("sh")) and not list(root.rglob("apt*"))


def test_the_operator_in_it_finds_a_cluster_to_its_liking(
    running: Callable[..., subprocess.CompletedProcess[str]], root: Path, control_plane: ControlPlane
) -> None:
    kubeconfig = root / "home/nonroot/kubeconfig"
    shutil.copy(control_plane.operator_kubeconfig, kubeconfig)
    kubeconfig.chmod(0o644)
    try:
        done = running("operator", "--check", "--kubeconfig=/home/nonroot/kubeconfig")
    finally:
        kubeconfig.unlink()
    assert done.returncode == 0, done.stderr
    assert "ok: Kubernetes" in done.stderr and "warning" not in done.stderr


def test_its_bill_of_materials_names_what_is_in_it(root: Path) -> None:
    bill = json.loads((root / "usr/share/sbom/scaleset-operator.cdx.json").read_text())
    found = {each["purl"].partition("?")[0] for each in bill["components"]}
    wheels = {
        f"pkg:pypi/{name}@{version}"
        for line in (ROOT / "requirements/runtime.txt").read_text().splitlines()
        if "==" in line and "win32" not in line
        for name, _, version in [line.split()[0].partition("==")]
    }
    assert wheels <= found
    packages = [line for line in (ROOT / "image/packages.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(any(purl.startswith(f"pkg:deb/debian/{name}@") for purl in found) for name in packages)
    assert bill["metadata"]["component"]["name"] == "scaleset-operator"


def test_the_archive_is_the_same_each_time(root: Path, tmp_path: Path) -> None:
    stage = image.read_last_stage(ROOT / "Dockerfile")
    for name in ("one.tar", "two.tar"):
        image.pack(root, tmp_path / name, name="scaleset-operator:1", machine="amd64", run=stage, when=0)
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).digest() for name in ("one.tar", "two.tar")}
    assert len(digests) == 1
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert {"oci-layout", "index.json", "manifest.json"} <= set(tar.getnames())


@pytest.mark.skipif(
    shutil.which("debootstrap") is None, reason="debootstrap, which stands in for the base image, isn't here"
)
def test_the_dockerfile_makes_the_same_files(root: Path, tmp_path: Path) -> None:
    by_docker = carry_out(tmp_path / "workshop")

    assert image.listing(by_docker) == image.listing(root)
    assert differing(by_docker, root) == []


def differing(one: Path, other: Path) -> list[str]:
    """The files whose content or mode isn't the same."""
    found = []
    for path in image.listing(one):
        a, b = one / path, other / path
        if a.lstat().st_mode != b.lstat().st_mode:
            found.append(f"{path}: mode")
        elif a.is_symlink():
            if a.readlink() != b.readlink():
                found.append(f"{path}: link")
        elif a.is_file() and a.read_bytes() != b.read_bytes():
            found.append(path)
    return found
