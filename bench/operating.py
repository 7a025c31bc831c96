"""The operator as its users run it: `scalesets operator` in a process of its own, as its own ServiceAccount."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from processes import await_quiet, cpu_seconds, memory_mb

_PATIENCE = 180.0


class Operator:
    """Use with ``with``: it is started, and ended by SIGTERM."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self._kubeconfig = kubeconfig
        self._stats = directory / "stats.json"
        self._log = directory / "operator.log"
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Operator:
        self._stats.unlink(missing_ok=True)
        command = [sys.executable, "-c", "from scalesets.cli.app import main; main()", "operator"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"--kubeconfig={self._kubeconfig}"],
                env={**os.environ, "SCALESETS_STATS": str(self._stats)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _: TracebackType | None) -> None:
        self._process.terminate()
        try:
            code = self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if kind is not None:
            print(f"the operator's log ends so:\n{self.log_tail()}", file=sys.stderr)
        elif code:
            raise RuntimeError(f"the operator ended with {code}:\n{self.log_tail()}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """CPU so far."""
        return cpu_seconds(self.pid)

    def memory_mb(self) -> tuple[float, float]:
        """Resident now, and at the peak."""
        return memory_mb(self.pid)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it logged."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def await_at_work(self, *, quiet_seconds: float = 1.0) -> None:
        """Wait until it leads, has seen all and has nothing left to do."""
        deadline = time.monotonic() + _PATIENCE
        while " ready: " not in self._log_of_this_run():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the operator does not get to work:\n{self.log_tail()}")
            time.sleep(0.05)
        await_quiet(self.pid, seconds=quiet_seconds, timeout=_PATIENCE)

    def figures(self) -> dict[str, Any]:
        """What it says of itself now (`kube/stats.py`)."""
        before = self._stats.stat().st_mtime_ns if self._stats.exists() else 0
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while not self._stats.exists() or self._stats.stat().st_mtime_ns == before:
            if time.monotonic() > deadline:
                raise TimeoutError("the operator does not write its figures")
            time.sleep(0.02)
        decoded: dict[str, Any] = orjson.loads(self._stats.read_bytes())
        return decoded

    def _log_of_this_run(self) -> str:
        return self._log.read_text(errors="replace").rpartition(" leading as ")[2]
