"""Processes are known by pid and start time, and bound ones die with their parent (docs/local.md)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from controlplane import eventually
from scalesets.local.processes import ProcessIdentity, end, identify, is_alive, spawn

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]


def test_a_process_is_ended_and_waited_for(tmp_path: Path) -> None:
    process = spawn(SLEEP, log=tmp_path / "log", bound=False)
    who = identify(process.pid)
    assert who is not None and is_alive(who)

    assert end([who]) == []

    assert not is_alive(who)
    assert process.wait() == -signal.SIGKILL


def test_another_process_under_the_same_pid_is_never_touched(tmp_path: Path) -> None:
    process = spawn(SLEEP, log=tmp_path / "log", bound=True)
    try:
        former = ProcessIdentity(process.pid, "before")

        assert not is_alive(former)
        assert end([former]) == []

        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_stubborn_process_gets_its_grace_and_then_no_more(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ignore = f"import signal, pathlib; signal.signal(15, signal.SIG_IGN); pathlib.Path({str(ready)!r}).touch();"
    process = spawn([sys.executable, "-c", f"{ignore} signal.pause()"], log=tmp_path / "log", bound=True)
    eventually(ready.exists)
    who = identify(process.pid)
    assert who is not None

    assert end([who], grace=0.2) == []
    assert process.wait() == -signal.SIGKILL


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    spawn([sys.executable, "-c", "print('hello')"], log=tmp_path / "log", bound=True).wait()

    assert (tmp_path / "log").read_text() == "hello\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can bind a child's life to its parent's")
@pytest.mark.parametrize("bound", [True, False])
def test_only_a_bound_process_dies_with_a_killed_parent(tmp_path: Path, bound: bool) -> None:
    script = f"""
        import signal, sys, threading
        from pathlib import Path
        from scalesets.local.processes import spawn
        def start():  # in a thread that ends at once: the child must not end with it
            child = spawn({SLEEP!r}, log=Path({str(tmp_path / "log")!r}), bound={bound})
            print(child.pid, flush=True)
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        signal.pause()
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = identify(int(parent.stdout.readline()))
    assert child is not None
    try:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()

        if bound:
            eventually(lambda: not is_alive(child))
        else:
            assert is_alive(child)
    finally:
        end([child])
        parent.stdout.close()
