"""`make test-kubelet`: prepares what nodes need, then runs the tests of this folder in namespaces of their own.

What needs the network (Debian packages, Go modules) happens before; inside there is none. `--check` only says whether
it can run here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
from kubelet_paths import NAMESPACES

from scalesets.local.binaries import find_binaries
from scalesets.local.binaries.programs import PROGRAMS
from scalesets.local.errors import LocalError
from scalesets.local.progress import Progress

sys.path.append(str(Path(__file__).parents[1]))
import samples

INSIDE = "SCALESETS_KUBELET_SAMPLES"
"""Set inside the sandbox: the archive of the sample images."""


def main(arguments: list[str]) -> int:
    """Run the tests; where they can't run say why, which is no failure."""
    why = machine.why_not()
    if arguments == ["--check"]:
        print(f"real kubelets: {f'not here: {why}' if why else '`make test-kubelet` can run on this machine'}")
        return 0
    if not why:
        why = machine.install_packages(_say) or machine.why_not()
    if why:
        print(f"test-kubelet: not run here: {why}")
        return 0
    started = time.monotonic()
    progress = Progress(_say)
    group = f"scalesets-kubelet-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="scalesets-samples-") as directory:
        try:
            binaries = find_binaries(progress, (*PROGRAMS, "kubelet", "metrics-server"))
            archive = samples.build(Path(directory), progress)
        except (LocalError, subprocess.CalledProcessError) as error:
            print(f"test-kubelet: {error}", file=sys.stderr)
            return 1
        _say(f"prepared in {time.monotonic() - started:.0f} s: {binaries['kubelet']}")
        environment = {**os.environ, INSIDE: str(archive)}
        named = any(Path(each.partition("::")[0]).exists() for each in arguments)
        tests = [*arguments, *([] if named else [str(Path(__file__).parent)])]
        command = [str(NAMESPACES), group, sys.executable, "-m", "pytest", *tests]
        try:
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            machine.remove_group(group)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
