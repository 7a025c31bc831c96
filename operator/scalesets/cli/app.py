"""The commands of ``scalesets`` and ``kubectl scaleset``, joined from the modules that define them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper

import typer

from scalesets.cli import act, local, look, operator, program
from scalesets.cli.errors import EXIT_CODES

LOOKING: tuple[Callable[..., None], ...] = (
    look.status,
    look.explain,
    look.instances,
    look.history,
    look.plan,
    look.images,
)
ACTING: tuple[Callable[..., None], ...] = (act.start, act.cancel, act.update_instances, act.approve)
RUNNING = "Run it"

app = typer.Typer(
    name="scalesets",
    help="Scale sets of pods with automatic OS image upgrades: look at them, steer their upgrades, run the operator.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in LOOKING:
    app.command(rich_help_panel="Look at a scale set")(command)
for command in ACTING:
    app.command(rich_help_panel="Steer its upgrades")(command)
app.command(rich_help_panel=RUNNING)(operator.operator)
app.add_typer(local.app, rich_help_panel=RUNNING)


def main() -> None:
    """The console scripts ``scalesets`` and ``kubectl-scaleset``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale that lacks a letter is no reason to fail
    app(prog_name=program.name())
