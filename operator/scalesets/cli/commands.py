"""The commands of ``scalesets`` and ``kubectl scaleset``, joined from the modules that define them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Annotated

import typer

from scalesets.cli import act, extensions, local, look, operator
from scalesets.cli.demo import command as demo
from scalesets.cli.errors import EXIT_CODES
from scalesets.cli.groups import Commands

LOOKING: tuple[Callable[..., None], ...] = (
    look.status,
    look.explain,
    look.instances,
    look.history,
    look.plan,
    look.images,
    extensions.extensions,
)
ACTING: tuple[Callable[..., None], ...] = (act.start, act.cancel, act.update_instances, act.approve)
RUNNING = "Run it"

app = typer.Typer(
    name="scalesets",
    cls=Commands,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in LOOKING:
    app.command(rich_help_panel="Look at a scale set or machine")(command)
for command in ACTING:
    app.command(rich_help_panel="Steer its upgrades")(command)
app.command(rich_help_panel=RUNNING)(demo.demo)
app.command(rich_help_panel=RUNNING)(operator.operator)
app.add_typer(local.app, rich_help_panel=RUNNING)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scaleset-operator {metadata.version('scaleset-operator')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Scale sets of pods with automatic OS image and extension upgrades: look at them, steer them, run the operator."""
