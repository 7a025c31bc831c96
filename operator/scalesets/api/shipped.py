"""The YAML files that the package ships: the CRDs, and the operator's roles.

They lie beside the code in a wheel and in their own places of the source tree, from which an editable install reads
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

_FOLDERS = {"crds": Path("crds"), "rbac": Path("charts/scaleset-operator/files")}


def objects(packaged: str) -> Iterator[dict[str, Any]]:
    """The objects of ``crds`` or ``rbac``, in the order of their files."""
    package = resources.files("scalesets")
    folder = Path(str(package)).parents[1] / _FOLDERS[packaged]
    if not folder.is_dir():
        folder = Path(str(package / packaged))
    for path in sorted(folder.glob("*.yaml")):
        yield from (document for document in yaml.safe_load_all(path.read_text()) if document)
