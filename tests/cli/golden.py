"""Golden files: what a drawing looks like at 80 columns without colour. ``--update-golden`` writes them anew."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console, RenderableType

import goldens

DIRECTORY = Path(__file__).parent / "golden"


def drawn(drawing: RenderableType, *, width: int = 80, encoding: str = "utf-8") -> str:
    """The drawing as plain text."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    Console(file=file, width=width, color_system=None, highlight=False, emoji=False, markup=False).print(
        drawing, crop=False
    )
    return "\n".join(line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()) + "\n"


def check(name: str, drawing: RenderableType, *, width: int = 80) -> None:
    """Compare with ``golden/NAME.txt``."""
    text = drawn(drawing, width=width)
    assert max(map(len, text.splitlines())) <= width
    goldens.compare(DIRECTORY / f"{name}.txt", text)
