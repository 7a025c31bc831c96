"""What a command does with a RollingUpgrade that it makes: its body, and what is said of it until it has ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from scalesets.cli import following, output, whose
from scalesets.cli.errors import ExitCode
from scalesets.cli.fields import Obj, name_of, text
from scalesets.cli.output import Output
from scalesets.cli.program import hint
from scalesets.cli.session import say
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import upgrades
from scalesets.kube.names import API_VERSION, LABEL_SET

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster


def body_of(snapshot: Snapshot, type_: str, short: str) -> dict[str, Any]:
    """A user's RollingUpgrade of a type, named by the server."""
    named = snapshot.whose
    field = named.owner.field if named is not None else whose.SCALE_SET.field
    labels = {LABEL_SET: snapshot.name} if named is None or named.is_set else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "RollingUpgrade",
        "metadata": {
            "generateName": f"{snapshot.name}-{short}-",
            "namespace": snapshot.namespace,
            "labels": labels,
        },
        "spec": {field: snapshot.name, "type": type_, "startedBy": "User"},
    }


async def follow(
    cluster: Cluster,
    snapshot: Snapshot,
    created: Obj,
    told: str,
    form: Output | None,
    *,
    wait: bool,
    limit: timedelta,
) -> None:
    """Say that it was made and where it shows, or wait for its end and say how that was."""
    data = form in (Output.JSON, Output.YAML)
    if not data:
        say_done(created, f" created{told}")
        running = snapshot.running_upgrade
        if running is not None:
            say(f"It begins when {name_of(running)} has ended.")
        elif not wait:
            say(f"{hint('status', snapshot.reference, '--watch')} shows its progress.")
    if wait:
        created = await following.wait(cluster, snapshot.reference, name_of(created), limit=limit, quiet=data)
    if data:
        emit(created, form)
    elif wait:
        following.tell_outcome(upgrades.read(created), of=snapshot.reference)
    if wait and text(created, "status.runningStatus.code") != "Completed":
        raise typer.Exit(ExitCode.UPGRADE_FAILED)


def emit(upgrade: Obj, form: Output | None) -> None:
    """The object as kubectl prints it: without who manages which field."""
    metadata = {key: value for key, value in upgrade["metadata"].items() if key != "managedFields"}
    output.emit({**upgrade, "metadata": metadata}, form, lambda *_: "")


def say_done(upgrade: Obj, what: str) -> None:
    """What was done to it, as kubectl says such things."""
    output.show(Text(f"rollingupgrade.scalesets.dev/{name_of(upgrade)}{what}"))
