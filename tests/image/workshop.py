"""The Dockerfile without Docker: its first stage is carried out in a chroot whose base comes from Debian's packages.

What `docker build` does there is little: start from a Debian, run commands, copy the files that .dockerignore lets in.
So the result can be compared with what tools/image.py makes on this machine, where no registry of images is reached.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import image  # noqa: E402 - a script of tools/, which is no package

PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""What of this machine's environment a `docker build` gets from its daemon's settings."""


def context(into: Path) -> None:
    """Copy what .dockerignore lets in."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*" and lines[-1] == "**/__pycache__", "this reads only: nothing, but these, without __pycache__"
    for line in lines[1:-1]:
        assert line[0] == "!", line
        source, target = ROOT / line[1:], into / line[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def carry_out(workshop: Path) -> Path:
    """Carry out the first stage; returns where the last stage copies from."""
    _debian(workshop)
    directory = "/"
    first_stage = True
    for word, rest in list(image.instructions((ROOT / "Dockerfile").read_text()))[1:]:
        if word == "FROM":
            first_stage = False
        elif word == "COPY" and not first_stage:
            stage, source, target = rest.split()
            assert (stage, target) == ("--from=root", "/")
            return workshop / source.lstrip("/")
        elif not first_stage:
            continue
        elif word == "WORKDIR":
            directory = rest
            (workshop / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            assert rest == ". ."
            context(workshop / directory.lstrip("/"))
        else:
            assert word == "RUN", word
            _run(workshop, directory, rest)
    raise AssertionError("the last stage copies nothing")


def _debian(workshop: Path) -> None:
    """A Debian as small as debian:12-slim, or so, with this machine's sources of packages."""
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(workshop)], check=True, stdout=sys.stderr)
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    if sources.exists():
        shutil.copy(sources, workshop / "etc/apt/sources.list.d/")
        (workshop / "etc/apt/sources.list").unlink(missing_ok=True)
    shutil.copy("/etc/resolv.conf", workshop / "etc/resolv.conf")


def _run(workshop: Path, directory: str, command: str) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if "PIP_CERT" in environment:
        shutil.copy(environment["PIP_CERT"], workshop / "pip-cert.pem")
        environment["PIP_CERT"] = "/pip-cert.pem"
    # What every container has, in mounts that end with the command.
    mounts = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" /bin/sh -euc "$1"'
    inside = ["unshare", "--mount", "/bin/sh", "-euc", mounts, str(workshop), f"cd {directory}; {command}"]
    subprocess.run(inside, check=True, env=environment, stdout=sys.stderr)
