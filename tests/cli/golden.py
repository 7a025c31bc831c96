"""Golden files: what a drawing looks like at 80 columns without colour. ``UPDATE_GOLDEN=1`` writes them anew."""

from __future__ import annotations

import io
import os
from pathlib import Path

from rich.console import Console, RenderableType

DIRECTORY = Path(__file__).parent / "golden"


def drawn(drawing: RenderableType, *, width: int = 80, encoding: str = "utf-8") -> str:
    """The drawing as plain text."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    Console(file=file, width=width, color_system=None, highlight=False, emoji=False, markup=False).print(drawing)
    return "\n".join(line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()) + "\n"


def check(name: str, drawing: RenderableType, *, width: int = 80) -> None:
    """Compare with ``golden/NAME.txt``."""
    text = drawn(drawing, width=width)
    path = DIRECTORY / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert max(map(len, text.splitlines())) <= width
    assert text == path.read_text(), f"{path} differs; if the new one is right: UPDATE_GOLDEN=1"
