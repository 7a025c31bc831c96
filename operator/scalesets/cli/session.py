"""How a command runs: it opens the connection, does its work, and ends with the exit code that ``errors`` documents.

The Kubernetes client is imported here, when it is needed: help and completion have no time for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer
from rich.text import Text

from scalesets.cli import output
from scalesets.cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster

T = TypeVar("T")


def run(work: Callable[[Cluster], Awaitable[T]], *, kubeconfig: str, context: str, namespace: str) -> T:
    """Do the work on the cluster that the flags name."""
    from scalesets.cli.cluster import connect
    from scalesets.cli.kubeconfig import Where

    async def connected() -> T:
        async with connect(Where(kubeconfig=kubeconfig, context=context, namespace=namespace)) as cluster:
            return await work(cluster)

    with errors_in_words():
        return asyncio.run(connected())


@contextmanager
def errors_in_words(*, interrupted: str = "") -> Iterator[None]:
    """Turn what goes wrong into a line and an exit code; ``interrupted`` is the line after Ctrl-C, if one is needed."""
    try:
        yield
    except CommandError as error:
        say_error(error)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as interrupt:
        if interrupted:
            say(interrupted)
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt


def say_error(error: CommandError) -> None:
    """What went wrong, where, and the mend, on standard error."""
    told = Text.assemble(("error: ", "bold red"), error.message)
    if error.mend:
        told.append(f" ({error.mend})")
    output.stderr().print(told, soft_wrap=True)


def say(*lines: str) -> None:
    """Something beside the result, on standard error."""
    for line in lines:
        output.stderr().print(Text(line, style="dim"), soft_wrap=True)
