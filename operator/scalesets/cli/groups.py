"""How help and wrong usage look: plain text, as kubectl has them, that fits 80 columns, a pipe and a log.

The boxes that typer draws cut the names of longer options, which are what somebody reads a help text for.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Commands under the headings that they were registered with (``rich_help_panel``)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "rich_markup_mode": None})

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
