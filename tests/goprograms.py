"""Small Go programs that tests need: what is published only as a Go library, and the sample images' one program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from scalesets.local.binaries.cache import Cache, cache_directory
from scalesets.local.binaries.gotoolchain import find_go
from scalesets.local.progress import Progress


def build_go(source: Path, directory: Path, *, progress: Progress | None = None, system: str = "") -> Path:
    """Build the program of a folder with its pinned modules, as `directory/NAME`; quick the second time.

    It is made for this machine, or for another `system`: what goes into an image is Linux's wherever it is built.
    """
    go = find_go(cache=Cache(cache_directory()), progress=progress or Progress(print))
    program = directory / source.name
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    environment |= {"GOOS": system} if system else {}
    command = [str(go), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(program), "."]
    subprocess.run(command, cwd=source, env=environment, check=True)
    return program
