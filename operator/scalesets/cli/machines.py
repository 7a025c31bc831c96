"""``scalesets local machines``: play the machines, and let instances fail on purpose (docs/local.md)."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from scalesets.cli import output
from scalesets.cli.errors import CommandError, ExitCode, not_found, unreachable, wrong_usage
from scalesets.cli.groups import Commands
from scalesets.cli.session import errors_in_words
from scalesets.local.settings import DEFAULT_DIRECTORY, Settings

if TYPE_CHECKING:
    from scalesets.local.api import Api
    from scalesets.local.machines.faults import Rule

app = typer.Typer(
    name="machines",
    help="Steer the simulated machines: let instances fail, heal them.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Directory = Annotated[Path, typer.Option("--dir", help="The control plane's directory.", file_okay=False)]
_DIRECTORY = Path(DEFAULT_DIRECTORY)
_DEFAULTS = Settings()
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class FailureMode(Enum):
    """How an instance fails."""

    NEVER_READY = "never-ready"
    UNREADY = "unready"
    CRASH = "crash"
    MISSING = "missing"
    SLOW = "slow"
    STOP = "stop"


def _duration(text: str) -> datetime.timedelta:
    """Read 200ms, 10s, 5m or 1h; a bare number is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is no duration; write it like 200ms, 10s, 5m or 1h")
    return datetime.timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter(f"{text!r} is no share; write it like 20% or 0.2")
    return share


@app.command()
def fail(
    version: Annotated[str, typer.Option(help="Instances on this image version (or a container's image tag).")] = "",
    instance: Annotated[str, typer.Option(metavar="NAMESPACE/POD", help="One instance.")] = "",
    scaleset: Annotated[str, typer.Option("--set", metavar="NAMESPACE/NAME", help="The instances of one set.")] = "",
    share: Annotated[float, typer.Option(parser=_share, metavar="20%", help="Only this share of them.")] = "100%",  # type: ignore[assignment]
    mode: Annotated[FailureMode, typer.Option(help="How they fail.")] = FailureMode.NEVER_READY,
    after: Annotated[datetime.timedelta, typer.Option(parser=_duration, metavar="10s", help="Begin later.")] = "0s",  # type: ignore[assignment]
    lasts: Annotated[
        datetime.timedelta | None, typer.Option("--for", parser=_duration, metavar="30s", help="End by itself.")
    ] = None,
    directory: Directory = _DIRECTORY,
) -> None:
    """Let instances fail: of a version, of a set, or one; several of these mean all of them hold."""
    from scalesets.local.machines import steering
    from scalesets.local.machines.faults import Mode

    with _connected(directory) as api:
        if not (version or instance or scaleset):
            raise wrong_usage("whom shall fail?", mend="give --version, --set or --instance")
        for flag, name in (("--instance", instance), ("--set", scaleset)):
            if name and name.count("/") != 1:
                raise wrong_usage(f"{flag} {name} lacks the namespace", mend=f"write {flag} default/{name}")
        rule = steering.fail(
            api,
            mode=Mode(mode.value),
            version=version,
            instance=instance,
            scaleset=scaleset,
            share=share,
            after=after,
            lasts=lasts,
        )
        output.stdout().print(f"{rule.name}: {_whom(rule)}: {rule.mode.value}", highlight=False, soft_wrap=True)


@app.command()
def heal(
    names: Annotated[list[str] | None, typer.Argument(help="Names that `list` shows; none: all of them.")] = None,
    directory: Directory = _DIRECTORY,
) -> None:
    """End injected failures."""
    from scalesets.local.machines import steering

    with _connected(directory) as api:
        ended = steering.heal(api, names or None)
        if unknown := sorted(set(names or ()) - set(ended)):
            raise not_found(f"no failure named {', '.join(unknown)}", mend="see `scalesets local machines list`")
        output.stdout().print(f"ended: {', '.join(ended) or 'none was set'}", highlight=False)


@app.command("list")
def list_failures(directory: Directory = _DIRECTORY) -> None:
    """Show injected failures, stopped machines and the boot time."""
    from scalesets.local.machines import steering

    with _connected(directory) as api:
        state = steering.read(api)
        now = datetime.datetime.now(datetime.UTC)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("NAME", "WHO", "MODE", "STATE", "ENDS"):
            table.add_column(title, overflow="fold")
        for rule in state.rules:
            begun = "in force" if rule.in_force(now) else f"in {(rule.begins - now).total_seconds():.0f} s"
            ends = f"in {(rule.ends - now).total_seconds():.0f} s" if rule.ends else ""
            table.add_row(rule.name, _whom(rule), rule.mode.value, begun, ends)
        console = output.stdout()
        console.print(table if state.rules else "No failures are set.", highlight=False)
        if state.stopped_nodes:
            console.print(f"Stopped machines: {', '.join(sorted(state.stopped_nodes))}", highlight=False)
        if state.boot_seconds:
            console.print(f"Boot time: {state.boot_seconds[0]:g} to {state.boot_seconds[1]:g} s", highlight=False)
        for mistake in state.mistakes:
            console.print(f"Not understood: {mistake}", highlight=False)


