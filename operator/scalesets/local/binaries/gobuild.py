"""The programs built from their Go modules, where no download is to be had.

`gomodules/` holds a go.mod and a complete go.sum for each: Kubernetes with its staging modules replaced by their
published versions, etcd, and a registry of images. They are built in a copy (the package may lie in a read-only place)
with `-mod=readonly`, so that what go.sum pins is what is compiled. Without the version stamps `kubectl version` and the
skew checks would fail.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from scalesets.local.binaries.cache import Cache
from scalesets.local.binaries.gotoolchain import find_go
from scalesets.local.errors import LocalError
from scalesets.local.progress import Progress, Step
from scalesets.local.versions import KUBERNETES

_ETCD_PACKAGE = "go.etcd.io/etcd/server/v3"
_REGISTRY_PACKAGE = "github.com/distribution/distribution/v3/cmd/registry"
_VERSION = "k8s.io/component-base/version"
_NETWORK_MARKS = ("dial tcp", "no such host", "connection refused", "i/o timeout", "TLS handshake", "GOPROXY=off")


def build(programs: Sequence[str], *, cache: Cache, progress: Progress) -> dict[str, Path]:
    """Build the programs; LocalError says what is missing for it."""
    go = find_go(cache=cache, progress=progress)
    built: dict[str, Path] = {}
    kubernetes = [program for program in programs if program not in ("etcd", "registry")]
    if "etcd" in programs:
        built |= _build("etcd", {"etcd": _ETCD_PACKAGE}, [], go, cache, progress)
    if "registry" in programs:
        built |= _build("registry", {"registry": _REGISTRY_PACKAGE}, [], go, cache, progress)
    if kubernetes:
        packages = {program: f"k8s.io/kubernetes/cmd/{program}" for program in kubernetes}
        built |= _build("kubernetes", packages, _stamps(), go, cache, progress)
    return built


def _build(
    module: str, packages: dict[str, str], stamps: list[str], go: Path, cache: Cache, progress: Progress
) -> dict[str, Path]:
    with cache.workspace() as workspace:
        source, out = workspace / module, workspace / "out"
        source.mkdir()
        out.mkdir()
        pinned = resources.files("scalesets.local") / "gomodules" / module
        for name in ("go.mod", "go.sum"):
            (source / name).write_bytes((pinned / name).read_bytes())
        run = Go(go, source)
        with progress.step(f"fetching the Go modules of {module}") as step:
            listed = run(step, "list", "-deps", "-f", "{{.ImportPath}}", *packages.values(), counts="go: downloading")
        names = " ".join(packages)
        with progress.step(f"building {names} (minutes, once)", total=len(listed)) as step:
            for program, package in packages.items():
                flags = ["-trimpath", "-v", "-ldflags", " ".join(["-s", "-w", *stamps]), "-o", str(out / program)]
                run(step, "build", *flags, package)
        return {
            program: cache.store(program, out / program, source=f"built from {package} by {run.version}")
            for program, package in packages.items()
        }


def _stamps() -> list[str]:
    major, minor, _ = KUBERNETES.split(".")
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return [f"-X {_VERSION}.{name}={value}" for name, value in values.items()]


class Go:
    """Runs one `go` in one directory, and turns its failures into words."""

    def __init__(self, go: Path, directory: Path) -> None:
        self._go = go
        self._directory = directory
        kept = {name: value for name, value in os.environ.items() if name not in ("GOROOT", "GOOS", "GOARCH")}
        self._environment = {
            **kept,
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOWORK": "off",
            "GOTOOLCHAIN": "local",
        }
        asked = subprocess.run(
            [str(go), "env", "GOVERSION"], capture_output=True, text=True, check=False, env=self._environment
        )
        self.version = asked.stdout.strip()

    def __call__(self, step: Step, *arguments: str, counts: str = "") -> list[str]:
        """Run go; a line on stderr that begins with `counts` is one unit done. Returns the lines of stdout."""
        tail: deque[str] = deque(maxlen=12)
        with tempfile.TemporaryFile("w+", dir=self._directory) as output:
            process = subprocess.Popen(
                [str(self._go), *arguments],
                cwd=self._directory,
                env=self._environment,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            try:
                assert process.stderr is not None
                for line in process.stderr:
                    if line.startswith(counts):
                        step.advance()
                    tail.append(line.rstrip())
            except BaseException:
                process.kill()
                raise
            finally:
                process.wait()
            if process.returncode:
                raise LocalError(_explain(arguments[0], process.returncode, tail))
            output.seek(0)
            return output.read().splitlines()


def _explain(command: str, code: int, tail: Iterable[str]) -> str:
    said = [line for line in tail if not line.startswith("go: downloading")]
    words = "\n".join(said) or "(it said nothing)"
    advice = "Is there enough memory and disk space (about 5 GB)?"
    if any(mark in words for mark in _NETWORK_MARKS):
        advice = (
            "The Go module proxy can't be reached. Try again with a network, or with $GOPROXY naming a reachable "
            "proxy; or put etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl into a directory "
            "and name it in $KUBEBUILDER_ASSETS."
        )
    return f"`go {command}` failed with {code}:\n{words}\n{advice}"
