"""The operator's image without a registry and without Docker: `image.py [--out FILE] [--name NAME:TAG]`.

The file system is what image/build-root.sh makes, which the Dockerfile runs too; who runs it, with which environment
and command, is read from the Dockerfile's last stage. What comes out is one tar that is both an OCI layout and what
`docker save` writes, so each of these takes it:

    ctr --namespace k8s.io images import FILE
    kind load image-archive FILE
    docker load --input FILE        podman load --input FILE

The same file system makes the same archive, byte by byte: times are those of the newest commit, owners are root.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shlex
import stat
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "image/build-root.sh"
REPOSITORY = "scaleset-operator"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


def main() -> int:
    """Make the archive, and say where it lies."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    parser = argparse.ArgumentParser(description="Make the operator's image as an archive, without a registry.")
    parser.add_argument("--out", type=Path, help=f"default: dist/{REPOSITORY}-VERSION-ARCHITECTURE.tar")
    parser.add_argument("--name", default=f"{REPOSITORY}:{version}", help="the image's name (default: %(default)s)")
    parser.add_argument("--root", type=Path, help="a file system that build-root.sh has made already")
    options = parser.parse_args()
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    out: Path = options.out or ROOT / "dist" / f"{REPOSITORY}-{version}-{machine}.tar"
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        made = options.root or Path(temporary) / "root"
        if not options.root:
            subprocess.run([str(ROOT / SCRIPT), str(ROOT), str(made)], check=True, stdout=sys.stderr)
        pack(
            made, out, name=options.name, machine=machine, run=read_last_stage(ROOT / "Dockerfile"), when=_commit_time()
        )
    print(f"{out}: {full_name(options.name)}, {out.stat().st_size / 1e6:.0f} MB")
    return 0


@dataclass
class Stage:
    """What the last stage of a Dockerfile says beside its files."""

    user: str = ""
    directory: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    origin: str = ""
    copied: list[str] = field(default_factory=list)

    def config(self) -> dict[str, Any]:
        """In the words of an OCI image's configuration."""
        return {
            "User": self.user,
            "WorkingDir": self.directory,
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "Labels": self.labels,
            "ExposedPorts": {f"{port}/tcp": {} for port in self.ports},
            "Entrypoint": self.entrypoint,
            "Cmd": self.command,
        }


def read_last_stage(dockerfile: Path) -> Stage:
    """Read the stage that is the image. An instruction that isn't known here is an error: it would be left out."""
    stage = Stage()
    for word, rest in instructions(dockerfile.read_text()):
        match word:
            case "FROM":
                stage = Stage(origin=rest.split()[0])
            case "USER":
                stage.user = rest
            case "WORKDIR":
                stage.directory = rest
            case "ENV":
                stage.environment |= _pairs(rest)
            case "LABEL":
                stage.labels |= _pairs(rest)
            case "EXPOSE":
                stage.ports += rest.split()
            case "ENTRYPOINT":
                stage.entrypoint = json.loads(rest)
            case "CMD":
                stage.command = json.loads(rest)
            case "COPY":
                stage.copied.append(rest)
            case "RUN" if stage.origin != "scratch":
                pass
            case _:
                raise SystemExit(f"{dockerfile}: tools/image.py doesn't know {word} {rest}: teach it, or do without")
    if stage.origin != "scratch":
        raise SystemExit(f"{dockerfile}: the last stage must be FROM scratch, and is from {stage.origin}")
    return stage


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile: word and rest, with continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def pack(root: Path, out: Path, *, name: str, machine: str, run: Stage, when: int) -> None:
    """Write the archive of one image."""
    raw = layer(root, when)
    packed = gzip.compress(raw, 6, mtime=0)
    config = _json(
        {
            "architecture": machine,
            "os": "linux",
            "created": datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": run.config(),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(raw)}"]},
            "history": [{"created_by": f"{SCRIPT} (Dockerfile: COPY {'; '.join(run.copied)})"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(config, _CONFIG),
            "layers": [_descriptor(packed, _LAYER)],
        }
    )
    names = {"io.containerd.image.name": full_name(name), "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    described = {
        **_descriptor(manifest, _MANIFEST),
        "annotations": names,
        "platform": {"architecture": machine, "os": "linux"},
    }
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]}),
        "manifest.json": _json([{"Config": _blob(config), "RepoTags": [name], "Layers": [_blob(packed)]}]),
        **{_blob(content): content for content in (config, packed, manifest)},
    }
    partial = out.with_name(f"{out.name}.part")
    with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime, entry.mode = len(content), when, 0o644
            tar.addfile(entry, io.BytesIO(content))
    partial.replace(out)


def layer(root: Path, when: int) -> bytes:
    """The files as a tar, in the order of their names, all root's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in listing(root):
            entry = tar.gettarinfo(str(root / path), arcname=path)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = when
            if entry.isreg():
                with (root / path).open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    return buffer.getvalue()


def listing(root: Path) -> list[str]:
    """All paths below, sorted. A device, a socket or a program that runs as its owner has no place in the image."""
    found = []
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise SystemExit(f"{path}: neither a file, a folder nor a link")
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                raise SystemExit(f"{path}: runs as its owner whoever starts it (setuid)")
            found.append(str(path.relative_to(root)))
    return sorted(found)


def full_name(name: str) -> str:
    """The name as containerd and the kubelet spell it out: `x:1` is `docker.io/library/x:1`."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(text))


def _descriptor(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{_digest(content)}", "size": len(content)}


def _blob(content: bytes) -> str:
    return f"blobs/sha256/{_digest(content)}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _commit_time() -> int:
    """$SOURCE_DATE_EPOCH, else the time of the newest commit, else 0."""
    if chosen := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(chosen)
    asked = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(asked.stdout.strip() or 0) if asked.returncode == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