@app.command("boot-time")
def boot_time(
    low: Annotated[datetime.timedelta, typer.Option("--min", parser=_duration, metavar="50ms", help="The shortest.")],
    high: Annotated[datetime.timedelta, typer.Option("--max", parser=_duration, metavar="300ms", help="The longest.")],
    directory: Directory = _DIRECTORY,
) -> None:
    """Set how long starts take from now on."""
    from scalesets.local.machines import steering

    with _connected(directory) as api:
        try:
            steering.set_boot_seconds(api, low.total_seconds(), high.total_seconds())
        except ValueError as error:
            raise wrong_usage(str(error)) from error


@app.command("stop-node")
def stop_node(name: str, directory: Directory = _DIRECTORY) -> None:
    """Cut a machine off: it sends no heartbeats, and its pods don't move on."""
    from scalesets.local.machines import steering

    with _connected(directory) as api:
        _must_exist(api, name)
        steering.stop_node(api, name)


@app.command("start-node")
def start_node(name: str, directory: Directory = _DIRECTORY) -> None:
    """Let a stopped machine come back."""
    from scalesets.local.machines import steering

    with _connected(directory) as api:
        _must_exist(api, name)
        steering.start_node(api, name)


@app.command()
def run(
    directory: Directory = _DIRECTORY,
    nodes: Annotated[int, typer.Option(min=1, help="How many machines.")] = _DEFAULTS.nodes,
    zones: Annotated[str, typer.Option(help="Zones for the machines' labels in turn, like 1,2,3.")] = "",
    boot_min: Annotated[float, typer.Option(min=0, help="The shortest boot, in seconds.")] = _DEFAULTS.boot_seconds[0],
    boot_max: Annotated[float, typer.Option(min=0, help="The longest boot, in seconds.")] = _DEFAULTS.boot_seconds[1],
    heartbeat: Annotated[float, typer.Option(min=0.1, help="Seconds between heartbeats.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Seed of the boot times.")] = _DEFAULTS.seed,
) -> None:
    """Play the machines in the foreground. `up` does so by itself; two at once would play every pod twice."""
    from scalesets.local.machines.process import Options, run_machines

    with errors_in_words():
        run_machines(
            Options(
                directory=directory.resolve(),
                port=_port(directory),
                nodes=nodes,
                zones=tuple(zone.strip() for zone in zones.split(",") if zone.strip()),
                boot_seconds=(boot_min, boot_max),
                heartbeat=heartbeat,
                seed=seed,
            )
        )


@contextlib.contextmanager
def _connected(directory: Path) -> Iterator[Api]:
    import http.client

    from scalesets.local.api import Api, ApiError
    from scalesets.local.layout import Layout

    with errors_in_words():
        try:
            with Api(port=_port(directory), pki=Layout(directory.resolve()).pki) as api:
                yield api
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(
                f"the control plane in {directory} does not answer: {error}", mend="see `scalesets local status`"
            ) from error
        except ApiError as error:
            raise CommandError(f"the API server refused: {error.message}") from error


def _port(directory: Path) -> int:
    from scalesets.local.errors import LocalError
    from scalesets.local.layout import Layout
    from scalesets.local.state import read_state

    try:
        state = read_state(Layout(directory.resolve()).state)
    except LocalError as error:
        raise CommandError(str(error)) from error
    if state is None:
        raise CommandError(
            f"no control plane runs in {directory}",
            mend="start one with `scalesets local up`, or name its directory with --dir",
            exit_code=ExitCode.NOT_FOUND,
        )
    return state.ports.apiserver


def _must_exist(api: Api, node: str) -> None:
    if api.find(f"/api/v1/nodes/{node}") is None:
        names = ", ".join(each["metadata"]["name"] for each in api.get("/api/v1/nodes")["items"])
        raise not_found(f"no machine named {node}", mend=f"there are {names}")


def _whom(rule: Rule) -> str:
    named = (("version", rule.version), ("set", rule.scaleset), ("instance", rule.instance))
    whom = ", ".join(f"{what} {name}" for what, name in named if name)
    return whom if rule.share >= 1 else f"{rule.share:.0%} of {whom}"
