"""Holds what the operator writes to the API's own models: nothing that the CRD would refuse or silently drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel


def unknown_fields(model: type[BaseModel], data: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The paths of fields that the model doesn't have (the API server would prune them)."""
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for name, value in data.items():
        if name not in fields:
            yield f"{path}.{name}"
            continue
        inner = _model_in(fields[name])
        if inner is not None:
            for item in value if isinstance(value, list) else [value]:
                yield from unknown_fields(inner, item, f"{path}.{name}")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
