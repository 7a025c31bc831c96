"""Starting, knowing again and ending processes, without ever hitting a stranger (docs/local.md).

A pid alone names nobody: it is given out again. So a process is remembered as its pid *and* its start time, and is
signalled through a pidfd where there is one, after the start time was compared.

Processes of a test or a benchmark must not outlive it, even when it is killed by SIGKILL: on Linux they ask the
kernel to die with the parent (`PR_SET_PDEATHSIG`). The kernel means the *thread* that forked, so all of these are
forked by one thread that lives as long as this process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_FORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scalesets-forker")

_HAS_PROC = Path("/proc/self/stat").exists()

_BOUND = (
    "import ctypes,os,sys;"
    "ctypes.CDLL(None).prctl(1,9);"
    "os.getppid()==int(sys.argv[1]) or sys.exit(1);"
    "os.execv(sys.argv[2],sys.argv[2:])"
)
"""Run by a bare interpreter before the program: PR_SET_PDEATHSIG = SIGKILL, then become the program."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that no later one can be taken for."""

    pid: int
    started: str


def identify(pid: int) -> ProcessIdentity | None:
    """Say who runs under `pid` now; None when nobody does (a zombie is nobody)."""
    if _HAS_PROC:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else ProcessIdentity(pid, fields[19])
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return None if not listed or listed[0].startswith("Z") else ProcessIdentity(pid, listed[1].strip())


def is_alive(process: ProcessIdentity) -> bool:
    """Say whether this very process still runs."""
    return identify(process.pid) == process


def spawn(
    argv: Sequence[str], *, log: Path, bound: bool, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output appended to `log`.

    `bound` ties its life to this process; an unbound one goes on when this process ends.
    """
    command = list(argv)
    if bound and sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid()), *command]
    with log.open("ab") as output:
        return _FORKER.submit(
            subprocess.Popen,
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment) if environment is not None else None,
        ).result()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the block is through: a process must not be forked and forgotten."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if came:
        signal.raise_signal(signal.SIGINT)


def end(processes: Iterable[ProcessIdentity], *, grace: float = 0.0, patience: float = 10.0) -> list[ProcessIdentity]:
    """End these processes and wait until they are gone; returns those that still run after `patience` seconds.

    With a `grace` they get SIGTERM and that many seconds first; SIGKILL follows. Children of this process are reaped by
    whoever holds their Popen; here a zombie counts as gone.
    """
    left = [process for process in processes if is_alive(process)]
    if grace > 0 and left:
        for process in left:
            _signal(process, signal.SIGTERM)
        left = _wait(left, seconds=grace)
    for process in left:
        _signal(process, signal.SIGKILL)
    return _wait(left, seconds=patience)


def _signal(process: ProcessIdentity, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(process.pid)
            try:
                if is_alive(process):  # compared after the descriptor is open, so the pid can't change hands between
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
        elif is_alive(process):
            os.kill(process.pid, number)


def _wait(processes: list[ProcessIdentity], *, seconds: float) -> list[ProcessIdentity]:
    deadline = time.monotonic() + seconds
    left = processes
    while left and time.monotonic() < deadline:
        left = [process for process in left if is_alive(process)]
        if left:
            select.select([], [], [], 0.01)
    return left
