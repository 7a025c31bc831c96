"""The operator as a real process, `scalesets operator`, under its own ServiceAccount's kubeconfig."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from scalesets.local.processes import spawn

START_SECONDS = 30
READY = "ready: "
"""What the operator logs once it leads and knows the cluster."""


class Operator:
    """One operator process. It dies with the tests."""

    def __init__(self, kubeconfig: Path, *options: str, log: Path) -> None:
        self.kubeconfig = kubeconfig
        self.options = options
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._begins = 0

    def start(self, *, ready: bool = True) -> Operator:
        """Start it, and wait until it works unless told otherwise (a second one waits for its turn)."""
        self._begins = self.log.stat().st_size if self.log.exists() else 0
        command = [str(Path(sys.executable).with_name("scalesets")), "operator", f"--kubeconfig={self.kubeconfig}"]
        environment = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
        self._process = spawn([*command, *self.options], log=self.log, bound=True, environment=environment)
        if ready:
            self.await_ready()
        return self

    def await_ready(self, *, within: float = START_SECONDS) -> None:
        """Wait until it leads and has read the cluster."""
        deadline = time.monotonic() + within
        while READY not in self.output():
            assert self.running, f"the operator ended:\n{self.output()[-4000:]}"
            assert time.monotonic() < deadline, f"the operator isn't ready after {within} s:\n{self.output()[-4000:]}"
            time.sleep(0.02)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def output(self) -> str:
        """What it has logged since it was started last."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self._begins)
            return file.read().decode(errors="replace")

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self, *, within: float = 20) -> int:
        """SIGTERM: it finishes its writes and gives the Lease back. Returns its exit code."""
        return self._end(signal.SIGTERM, within)

    def pause(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on with what it believed."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals, within: float = 20) -> int:
        if not self.running:
            return self._process.returncode if self._process is not None else 0
        assert self._process is not None
        self._process.send_signal(number)
        try:
            return self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the operator didn't end after {number.name}:\n{self.output()[-4000:]}") from None


class Operators:
    """The operator that most scenarios share, and room for those that need theirs alone."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self._kubeconfig = kubeconfig
        self._directory = directory
        self._shared: Operator | None = None
        self._own: list[Operator] = []

    def shared(self) -> Operator:
        """The one for all namespaces; started when it isn't running."""
        if self._shared is None:
            self._shared = Operator(self._kubeconfig, log=self._directory / "operator.log")
        if not self._shared.running:
            self._shared.start()
        return self._shared

    def alone(self) -> None:
        """End the shared one, so that others may act."""
        if self._shared is not None:
            self._shared.stop()

    def new(self, *options: str, kubeconfig: Path | None = None) -> Operator:
        """One more, not started yet; ended by `end_own`."""
        log = self._directory / f"operator-{len(self._own) + 1}.log"
        operator = Operator(kubeconfig or self._kubeconfig, *options, log=log)
        self._own.append(operator)
        return operator

    def logs(self, *, lines: int = 60) -> list[tuple[str, str]]:
        """The last lines of those that are or were at work, each under a title."""
        known = [*self._own, *([self._shared] if self._shared is not None and not self._own else [])]
        return [(o.log.name, "\n".join(o.output().splitlines()[-lines:])) for o in known]

    def end_own(self) -> None:
        """Kill those that a test made for itself."""
        for operator in self._own:
            operator.kill()
        self._own.clear()

    def end_all(self) -> None:
        """Kill every one."""
        self.end_own()
        if self._shared is not None:
            self._shared.kill()
