"""The sample images: an OCI archive that names each image, with its version's variables."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import samples


def test_every_image_is_in_the_archive_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"a program")
    images = {"registry.example/a:1": {"VERSION": "1"}, "registry.example/a:2-broken": {"FAULT": "never-ready"}}
    samples.write_archive(tmp_path / "archive.tar", tmp_path / "program", images)

    with tarfile.open(tmp_path / "archive.tar") as archive:
        content = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    for name in content:
        if name.startswith("blobs/"):
            assert hashlib.sha256(content[name]).hexdigest() == name.rpartition("/")[2]
    found = {}
    for each in json.loads(content["index.json"])["manifests"]:
        manifest = json.loads(content[f"blobs/sha256/{each['digest'].partition(':')[2]}"])
        settings = json.loads(content[f"blobs/sha256/{manifest['config']['digest'].partition(':')[2]}"])
        found[each["annotations"]["io.containerd.image.name"]] = settings["config"]["Env"]
    assert found == {"registry.example/a:1": ["VERSION=1"], "registry.example/a:2-broken": ["FAULT=never-ready"]}


def test_what_the_examples_name_listens_where_they_probe() -> None:
    found = samples.of_examples()
    assert found["registry.example/os/ubuntu-jammy:22.4.202611010"] == {"VERSION": "22.4.202611010"}
    assert found["registry.example/ext/metrics:1.5.0-broken"] == {
        "VERSION": "1.5.0",
        "PORT": "9501",
        "FAULT": "never-ready",
    }
