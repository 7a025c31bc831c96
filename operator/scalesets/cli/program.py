"""What the program is called: a hint is to be copied and run, by ``scalesets`` and by ``kubectl scaleset`` alike."""

from __future__ import annotations

import sys
from pathlib import Path


def name() -> str:
    """``kubectl scaleset`` where kubectl runs us as its plugin, else ``scalesets``."""
    return "kubectl scaleset" if Path(sys.argv[0]).name.startswith("kubectl-") else "scalesets"


def hint(*words: str) -> str:
    """A command line of this program."""
    return " ".join([name(), *words])
