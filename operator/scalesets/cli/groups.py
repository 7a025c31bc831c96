"""How help and wrong usage look: plain text, as kubectl has them, that fits 80 columns, a pipe and a log.

The boxes that typer draws cut the names of longer options, which are what somebody reads a help text for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

_GIVEN_ANYWHERE = ("--namespace", "--context", "--kubeconfig", "--output", "-n", "-o")
_SHORT_WITH_EQUALS = re.compile(r"(-[no])=(.*)", re.DOTALL)
_OTHERS_ARGUMENTS = "local"  # `local kubectl` hands its arguments on as they are


class Commands(TyperGroup):
    """Commands under the headings that they were registered with (``rich_help_panel``)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "rich_markup_mode": None})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; the program's own also as kubectl's users are used to."""
        return super().parse_args(ctx, as_kubectl_reads(args) if ctx.parent is None else args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, each with its first sentences whole."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                heading = getattr(command, "rich_help_panel", None)
                about = (command.help or "").split("\n\n")[0]
                sections.setdefault(heading if isinstance(heading, str) else "Commands", []).append((name, about))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is named; a wrong argument is told without the name of the exception that found it."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as bad:
            bad.message = bad.message.removeprefix("Value error, ")
            raise


def as_kubectl_reads(args: Sequence[str]) -> list[str]:
    """Options before the command (``-n team-a status web``) behind it, and ``-o=json`` in two words."""
    rest, first = list(args), []
    while rest and rest[0].partition("=")[0] in _GIVEN_ANYWHERE:
        first.append(rest.pop(0))
        if "=" not in first[-1] and rest:
            first.append(rest.pop(0))
    if not rest or rest[0] == _OTHERS_ARGUMENTS:
        return list(args)
    read: list[str] = []
    for word in (rest[0], *first, *rest[1:]):
        found = _SHORT_WITH_EQUALS.fullmatch(word)
        read += found.groups() if found else (word,)
    return read
