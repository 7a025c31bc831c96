"""The cache of programs: an entry is there in full, or not at all.

A program is written beside its place and renamed into it, under a lock, so that neither a crash nor a second process
at work ever leaves or meets half a file. What was written is noted beside it (size and SHA-256): an entry whose size
differs, or without a note, is thrown away and fetched anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scalesets.local.versions import ETCD, KUBERNETES, REGISTRY

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def system() -> str:
    """Return the operating system as Go names it."""
    return "darwin" if sys.platform == "darwin" else "linux"


def architecture() -> str:
    """Return the processor as Go names it."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def cache_directory() -> Path:
    """Return $SCALESETS_CACHE, else the user's cache directory."""
    if chosen := os.environ.get("SCALESETS_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scaleset-operator"


@dataclass(frozen=True, slots=True)
class Cache:
    """Programs by name, for one version of Kubernetes and etcd and one kind of machine."""

    directory: Path

    def path(self, program: str) -> Path:
        """Say where a program has its place."""
        others = {"etcd": f"etcd-v{ETCD}", "registry": f"registry-v{REGISTRY}"}
        version = others.get(program, f"kubernetes-v{KUBERNETES}")
        return self.directory / f"{version}-{system()}-{architecture()}" / program

    def find(self, program: str, *, say: Callable[[str], None]) -> Path | None:
        """Return a program that is there in full; throws half a one away."""
        path = self.path(program)
        if not path.exists():
            return None
        try:
            whole = json.loads(_note(path).read_text())["size"] == path.stat().st_size
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            whole = False
        if whole:
            return path
        say(f"{path} is incomplete (an earlier start was cut short): it is fetched again")
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def store(self, program: str, made: Path, *, source: str) -> Path:
        """Move a finished program into its place; `made` must lie in `workspace`."""
        path = self.path(program)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.chmod(0o755)
        with made.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        note = made.with_name(f"{made.name}.note")
        note.write_text(json.dumps({"size": made.stat().st_size, "sha256": digest, "source": source}))
        note.replace(_note(path))
        made.replace(path)
        return path

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Lend a directory on the cache's own file system, gone afterwards."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix="work-", dir=self.directory))
        try:
            yield path
        finally:
            _make_writable(path)
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self, *, say: Callable[[str], None]) -> Iterator[None]:
        """Let one process at a time fill the cache; another one waits, and finds what the first one made."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"another process is filling {self.directory}: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _make_writable(directory: Path) -> None:
    """Go makes its module cache read-only; such a tree could not be deleted."""
    for root, _, _ in os.walk(directory):
        Path(root).chmod(0o755)
