"""`make test-kubelet`: runs tests/kubelet in namespaces, on the real kubelets of two nodes (docs/kubelet.md).

What needs the network (Debian's packages, Go modules) happens before; inside there is none. Where it can't run it says
why in one line, which is no failure; `--check` only says that.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scalesets.local.binaries import find_binaries
from scalesets.local.binaries.cache import Cache, cache_directory
from scalesets.local.binaries.gotoolchain import find_go
from scalesets.local.binaries.programs import PROGRAMS
from scalesets.local.errors import LocalError
from scalesets.local.progress import Progress
from tools import debian

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "kubelet"
NAMESPACES = ROOT / "tools" / "namespaces.sh"
INSIDE = "SCALESETS_KUBELETS"
"""Set inside the namespaces, to a folder for the nodes' disks: the tests are collected there only."""
_GROUP = "scalesets-kubelets-"

_PACKAGES = {"containerd": "containerd", "runc": "runc", "ip": "iproute2", "setpriv": "util-linux", "mount": "mount"}
_CNI_PACKAGE, _CNI_PLACES = "containernetworking-plugins", ("/usr/lib/cni", "/opt/cni/bin")
_GROUPS = Path("/sys/fs/cgroup")
_OLD_CONTROLLERS = {"cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer"}
_CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}


def main(arguments: list[str]) -> int:
    """Run the tests where they can run."""
    why = why_not()
    if arguments == ["--check"]:
        print(f"real kubelets: {f'not here: {why}' if why else '`make test-kubelet` can run on this machine'}")
        return 0
    if why := why or debian.install(_missing(), _say) or why_not():
        print(f"test-kubelet: not run here: {why}")
        return 0
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what is to be put away still is
    started = time.monotonic()
    try:
        find_binaries(Progress(_say), (*PROGRAMS, "kubelet", "metrics-server"))
        find_go(cache=Cache(cache_directory()), progress=Progress(_say))
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _say(f"prepared in {time.monotonic() - started:.0f} s")
    named = any(Path(each.partition("::")[0]).exists() for each in arguments)
    tests = [*arguments, *([] if named else [str(TESTS)])]
    _sweep()
    with tempfile.TemporaryDirectory(prefix="scalesets-nodes-", ignore_cleanup_errors=True) as disks:
        return _in_namespaces([sys.executable, "-m", "pytest", *tests], {**os.environ, INSIDE: disks}).returncode


def why_not() -> str:
    """Say why kubelets can't run here; empty when they can (perhaps after packages were installed)."""
    if sys.platform != "linux":
        return f"kubelets run on Linux only, this is {sys.platform}: `make kind-trial` has Docker run them"
    if os.geteuid() != 0:
        return "it takes root (namespaces, mounts, cgroups): sudo make test-kubelet"
    missing = _missing()
    if missing and not debian.has("apt-get"):
        return f"{', '.join(missing)} missing, and there is no apt-get to install them"
    if (_GROUPS / "cgroup.controllers").exists():
        lacking = _CONTROLLERS - set((_GROUPS / "cgroup.controllers").read_text().split())
    else:
        fields = [line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines()]
        lacking = _OLD_CONTROLLERS - {name for field in fields for name in field.split(",")}
    if lacking:
        return f"cgroup controllers missing: {', '.join(sorted(lacking))}"
    return "" if set(missing) - {"containerd", "runc", _CNI_PACKAGE} else _why_no_namespaces()


def _missing() -> list[str]:
    missing = [package for program, package in _PACKAGES.items() if not debian.has(program)]
    return missing + ([] if any(Path(place, "bridge").exists() for place in _CNI_PLACES) else [_CNI_PACKAGE])


def _why_no_namespaces() -> str:
    """Try what a node needs: namespaces in a cgroup of their own, and in them an overlay and a bridge."""
    layers = "lowerdir=/run/a,upperdir=/run/b,workdir=/run/c"
    overlay = f"mkdir /run/a /run/b /run/c /run/d && mount -t overlay -o {layers} overlay /run/d"
    bridge = "ip link add try type bridge && ip link add one type veth peer name two"
    done = _in_namespaces(["bash", "-c", f"{overlay} && {bridge}"], dict(os.environ), quietly=True)
    return f"this machine gives no namespaces for a node: {debian.last_line(done.stderr)}" if done.returncode else ""


def _in_namespaces(
    command: list[str], environment: dict[str, str], *, quietly: bool = False
) -> subprocess.CompletedProcess[str]:
    group = f"{_GROUP}{os.getpid()}"
    try:
        # Bound to this process: it all ends when this one does, however that comes.
        every = ["setpriv", "--pdeathsig=KILL", str(NAMESPACES), group, *command]
        return subprocess.run(every, env=environment, capture_output=quietly, text=True, check=False)
    finally:
        subprocess.run([str(NAMESPACES), "--remove", group], check=False)


def _sweep() -> None:
    """Remove the cgroups of runs that were killed, and could not."""
    names = {path.name for path in _GROUPS.glob(f"**/{_GROUP}*")}
    for group in names:
        if not Path("/proc", group.removeprefix(_GROUP)).exists():
            subprocess.run([str(NAMESPACES), "--remove", group], check=False)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
