"""The image's bill of materials, as CycloneDX 1.5: `sbom.py ROOT FILE`.

It is read from what lies in ROOT, not from what was meant to be put there: the Debian packages by their control
fields, the Python packages by their `*.dist-info`. Nothing of time or place is in it: the same packages make the same
file. Standard library only, as it runs while the image is built.
"""

import json
import sys
import uuid
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

DEBIAN = "var/lib/dpkg/status.d"
PYTHON = "usr/local/lib/python3.11/dist-packages"
OWN = "scaleset-operator"


def main() -> None:
    """Write the file."""
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(bill(root), indent=1, sort_keys=True) + "\n")


def bill(root: Path) -> dict[str, Any]:
    """The whole document."""
    found = sorted((*debian_packages(root), *python_packages(root)), key=lambda each: each["purl"])
    own = next(each for each in found if each["name"] == OWN)
    components = [each for each in found if each is not own]
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, own['purl'] + content)}",
        "version": 1,
        "metadata": {"component": {**own, "type": "application"}},
        "components": components,
        "dependencies": [
            {"ref": own["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]},
        ],
    }


def debian_packages(root: Path) -> Iterator[dict[str, Any]]:
    """The packages of the base."""
    for path in sorted((root / DEBIAN).iterdir()):
        fields = HeaderParser().parsestr(path.read_text())
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        yield _component(name, version, f"pkg:deb/debian/{name}@{version}?arch={machine}&distro=debian-12")


def python_packages(root: Path) -> Iterator[dict[str, Any]]:
    """The wheels, the operator's own among them."""
    for path in sorted((root / PYTHON).glob("*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(path.read_text(encoding="utf-8"))
        name, version = fields["Name"], fields["Version"]
        component = _component(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{version}")
        if expression := fields["License-Expression"]:
            component["licenses"] = [{"expression": expression}]
        yield component


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


if __name__ == "__main__":
    main()
