"""Golden files: text that a reviewer can read, compared with what the code says now.

``pytest --update-golden`` (or UPDATE_GOLDEN=1) writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

UPDATE = "UPDATE_GOLDEN"


def compare(path: Path, text: str) -> None:
    """The file must say the same; with --update-golden it is made to."""
    if os.environ.get(UPDATE):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    known = path.read_text() if path.exists() else ""
    assert text == known, f"{path} differs; if the new one is right: --update-golden"
