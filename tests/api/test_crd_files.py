"""The CRD files are what the models say, and what an API server and `kubectl apply` can take."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalesets.api import podschema
from scalesets.api.generate import KINDS, crd, drift, rendered, root_schema

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
LARGEST_FILE = 200_000
LARGEST_ANNOTATION = 262_144

# Kubernetes' own schema: bounded only where our rules look.
EMBEDDED = re.compile(r"spec\.(template|container|volumeClaimTemplates\[\])(\.|$)")
# Their presence says something, so they have no default.
OPTIONAL_BY_PRESENCE = {"spec.serviceFabric", "spec.extensions[]", "spec.discovery"}

Schema = dict[str, Any]
NAMES = [kind.kind_info.name for kind in KINDS]


@pytest.fixture(params=KINDS, ids=NAMES)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema in a schema, by its path."""
    yield path, schema
    for name, value in schema.get("properties", {}).items():
        yield from nodes(value, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def ours(schema: Schema) -> Iterator[tuple[str, Schema]]:
    return ((path, node) for path, node in nodes(schema) if not EMBEDDED.match(path))


def test_the_files_are_current() -> None:
    assert drift(CRDS) == ""


def test_the_output_is_the_same_in_every_process(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = [sys.executable, "-m", "scalesets.api.generate", "--out", str(out)]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed})

        assert {path.name: path.read_text() for path in out.iterdir()} == rendered()


def test_a_check_tells_what_differs_and_the_mend(tmp_path: Path) -> None:
    generate = [sys.executable, "-m", "scalesets.api.generate", "--out", str(tmp_path)]
    subprocess.run(generate, check=True)
    edited = tmp_path / "scalesets.dev_scalesets.yaml"
    edited.write_text(edited.read_text().replace("shortNames: [vmss]", "shortNames: [sets]"))
    (tmp_path / "scalesets.dev_dropped.yaml").write_text("left over\n")

    checked = subprocess.run([*generate, "--check"], capture_output=True, text=True)

    assert checked.returncode == 1
    assert "-    shortNames: [sets]\n+    shortNames: [vmss]" in checked.stderr
    assert "-left over" in checked.stderr
    assert "make crds" in checked.stderr
    subprocess.run(generate, check=True)
    assert subprocess.run([*generate, "--check"]).returncode == 0


def test_a_file_is_small_enough_for_kubectl_apply(kind: Any) -> None:
    text = rendered()[f"scalesets.dev_{kind.kind_info.plural}.yaml"]

    assert len(text.encode()) < LARGEST_FILE
    assert len(json.dumps(yaml.safe_load(text), separators=(",", ":"))) < LARGEST_ANNOTATION


def test_every_string_list_and_map_is_bounded(kind: Any) -> None:
    unbounded = [
        path
        for path, node in ours(root_schema(kind))
        if (node.get("type") == "string" and "maxLength" not in node and "enum" not in node)
        or (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
    ]

    # Both are the API server's own.
    assert unbounded == ["apiVersion", "kind"]


def test_the_schema_is_structural(kind: Any) -> None:
    foreign = {"$ref", "$defs", "allOf", "anyOf", "oneOf", "const", "title", "uniqueItems", "exclusiveMinimum"}
    for path, node in nodes(root_schema(kind)):
        assert not foreign & node.keys(), path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        if node.get("type") == "array":
            assert_list_type(path, node)


def assert_list_type(path: str, node: Schema) -> None:
    assert node["x-kubernetes-list-type"] in ("atomic", "map", "set"), path
    for key in node.get("x-kubernetes-list-map-keys", ()):
        item = node["items"]
        assert key in item.get("required", ()) or "default" in item["properties"][key], f"{path}: {key}"


def test_every_parent_of_a_default_has_a_default(kind: Any) -> None:
    """Or the defaults inside don't apply when the parent is left out."""
    bare = [
        path
        for path, node in ours(root_schema(kind))
        if path.startswith("spec")
        for name, value in node.get("properties", {}).items()
        if value.get("type") == "object" and any("default" in inner for _, inner in nodes(value))
        if not EMBEDDED.match(f"{path}.{name}") and f"{path}.{name}" not in OPTIONAL_BY_PRESENCE
        if name not in node.get("required", ()) and value.get("default") != {}
    ]

    assert bare == []


def test_a_status_has_one_default(kind: Any) -> None:
    """Nobody has looked at it yet: without that an object that has no status is done for kstatus."""
    found = {path: node["default"] for path, node in nodes(root_schema(kind)) if "default" in node}
    assert {path: default for path, default in found.items() if path.startswith("status")} == {
        "status": {"observedGeneration": 0}
    }


def test_every_field_is_described(kind: Any) -> None:
    silent = [path for path, node in ours(root_schema(kind)) if not node.get("description")]

    assert [path for path in silent if not path.startswith("metadata") and not path.endswith("[]")] == []


def test_every_refusal_names_its_field(kind: Any) -> None:
    for path, node in nodes(root_schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            # Without fieldPath the refusal points to `path` itself.
            field = rule.get("fieldPath", "").rpartition(".")[2]
            assert field in rule["message"], f"{path}: {rule}"
            assert field in rule.get("messageExpression", field), f"{path}: {rule}"


def test_the_words_of_a_rule_name_the_kind_that_it_stands_in(kind: Any) -> None:
    for path, node in nodes(root_schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            others = {name for name in NAMES if f"another {name}" in rule["message"]} - {kind.kind_info.name}
            assert not others and "{" not in rule["message"], f"{path}: {rule}"


def test_names_and_categories() -> None:
    names = {kind.kind_info.name: crd(kind)["spec"]["names"] for kind in KINDS}

    assert {name: (n["plural"], n.get("shortNames"), n["categories"]) for name, n in names.items()} == {
        "ScaleSet": ("scalesets", ["vmss"], ["scaleset-operator", "all"]),
        "GalleryImage": ("galleryimages", ["gimg"], ["scaleset-operator"]),
        "Extension": ("extensions", ["vmext"], ["scaleset-operator"]),
        "RollingUpgrade": ("rollingupgrades", ["rup"], ["scaleset-operator"]),
        "AvailabilitySet": ("availabilitysets", ["avset"], ["scaleset-operator"]),
        "VirtualMachine": ("virtualmachines", None, ["scaleset-operator", "all"]),
    }


def test_the_whole_pod_schema_is_there() -> None:
    spec = podschema.resolved("PodTemplateSpec")["properties"]["spec"]["properties"]

    assert podschema.kubernetes_version() == "1.36"
    assert len(json.dumps(podschema.resolved("PodTemplateSpec"), separators=(",", ":"))) < 64 * 1024
    assert {"affinity", "containers", "initContainers", "tolerations", "topologySpreadConstraints", "volumes"} <= set(
        spec
    )
    assert "ephemeralContainers" not in spec
    assert spec["containers"]["x-kubernetes-list-map-keys"] == ["name"]
    ports = spec["containers"]["items"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["items"]["properties"]["protocol"]["default"] == "TCP"


def test_the_pod_schema_has_neither_descriptions_nor_needless_defaults() -> None:
    for root in podschema.ROOTS:
        for path, node in nodes(podschema.resolved(root)):
            assert "description" not in node, path
            assert "default" not in node or path.endswith(("ports[].protocol", "Ref.name", "Secrets[].name")), path
