"""Packages of Debian and its kin that a target of make needs, installed when they are missing."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Where programs for root are found too."""


def has(program: str) -> bool:
    """Whether a program is installed."""
    return shutil.which(program, path=PATH) is not None


def install(packages: Sequence[str], say: Callable[[str], None]) -> str:
    """Install packages; returns why that failed, in a line, or nothing."""
    if not packages:
        return ""
    names = ", ".join(packages)
    if not has("apt-get") or os.geteuid() != 0:
        return f"{names} missing, and only root on a machine with apt-get gets them installed here"
    say(f"installing {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    fetch = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages]
    done = subprocess.run(fetch, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:  # perhaps only the lists are out of date
        subprocess.run(["apt-get", "update", "--quiet"], env=environment, capture_output=True, check=False)
        done = subprocess.run(fetch, env=environment, capture_output=True, text=True, check=False)
    return f"apt-get could not install {names}: {last_line(done.stderr)}" if done.returncode else ""


def last_line(text: str) -> str:
    """The last line of what a program said."""
    return (text.strip().splitlines() or ["(it said nothing)"])[-1]
