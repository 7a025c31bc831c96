"""What the models say beyond Pydantic: rules, list types, and how a kind is shown.

The Pydantic models in this package are the one source of the API: `generate.py` makes the CRDs from them, and the
operator and the command line read objects through them. Field descriptions are the docstrings below the fields.

A stored object was checked by the API server, so reading is lenient where that matters: unknown fields (of a newer
CRD) are ignored. Templates, claims and containers stay plain dicts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

GROUP = "scalesets.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "scaleset-operator"
"""`kubectl get scaleset-operator` lists every kind of the group. It is no plural: kubectl would take `delete scalesets
--all` for the category, and the catalogue would go with the sets."""

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A CEL rule of the API server. `field` is where the refusal points to, below the object that carries the rule.

    `{kind}` in the words is the kind that the rule is written into. `says` is a CEL expression for the words, where
    they are to name what was found; `message` stands in when it can't be computed.
    """

    rule: str
    message: str
    says: str = ""
    field: str = ""
    reason: str = "FieldValueInvalid"

    def as_schema(self) -> Schema:
        """The entry of `x-kubernetes-validations`."""
        computed = {"messageExpression": self.says} if self.says else {}
        where = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message, **computed, **where, "reason": self.reason}


def immutable(field: str, mend: str) -> Rule:
    """A field that keeps its value, its absence included.

    It is a rule of the parent: a rule on an optional field itself is skipped when the field goes, so the field could
    be removed and then set anew.
    """
    return Rule(
        rule=f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message=f"{field} is immutable: {mend}",
        field=f".{field}",
        reason="FieldValueForbidden",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Extra:
    """Schema keywords for `Annotated` that Pydantic has no words for."""

    keywords: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return handler(core) | dict(self.keywords)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """For `Annotated[dict[str, Any], Embedded(f)]`: the schema is what `f` returns. It is asked for only when CRDs
    are generated."""

    schema: Callable[[], Schema]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return self.schema()


def map_list(*keys: str) -> Extra:
    """A list whose items are told apart by `keys`; field managers can own single items."""
    return Extra({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})


SET = Extra({"x-kubernetes-list-type": "set"})
"""A list without duplicates. CEL ignores its order, so it is not for lists whose order means something."""

ANY_OBJECT = Extra({"type": "object", "x-kubernetes-preserve-unknown-fields": True})


@dataclass(frozen=True, slots=True, eq=False)
class Ruled:
    """Rules on a list or a scalar; a model has them in `rules`."""

    rules: tuple[Rule, ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        schema = handler(core)
        entries = [*schema.get("x-kubernetes-validations", ()), *(rule.as_schema() for rule in self.rules)]
        return schema | {"x-kubernetes-validations": entries}


def ruled(*rules: Rule) -> Ruled:
    """`Ruled` for `Annotated`."""
    return Ruled(rules)


@dataclass(frozen=True, slots=True, eq=False)
class Worded:
    """Makes a string's pattern a rule, so that the refusal says in words what to write."""

    message: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        schema = handler(core)
        rule = Rule(rule=f"self.matches(r'{schema.pop('pattern')}')", message=self.message)
        return schema | {"x-kubernetes-validations": [rule.as_schema()]}


def camel(name: str) -> str:
    """The JSON name of a field: `enable_automatic_os_upgrade` is `enableAutomaticOSUpgrade`."""
    first, *others = name.split("_")
    return first + "".join("OS" if word == "os" else word.capitalize() for word in others)


class Model(BaseModel):
    """An object of the API, or a part of one."""

    model_config = ConfigDict(
        alias_generator=camel,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        schema = handler(core)
        if cls.rules:
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = [rule.as_schema() for rule in cls.rules]
        return schema

    def body(self) -> dict[str, Any]:
        """The object as the API server takes it: JSON names, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of `kubectl get`; those with `wide` only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


AGE = Column("Age", ".metadata.creationTimestamp", "date")
READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
REASON = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a kind is registered with the API server."""

    name: str
    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    in_all: bool = False  # `kubectl delete all --all` must not take the catalogue with it
    scalable: bool = False
    selectable: tuple[str, ...] = ()  # field selectors

    @property
    def singular(self) -> str:
        """The name for `kubectl get NAME`."""
        return self.name.lower()

    @property
    def crd_name(self) -> str:
        """The name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


class ObjectMeta(Model):
    """The metadata that the operator reads. The CRD leaves metadata to the API server."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[dict[str, Any], ...] = ()


class Resource(Model):
    """A kind of the group; every subclass adds `spec` and `status`."""

    kind_info: ClassVar[Kind]

    metadata: ObjectMeta = ObjectMeta()
