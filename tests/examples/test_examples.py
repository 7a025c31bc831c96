"""Every manifest of examples/ is what the real API server accepts, field by field, and says what its README says."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GITOPS = EXAMPLES / "gitops"  # built by kustomize, and for tools of others: tests/cluster/test_gitops_apply.py
FILES = sorted(path for path in EXAMPLES.rglob("*.yaml") if GITOPS not in path.parents)


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_the_server_accepts_it(control_plane: Any, path: Path) -> None:
    said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    assert said.count("(server dry run)") == len(documents(path))


def test_one_apply_takes_the_folder(control_plane: Any) -> None:
    said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(EXAMPLES))
    assert "scaleset.scalesets.dev/web created" in said


def test_the_readme_names_each() -> None:
    told = (EXAMPLES / "README.md").read_text()
    missing = [named(path) for path in FILES if named(path) not in told and f"{path.parent.name}/`" not in told]
    assert not missing, "examples/README.md doesn't tell of these"


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_server_accepts_a_fleet(control_plane: Any, environment: str) -> None:
    built = control_plane.kubectl("kustomize", str(GITOPS / "overlays" / environment))
    here = "\n".join(line for line in built.splitlines() if f"namespace: web-{environment}" not in line)
    said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=here)
    assert said.count("(server dry run)") == 4


def test_only_the_platform_image_names_a_namespace() -> None:
    named_in = {
        (named(path), document["metadata"]["namespace"])
        for path in FILES
        for document in documents(path)
        if "namespace" in document["metadata"]
    }
    assert named_in == {("image.yaml", "scaleset-system")}


def test_all_of_them_can_stand_side_by_side() -> None:
    seen = Counter((d["kind"], d["metadata"]["name"]) for path in FILES for d in documents(path))
    assert [each for each, times in seen.items() if times > 1] == []


def test_the_images_that_the_sets_name_are_there() -> None:
    everything = [document for path in FILES for document in documents(path)]
    images = [d for d in everything if d["kind"] == "GalleryImage"]
    products = {tuple(d["spec"].get(key) for key in ("publisher", "offer", "sku")) for d in images}
    names = {d["metadata"]["name"] for d in images}
    for scale_set in (d for d in everything if d["kind"] == "ScaleSet"):
        reference = scale_set["spec"]["imageReference"]
        if "galleryImage" in reference:
            assert reference["galleryImage"] in names
        else:
            assert tuple(reference[key] for key in ("publisher", "offer", "sku")) in products
