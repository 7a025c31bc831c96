"""The data disks of an instance: claim templates as in a StatefulSet; only a larger storage request may change.

They are kept whatever happens to an instance (O6). The rules stand at the spec, since a list that is replaced
as a whole has no old items to compare with.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from scalesets.api.common import DNS_LABEL
from scalesets.api.podschema import resolved
from scalesets.api.schema import Embedded, Model, Rule, Schema
from scalesets.api.template import rule_metadata, string_map

MAX_CLAIMS = 16


class Retention(StrEnum):
    """What happens to a claim that no instance uses any more."""

    RETAIN = "Retain"
    DELETE = "Delete"


class ClaimRetentionPolicy(Model):
    """What happens to data disks that no instance uses any more."""

    when_deleted: Retention = Retention.RETAIN
    """When the set is deleted."""
    when_scaled: Retention = Retention.RETAIN
    """When the set is scaled in."""


def claim_template_schema() -> Schema:
    """The schema of one of `volumeClaimTemplates`."""
    spec = resolved("PersistentVolumeClaimSpec")
    _bound_claim(spec)
    metadata: Schema = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": DNS_LABEL}},
    }
    rule_metadata(metadata, longest=4096)
    return {
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {"metadata": metadata, "spec": spec},
    }


def _bound_claim(spec: Schema) -> None:
    """Bounds for what the rules below compare, and of the resources only storage, the one that claims have."""
    spec["required"] = ["accessModes", "resources"]
    fields = spec["properties"]
    fields["accessModes"] |= {"minItems": 1, "maxItems": 4}
    fields["accessModes"]["items"] |= {"maxLength": 32}
    for name in ("storageClassName", "volumeAttributesClassName", "volumeMode", "volumeName"):
        fields[name] |= {"maxLength": 253}
    for name in ("dataSource", "dataSourceRef"):
        for value in fields[name]["properties"].values():
            value["maxLength"] = 253
    selector = fields["selector"]["properties"]
    selector["matchLabels"] = string_map(longest=63, most=8)
    selector["matchExpressions"]["maxItems"] = 8
    expression = selector["matchExpressions"]["items"]["properties"]
    for name in ("key", "operator"):
        expression[name] |= {"maxLength": 317}
    expression["values"] |= {"maxItems": 8}
    expression["values"]["items"] |= {"maxLength": 63}
    resources = fields["resources"]
    resources["required"] = ["requests"]
    for name in ("limits", "requests"):
        quantity = resources["properties"][name]["additionalProperties"] | {"maxLength": 32}
        resources["properties"][name] = {"type": "object", "required": ["storage"], "properties": {"storage": quantity}}


ClaimTemplates = Annotated[
    tuple[Annotated[dict[str, Any], Embedded(claim_template_schema)], ...], Field(max_length=MAX_CLAIMS)
]


def _unchanged(path: str) -> str:
    """A CEL condition: the claims `t` and `old` agree on a field, its absence included."""
    return f"has(t.{path}) == has(old.{path}) && (!has(t.{path}) || t.{path} == old.{path})"


_SAME_NAMES = Rule(
    rule="has(self.volumeClaimTemplates) == has(oldSelf.volumeClaimTemplates) && (!has(self.volumeClaimTemplates)"
    " || self.volumeClaimTemplates.map(t, t.metadata.name) == oldSelf.volumeClaimTemplates.map(t, t.metadata.name))",
    message="volumeClaimTemplates can't be added, removed, renamed or moved: create another {kind}",
    field=".volumeClaimTemplates",
    reason="FieldValueForbidden",
)
_SAME_CONTENT = Rule(
    rule="!has(self.volumeClaimTemplates) || !has(oldSelf.volumeClaimTemplates)"
    " || self.volumeClaimTemplates.all(t,"
    " oldSelf.volumeClaimTemplates.all(old, t.metadata.name != old.metadata.name || ("
    + " && ".join(
        _unchanged(path)
        for path in (
            "metadata.labels",
            "metadata.annotations",
            "spec.accessModes",
            "spec.dataSource",
            "spec.dataSourceRef",
            "spec.resources.limits",
            "spec.selector",
            "spec.storageClassName",
            "spec.volumeAttributesClassName",
            "spec.volumeMode",
            "spec.volumeName",
        )
    )
    + ")))",
    message="volumeClaimTemplates are immutable but for a larger storage request: create another {kind} for others",
    field=".volumeClaimTemplates",
    reason="FieldValueForbidden",
)
_ONLY_GROW = Rule(
    rule="!has(self.volumeClaimTemplates) || !has(oldSelf.volumeClaimTemplates)"
    " || self.volumeClaimTemplates.all(t, oldSelf.volumeClaimTemplates.all(old, t.metadata.name != old.metadata.name"
    " || quantity(string(t.spec.resources.requests.storage)).compareTo("
    "quantity(string(old.spec.resources.requests.storage))) >= 0))",
    message="volumeClaimTemplates: a storage request can't become smaller: keep or raise it",
    field=".volumeClaimTemplates",
    reason="FieldValueForbidden",
)
_DISTINCT_NAMES = Rule(
    rule="!has(self.volumeClaimTemplates) || self.volumeClaimTemplates.all(t,"
    " self.volumeClaimTemplates.exists_one(other, other.metadata.name == t.metadata.name))",
    message="volumeClaimTemplates must have different names: rename one",
    field=".volumeClaimTemplates",
)
CLAIM_RULES = (_DISTINCT_NAMES, _SAME_NAMES, _SAME_CONTENT, _ONLY_GROW)
