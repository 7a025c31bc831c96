"""The arguments and options that commands share, as kubectl names them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

import typer

from scalesets.cli import completion, whose
from scalesets.cli.output import Output

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def duration(given: str | timedelta) -> timedelta:
    """A duration as kubectl takes it: ``90s``, ``1h30m``; a number counts seconds. The default comes here too."""
    if isinstance(given, timedelta):
        return given
    found = _DURATION.fullmatch(given)
    if given.isdecimal():
        return timedelta(seconds=int(given))
    if found is None or not given:
        raise typer.BadParameter(f"{given!r} is no duration; write it like 90s, 30m or 2h")
    hours, minutes, seconds = found.groups()
    return timedelta(hours=int(hours or 0), minutes=int(minutes or 0), seconds=float(seconds or 0))


_FOR_SETS_ONLY = {
    "update-instances": "a change of a machine's model applies at once, so there is nothing to bring it to; for its"
    " extensions: 'extensions' and 'start --extension'",
    "approve": "machines get no OS upgrades, so none of theirs waits for approval",
    "images": "a machine keeps the image that it was made from; without a name all images are listed",
}


def set_name(ctx: typer.Context, given: str) -> str:
    """The name of a scale set, also as kubectl prints it: ``scaleset.scalesets.dev/web``, ``vmss/web``."""
    named = whose.parse(given)
    if named is not None and not named.is_set:
        why = _FOR_SETS_ONLY.get(ctx.info_name or "", "")
        raise typer.BadParameter(f"{given!r} is no scale set{f': {why}' if why else ''}")
    if named is None:
        raise typer.BadParameter(f"{given!r} is no name of a scale set")
    return named.name


def set_name_or_none(ctx: typer.Context, given: str) -> str:
    """The same where it may be left out."""
    return given and set_name(ctx, given)


def fleet_name(given: str) -> str:
    """The name of a scale set, a machine (``vm/db-0``) or an availability set (``avset/db``)."""
    named = whose.parse(given)
    if named is None:
        raise typer.BadParameter(f"{given!r} is no name of a scale set, nor vm/NAME or avset/NAME")
    return str(named)


def fleet_name_or_none(given: str) -> str:
    """The same where it may be left out."""
    return given and fleet_name(given)


SetName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The scale set.", autocompletion=completion.sets, callback=set_name),
]
FleetName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The scale set, or a machine or availability set: vm/NAME, avset/NAME.",
        autocompletion=completion.fleets,
        callback=fleet_name,
    ),
]
Instances = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INSTANCE",
        help="Instances: names (web-3), numbers (3) or ranges (0-3,7).",
        autocompletion=completion.instances,
    ),
]
AllInstances = Annotated[bool, typer.Option("--all", help="All instances.")]


def of_extensions(flag: str, help_: str) -> Any:
    """An option that names extensions of the set, one or more."""
    return typer.Option(
        flag, metavar="EXTENSION", help=f"{help_}; can be repeated.", autocompletion=completion.extensions
    )


Namespace = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", help="The namespace; default: the context's.", autocompletion=completion.namespaces
    ),
]
Context = Annotated[
    str, typer.Option("--context", help="The kubeconfig's context to use.", autocompletion=completion.contexts)
]
Kubeconfig = Annotated[str, typer.Option("--kubeconfig", help="The kubeconfig; default: $KUBECONFIG, ~/.kube/config.")]
OutputForm = Annotated[
    Output | None, typer.Option("--output", "-o", help="wide shows more columns; json and yaml are for programs.")
]
CatalogNamespace = Annotated[
    str, typer.Option("--catalog-namespace", help="Where the images and extensions are that all namespaces share.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Show the upgrade's progress and wait for its end.")]
Timeout = Annotated[
    timedelta,
    typer.Option(
        "--timeout",
        parser=duration,
        metavar="TIME",
        show_default="for ever",
        help="How long --wait waits: 90s, 30m, 2h; 0 is for ever.",
    ),
]

DEFAULT_CATALOG = "scaleset-system"
FOR_EVER = timedelta(0)
