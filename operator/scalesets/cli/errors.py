"""How a command ends when it can't do what was asked: an exit code, and one line that says what, where and the mend.

The exit codes are part of the interface; scripts rely on them. A failure of the API server or of the connection never
shows a traceback: ``cluster`` turns each into a ``CommandError``.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What ``$?`` tells a script."""

    OK = 0
    ERROR = 1  # refused or failed; the message says why
    USAGE = 2  # wrong arguments
    NOT_FOUND = 3  # no such scale set, instance or upgrade
    UPGRADE_FAILED = 4  # --wait: the upgrade ended Faulted or Cancelled
    TIMEOUT = 5  # --wait: it had not ended by --timeout
    UNREACHABLE = 6  # no kubeconfig, no connection, or not allowed
    INTERRUPTED = 130  # Ctrl-C


EXIT_CODES = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong arguments; 3 not found; 4 the upgrade waited for was Faulted or "
    "Cancelled; 5 timed out; 6 the cluster can't be reached or refuses you; 130 interrupted."
)


class CommandError(Exception):
    """A command can't go on. ``mend`` is what to do about it, in the imperative."""

    def __init__(self, message: str, *, mend: str = "", exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.exit_code = exit_code


def not_found(message: str, *, mend: str = "") -> CommandError:
    """Something that was named does not exist."""
    return CommandError(message, mend=mend, exit_code=ExitCode.NOT_FOUND)


def wrong_usage(message: str, *, mend: str = "") -> CommandError:
    """The arguments don't make sense together."""
    return CommandError(message, mend=mend, exit_code=ExitCode.USAGE)


def unreachable(message: str, *, mend: str = "") -> CommandError:
    """The cluster can't be reached, or doesn't let us."""
    return CommandError(message, mend=mend, exit_code=ExitCode.UNREACHABLE)
