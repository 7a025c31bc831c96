"""JSON byte for byte as the API server writes it itself: sorted keys, no blanks, and Go's escapes and numbers.

A ControllerRevision's ``data`` is immutable as bytes, and the server writes them anew for every patch, whatever the
patch is about. Were they not the same then, nobody could patch the object: the garbage collector would try for ever to
orphan it (``kubectl delete --cascade=orphan``), and the set of the same name could never adopt it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_SMALLEST, _LARGEST = 1e-6, 1e21
"""Numbers between them are written without an exponent."""


def dumps(value: Any) -> bytes:
    """The JSON text of a value that was decoded from JSON."""
    return _text(value).encode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(key)}:{_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return _number(value) if isinstance(value, float) else json.dumps(value)


def _number(value: float) -> str:
    if value == 0:
        return "0"  # -0 too: the server reads it as the whole number
    if _SMALLEST <= abs(value) < _LARGEST:
        digits = format(Decimal(repr(value)), "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
