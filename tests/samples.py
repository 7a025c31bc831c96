"""The sample images: one static Go program, whose versions differ by the variables that their image sets.

They are written as one OCI archive, which `ctr images import` takes in as it is: no registry is asked for anything. The
tag says what a version does, in the words that the simulated machines know too (docs/local.md). As a program,
`samples.py FOLDER`, it writes the archive into a folder and prints its path.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml

from goprograms import build_go
from scalesets.local.binaries.cache import architecture
from scalesets.local.progress import Progress

SOURCE = Path(__file__).parent / "sample"
EXAMPLES = Path(__file__).parents[1] / "examples"
PAUSE = "registry.example/pause:1"
FAULTS = {"broken": "never-ready", "hanging": "never-started", "crash": "crash", "slow": "slow"}
_GOOD = ("1.0.0", "1.1.0", "1.2.0", "2.0.0")
_EPOCH = "2026-01-01T00:00:00Z"


def references() -> dict[str, dict[str, str]]:
    """Name every image, with the variables that it sets; `-missing` tags are in none."""
    found: dict[str, dict[str, str]] = {}
    for name in ("os/ubuntu", "ext/monitor", "ext/other"):
        found |= {f"registry.example/{name}:{number}": {"VERSION": number} for number in _GOOD}
        for word, fault in FAULTS.items():
            found |= {
                f"registry.example/{name}:{number}-{word}": {"VERSION": number, "FAULT": fault} for number in _GOOD[1:]
            }
    return found


def of_examples() -> dict[str, dict[str, str]]:
    """The images that the examples name or tell to publish, each listening where its probes ask."""
    found: dict[str, dict[str, str]] = {}
    for path in EXAMPLES.rglob("*.yaml"):
        for document in filter(None, yaml.safe_load_all(path.read_text())):
            variables = {"PORT": port} if (port := _probed(document.get("spec", {}).get("container", {}))) else {}
            for each in document.get("spec", {}).get("versions", ()):
                found[each["image"]] = {"VERSION": each["version"], **variables}
    for image in re.findall(r'"image": "([^"]+)"', (EXAMPLES / "README.md").read_text()):
        repository, _, tag = image.partition(":")
        number, _, word = tag.partition("-")
        like = next(variables for name, variables in found.items() if name.startswith(f"{repository}:"))
        found[image] = {**like, "VERSION": number, **({"FAULT": FAULTS[word]} if word else {})}
    return found


def _probed(container: dict[str, dict[str, dict[str, int]]]) -> str:
    for probe in ("startupProbe", "readinessProbe"):
        for how in ("httpGet", "tcpSocket"):
            if port := container.get(probe, {}).get(how, {}).get("port"):
                return str(port)
    return ""


def build(directory: Path, progress: Progress) -> Path:
    """Compile the program and write the archive; returns its path."""
    with progress.step("building the sample images"):
        program = build_go(SOURCE, directory, progress=progress, system="linux")
    archive = directory / "samples.tar"
    write_archive(archive, program, {**references(), **of_examples(), PAUSE: {}})
    return archive


def write_archive(path: Path, program: Path, images: dict[str, dict[str, str]]) -> None:
    """Write an OCI image layout in which all images share the layer that holds the program."""
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {
            "mediaType": f"application/vnd.oci.image.{media_type}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    layer = blob(_layer(program), "layer.v1.tar")
    manifests = []
    for reference, variables in images.items():
        arguments = {"Entrypoint": ["/sample"], "Cmd": ["pause"] if reference == PAUSE else []}
        settings = {
            "architecture": architecture(),
            "os": "linux",
            "created": _EPOCH,
            "config": {"Env": [f"{name}={value}" for name, value in variables.items()], "WorkingDir": "/", **arguments},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(json.dumps(settings).encode(), "config.v1+json"),
            "layers": [layer],
        }
        named = {"io.containerd.image.name": reference}
        manifests.append({**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "annotations": named})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(archive, "index.json", json.dumps(index).encode())
        for digest, content in blobs.items():
            _add(archive, f"blobs/sha256/{digest}", content)


def _layer(program: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        _add(layer, "sample", program.read_bytes(), mode=0o755)
    return content.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    print(build(Path(sys.argv[1]), Progress(lambda words: print(words, file=sys.stderr))))
