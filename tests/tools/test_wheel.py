"""A wheel has what a source tree has: the CRDs, the operator's role and the pinned Go modules."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = ("kubernetes", "etcd", "helm", "registry")


def test_the_wheel_carries_what_the_code_reads(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    read = {
        *(f"scalesets/crds/{path.name}" for path in ROOT.glob("crds/*.yaml")),
        *(f"scalesets/rbac/{path.name}" for path in ROOT.glob("charts/scaleset-operator/files/*.yaml")),
        *(f"scalesets/local/gomodules/{name}/go.{end}" for name in MODULES for end in ("mod", "sum")),
        *(f"scalesets/examples/{path.name}" for path in ROOT.glob("examples/*.yaml")),
        "scalesets/api/podspec.json",
        "scalesets/py.typed",
    }

    assert read - carried == set()
