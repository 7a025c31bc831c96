"""Whether this machine can run real kubelets, said in one line; and what it takes to make it so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kubelet_paths import CNI_PLUGINS, NAMESPACES

PACKAGES = {"containerd": "containerd", "runc": "runc", "ip": "iproute2", "unshare": "util-linux", "mount": "mount"}
CNI_PACKAGE = "containernetworking-plugins"
_GROUPS = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer")


def why_not() -> str:
    """Say why kubelets can't run here; empty when they can (perhaps after `install_packages`)."""
    if sys.platform != "linux":
        return f"kubelets run on Linux only, this is {sys.platform}"
    if os.geteuid() != 0:
        return "it takes root (namespaces, mounts, cgroups): sudo make test-kubelet"
    if missing := _missing_packages():
        if shutil.which("apt-get") is None:
            return f"{', '.join(missing)} missing, and there is no apt-get to install them"
        if set(missing) & {"util-linux", "mount", "iproute2"}:
            return ""  # nothing more can be tried before they are there
    if words := _why_no_cgroups():
        return words
    return _why_no_namespaces()


def install_packages(say: Callable[[str], None]) -> str:
    """Install what is missing from the distribution; returns why that failed."""
    missing = _missing_packages()
    if not missing:
        return ""
    say(f"installing {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *missing]
    for command in (install, ["apt-get", "update", "--quiet"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return ""
    return f"apt-get could not install {', '.join(missing)}: {_last_line(done.stderr)}"


def _missing_packages() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None]
    return missing + ([] if (CNI_PLUGINS / "bridge").exists() else [CNI_PACKAGE])


def _why_no_cgroups() -> str:
    if (_GROUPS / "cgroup.controllers").exists():
        missing = {"cpu", "cpuset", "memory", "pids"} - set((_GROUPS / "cgroup.controllers").read_text().split())
    else:
        present = {
            name
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            for name in line.split(":")[1].split(",")
        }
        missing = set(_CONTROLLERS) - present
    return f"cgroup controllers missing: {', '.join(sorted(missing))}" if missing else ""


def _why_no_namespaces() -> str:
    """Try what a node needs: namespaces in a cgroup of their own, and in them an overlay and a bridge."""
    layers = "lowerdir=/run/a,upperdir=/run/b,workdir=/run/c"
    overlay = f"mkdir /run/a /run/b /run/c /run/d && mount -t overlay -o {layers} overlay /run/d"
    bridge = "ip link add try type bridge && ip link add one type veth peer name two"
    group = f"scalesets-try-{os.getpid()}"
    command = [str(NAMESPACES), group, "bash", "-c", f"{overlay} && {bridge}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    remove_group(group)
    return f"this machine gives no namespaces for a node: {_last_line(done.stderr)}" if done.returncode else ""


def remove_group(name: str) -> None:
    """Remove a cgroup that namespaces.sh made, with those below it; all of its processes have ended."""
    tops = [path for path in [*_GROUPS.glob(f"**/{name}")] if path.is_dir()]
    for top in tops:
        for path in sorted([top, *(p for p in top.rglob("*") if p.is_dir())], reverse=True):
            with_patience(path)


def with_patience(path: Path) -> None:
    """Remove one group; the kernel takes a moment to let go of processes that were killed."""
    import time

    for _ in range(50):
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["(it said nothing)"])[-1]
