"""What a process costs, from /proc: CPU seconds and memory, its children included."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used so far, with the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory now, and at its peak."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(lines[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def await_quiet(pid: int, *, share: float = 0.03, seconds: float = 1.0, timeout: float = 120.0) -> None:
    """Wait until a process has used less than that share of a core for so long."""
    deadline = time.monotonic() + timeout
    while True:
        before = cpu_seconds(pid)
        time.sleep(seconds)
        if cpu_seconds(pid) - before <= share * seconds:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} is still busy after {timeout:.0f} s")
