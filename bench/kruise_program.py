"""OpenKruise's `kruise-manager`, built from its Go module, and the CRDs that the module carries.

`gomodules/openkruise/` pins the module, all that it needs, and their checksums. What is built lies in the cache beside
the programs of the control plane (docs/local.md): a folder that is there in full, or not at all.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from scalesets.local.binaries.cache import Cache, architecture, cache_directory, system
from scalesets.local.binaries.gobuild import Go
from scalesets.local.binaries.gotoolchain import find_go
from scalesets.local.progress import Progress

MODULE = "github.com/openkruise/kruise"
_PINNED = Path(__file__).parent / "gomodules" / "openkruise"


@dataclass(frozen=True, slots=True)
class Program:
    """The program and the folder of its CRDs."""

    manager: Path
    crds: Path


def version() -> str:
    """The version that `gomodules/openkruise/go.mod` pins."""
    words = next(line.split() for line in (_PINNED / "go.mod").read_text().splitlines() if f"{MODULE} v" in line)
    return words[words.index(MODULE) + 1]


def find(progress: Progress) -> Program:
    """Return it from the cache, or build it; LocalError says why that can't be done."""
    cache = Cache(cache_directory())
    place = cache.directory / f"openkruise-{version()}-{system()}-{architecture()}"
    if not place.exists():
        with cache.locked(say=progress.say):
            if not place.exists():  # another process may have built it meanwhile
                _build(cache, place, progress)
    return Program(place / "kruise-manager", place / "crds")


def _build(cache: Cache, place: Path, progress: Progress) -> None:
    go = find_go(cache=cache, progress=progress)
    with cache.workspace() as workspace:
        source, made = workspace / "openkruise", workspace / "made"
        made.mkdir()
        shutil.copytree(_PINNED, source)
        run = Go(go, source)
        with progress.step("fetching the Go modules of OpenKruise") as step:
            listed = run(step, "list", "-deps", "-f", "{{.ImportPath}}", MODULE, counts="go: downloading")
            (module,) = run(step, "list", "-m", "-f", "{{.Dir}}", MODULE)
        with progress.step("building kruise-manager (minutes, once)", total=len(listed)) as step:
            run(step, "build", "-trimpath", "-v", "-ldflags", "-s -w", "-o", str(made / "kruise-manager"), MODULE)
        (made / "crds").mkdir()
        for crd in (Path(module) / "config" / "crd" / "bases").glob("*.yaml"):
            (made / "crds" / crd.name).write_bytes(crd.read_bytes())
        made.replace(place)
