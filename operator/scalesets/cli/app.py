"""The console scripts ``scalesets`` and ``kubectl-scaleset``.

The commands take a third of a second to load; they are imported in ``main``, so that Ctrl-C in that time ends in an
exit code as at any other, and not in a traceback.
"""

from __future__ import annotations

import sys

from scalesets.cli.errors import ExitCode


def main() -> None:
    """Run the command that the words on the command line name."""
    try:
        from io import TextIOWrapper

        from scalesets.cli import program
        from scalesets.cli.commands import app

        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # a locale that lacks a letter is no reason to fail
        app(prog_name=program.name())
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
