"""Cut the pod schema out of Kubernetes' own OpenAPI document and keep it as `podspec.json`, without descriptions.

A ScaleSet carries an ordinary pod template, claims and (in an Extension) a container, so a typing mistake in them
should be refused by `kubectl apply` and not hours later by a batch. The CRDs therefore carry the whole schema of the
pinned Kubernetes. Descriptions are left out: with them the CRD is too long for the annotation of `kubectl apply`.
What is changed on the way, and why:

- Defaults go, so that a stored object doesn't differ from what its author wrote. Those of list-map keys stay (a
  port's `protocol`): a list map needs each of its keys required or defaulted.
- Patch strategies and unions go: a structural schema has no room for them.
- Quantities and ports are `x-kubernetes-int-or-string`; quantities have a pattern, so that `1Gx` is refused at once.
- Object metadata is spelled out as labels and annotations; the API server would prune the rest anyway.
- `ephemeralContainers` and `status` go: a template has neither.

Run it against an API server of the Kubernetes to pin, when that changes:

    kubectl get --raw /openapi/v3/api/v1 | python -m scalesets.api.podschema 1.36 > operator/scalesets/api/podspec.json
"""

import json
import sys
from functools import cache
from importlib.resources import files
from typing import Any

Schema = dict[str, Any]

ROOTS = ("PodTemplateSpec", "Container", "PersistentVolumeClaimSpec")
CORE = "io.k8s.api.core.v1."
QUANTITY_PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
STRING_MAP: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
REPLACED: dict[str, Schema] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "x-kubernetes-int-or-string": True,
        "pattern": QUANTITY_PATTERN,
    },
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"x-kubernetes-int-or-string": True},
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
        "type": "object",
        "properties": {"labels": STRING_MAP, "annotations": STRING_MAP},
    },
}
KEPT = frozenset(
    {
        "type",
        "format",
        "required",
        "enum",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
    }
)
LEFT_OUT = {("PodSpec", "ephemeralContainers")}


@cache
def definitions() -> dict[str, Schema]:
    """The stored definitions by name; they refer to each other by `$ref: NAME`."""
    stored: dict[str, Schema] = json.loads(files(__package__).joinpath("podspec.json").read_bytes())["definitions"]
    return stored


def kubernetes_version() -> str:
    """The Kubernetes version that the stored schema was cut from, as `Major.Minor`."""
    version: str = json.loads(files(__package__).joinpath("podspec.json").read_bytes())["kubernetes"]
    return version


def resolved(name: str) -> Schema:
    """A fresh copy of one definition with every reference replaced by what it refers to, as a CRD needs it."""
    return _resolve(definitions()[name])


def cut(openapi: Schema, version: str) -> Schema:
    """The part of Kubernetes' OpenAPI document that the pod template, a claim and a container are made of."""
    source: dict[str, Schema] = openapi["components"]["schemas"]
    kept: dict[str, Schema] = {}
    waiting = [CORE + name for name in ROOTS]
    while waiting:
        full_name = waiting.pop()
        name = _short(full_name)
        if name not in kept:
            kept[name] = _pruned(source[full_name], name, waiting)
    _keep_map_key_defaults(kept, source)
    return {"kubernetes": version, "definitions": kept}


def _pruned(schema: Schema, owner: str, waiting: list[str]) -> Schema:
    """The structural rest of one schema; what it refers to is added to `waiting`."""
    reference = schema.get("$ref") or (schema["allOf"][0]["$ref"] if "allOf" in schema else None)
    if reference:
        full_name = reference.rsplit("/", 1)[-1]
        if full_name in REPLACED:
            return dict(REPLACED[full_name])
        waiting.append(full_name)
        return {"$ref": _short(full_name)}
    result: Schema = {key: value for key, value in schema.items() if key in KEPT}
    if "properties" in schema:
        result["properties"] = {
            name: _pruned(value, owner, waiting)
            for name, value in schema["properties"].items()
            if (owner, name) not in LEFT_OUT
        }
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            result[inner] = _pruned(schema[inner], owner, waiting)
    return result


def _keep_map_key_defaults(kept: dict[str, Schema], source: dict[str, Schema]) -> None:
    """Give the keys of list maps their defaults back where they are not required."""
    lists = [
        value
        for definition in list(kept.values())
        for value in definition.get("properties", {}).values()
        if value.get("x-kubernetes-list-type") == "map"
    ]
    for value in lists:
        name = value["items"]["$ref"]
        for key in value["x-kubernetes-list-map-keys"]:
            if key not in kept[name].get("required", ()):
                kept[name]["properties"][key]["default"] = source[CORE + name]["properties"][key]["default"]


def _resolve(schema: Schema) -> Schema:
    if "$ref" in schema:
        return resolved(schema["$ref"])
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {name: _resolve(value) for name, value in schema["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            result[inner] = _resolve(schema[inner])
    return result


def _short(full_name: str) -> str:
    return full_name.rsplit(".", 1)[-1]


def main() -> None:
    """Read the OpenAPI document from standard input, write the cut-out to standard output."""
    if len(sys.argv) != 2:
        sys.exit("usage: kubectl get --raw /openapi/v3/api/v1 | python -m scalesets.api.podschema MAJOR.MINOR")
    json.dump(cut(json.load(sys.stdin), sys.argv[1]), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
