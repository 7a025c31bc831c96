"""Make the CRDs from the models: `python -m scalesets.api.generate [--check] [--out FOLDER]`.

They lie in `crds/`, and the same files in the chart: one that reads a chart out of a repository need not follow links.

Pydantic writes a JSON schema; Kubernetes wants a structural one, without references, titles, `anyOf` or `const`. What
lies between is small and ours (docs/adr/0007-crds-from-pydantic-by-a-generator-of-our-own.md tells why). Two rules of
it are not obvious:

- The default of a model is `{}`, whatever Pydantic says it is: the API server fills in the defaults inside it.
- `default: []` is left out, so that a stored object doesn't differ from what its author wrote. Status has no
  defaults.

`--check` writes nothing and fails when a file differs from what would be written.
"""

import argparse
import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from scalesets.api.availabilityset import AvailabilitySet
from scalesets.api.extension import Extension
from scalesets.api.galleryimage import GalleryImage
from scalesets.api.rollingupgrade import RollingUpgrade
from scalesets.api.scaleset import ScaleSet
from scalesets.api.schema import API_VERSION, CATEGORY, GROUP, VERSION, Column, Resource, Schema
from scalesets.api.virtualmachine import VirtualMachine

# The order in which a schema's keywords are written; others follow.
ORDER = ("description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "default")
KINDS: tuple[type[Resource], ...] = (
    AvailabilitySet,
    Extension,
    GalleryImage,
    RollingUpgrade,
    ScaleSet,
    VirtualMachine,
)
OUT = (Path("crds"), Path("charts/scaleset-operator/files/crds"))
PART_OF = {"app.kubernetes.io/part-of": CATEGORY}
"""The label by which the operator knows the CRDs as its own (kube/installed.py)."""
KEEP = {"helm.sh/resource-policy": "keep"}
"""helm leaves an object with this annotation alone when a release is uninstalled: with the CRD all that users made
would go."""
HEADER = "# Made by `make crds` from operator/scalesets/api; edits are lost.\n"


def crd(kind: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    info = kind.kind_info
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in info.columns],
        "schema": {"openAPIV3Schema": root_schema(kind)},
        "subresources": {"status": {}} | (_scale() if info.scalable else {}),
    }
    if info.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in info.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": info.crd_name, "labels": PART_OF, "annotations": KEEP},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": info.name,
                "listKind": f"{info.name}List",
                "plural": info.plural,
                "singular": info.singular,
                # An empty list isn't stored, and would be a difference for ever.
                **({"shortNames": list(info.short_names)} if info.short_names else {}),
                "categories": [CATEGORY, *(["all"] if info.in_all else [])],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def root_schema(kind: type[Resource]) -> Schema:
    """The structural schema of a kind.

    A status that nobody has written says that no generation was observed: kstatus takes an object without any for done.
    """
    pydantic_schema = kind.model_json_schema(by_alias=True, mode="validation")
    root = structural(pydantic_schema, pydantic_schema.get("$defs", {}))
    root["properties"] = {
        "apiVersion": {"type": "string", "description": f"{API_VERSION}."},
        "kind": {"type": "string", "description": f"{kind.kind_info.name}."},
        # The name is spelled out so that a rule's refusal can point to it.
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
        "spec": root["properties"]["spec"],
        "status": _without_defaults(root["properties"]["status"]) | {"default": {"observedGeneration": 0}},
    }
    _name_kind(root, kind.kind_info.name)
    return root


def structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """What Kubernetes takes of a JSON schema, references resolved."""
    schema = _flat(schema, definitions)
    result: Schema = {key: value for key, value in schema.items() if key not in ("title", "$defs", "default")}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "enum" in result:
        result["type"] = "string"
    default = schema.get("default")
    if isinstance(default, dict):
        result["default"] = {}
    elif default not in (None, []):
        result["default"] = default
    if "properties" in schema:
        result["properties"] = {name: structural(value, definitions) for name, value in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    elif "additionalProperties" in schema:
        del result["additionalProperties"]
    if "items" in schema:
        result["items"] = structural(schema["items"], definitions)
        result.setdefault("x-kubernetes-list-type", "atomic")
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    return {key: result.pop(key) for key in ORDER if key in result} | result


def _flat(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """One schema for a reference or an optional, with what stood beside it (its description, its default) on top."""
    if "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _flat(definitions[schema["$ref"].rsplit("/", 1)[-1]] | beside, definitions)
    if "anyOf" in schema:
        (inner,) = (option for option in schema["anyOf"] if option.get("type") != "null")
        beside = {key: value for key, value in schema.items() if key != "anyOf"}
        return _flat(inner | beside, definitions)
    return schema


def _without_defaults(schema: Schema) -> Schema:
    """The schema of a status: what is written stays as it is."""
    result = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in schema:
        result["properties"] = {name: _without_defaults(value) for name, value in schema["properties"].items()}
    if "items" in schema:
        result["items"] = _without_defaults(schema["items"])
    return result


def _name_kind(schema: Schema, kind: str) -> None:
    """Put the kind into the words of the rules, which several kinds share."""
    for rule in schema.get("x-kubernetes-validations", ()):
        rule |= {key: rule[key].replace("{kind}", kind) for key in ("message", "messageExpression") if key in rule}
    for inner in (*schema.get("properties", {}).values(), *filter(None, (schema.get("items"),))):
        _name_kind(inner, kind)


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        entry["description"] = column.description
    return entry | ({"priority": 1} if column.wide else {})


def _scale() -> dict[str, Any]:
    return {
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    }


class _Dumper(yaml.SafeDumper):
    """Plain YAML without anchors; what is short and flat stands on one line, which halves a file of nested schemas."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = _short(mapping.values(), str(mapping))
        return node

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = _short(sequence, str(sequence))
        return node


def _short(values: Iterable[Any], text: str) -> bool:
    return len(text) <= 80 and not any(isinstance(value, dict | list) for value in values)


def rendered() -> dict[str, str]:
    """The text of every CRD file, by file name."""
    return {
        f"{GROUP}_{kind.kind_info.plural}.yaml": HEADER
        + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=120)
        for kind in KINDS
    }


def drift(out: Path) -> str:
    """A diff from the files in `out` to what they should be; empty when they are current."""
    texts = rendered()
    lines: list[str] = []
    for name in sorted({*texts, *(path.name for path in out.glob(f"{GROUP}_*.yaml"))}):
        path = out / name
        stored = path.read_text() if path.exists() else ""
        lines += difflib.unified_diff(
            stored.splitlines(keepends=True), texts.get(name, "").splitlines(keepends=True), str(path), "generated"
        )
    return "".join(lines)


def write(out: Path) -> None:
    """Make the files in `out` current; one of a kind that is gone goes too."""
    texts = rendered()
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob(f"{GROUP}_*.yaml"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (out / name).write_text(text)


def main() -> None:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(
        prog="python -m scalesets.api.generate", description="Make the CRDs from the models."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not current")
    parser.add_argument("--out", type=Path, help=f"folder of the CRD files (default: {' and '.join(map(str, OUT))})")
    arguments = parser.parse_args()
    folders = (arguments.out,) if arguments.out else OUT
    if not arguments.check:
        for folder in folders:
            write(folder)
    elif difference := "".join(drift(folder) for folder in folders):
        names = " and ".join(map(str, folders))
        sys.exit(f"{difference}\n{names}: not what the models say; run `make crds` and commit the result")


if __name__ == "__main__":
    main()
