"""``scalesets local``: a control plane of one's own on this machine (docs/local.md)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from scalesets.cli import output
from scalesets.cli.errors import CommandError, ExitCode
from scalesets.cli.groups import Commands
from scalesets.cli.machines import app as machines
from scalesets.cli.session import errors_in_words
from scalesets.local.errors import LocalError
from scalesets.local.settings import DEFAULT_DIRECTORY, Settings

app = typer.Typer(
    name="local",
    help="A real control plane on this machine, with simulated machines: for trying things, tests and benchmarks.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(machines)

Directory = Annotated[Path, typer.Option("--dir", help="Where everything of this control plane lies.", file_okay=False)]
_DIRECTORY = Path(DEFAULT_DIRECTORY)
_DEFAULTS = Settings()


@app.command()
def up(
    directory: Directory = _DIRECTORY,
    nodes: Annotated[int, typer.Option(min=0, max=1000, help="How many simulated machines.")] = _DEFAULTS.nodes,
    zones: Annotated[str, typer.Option(help="Zones for the machines' labels in turn, like 1,2,3.")] = "",
    boot_min: Annotated[float, typer.Option(min=0, help="The shortest boot, in seconds.")] = _DEFAULTS.boot_seconds[0],
    boot_max: Annotated[float, typer.Option(min=0, help="The longest boot, in seconds.")] = _DEFAULTS.boot_seconds[1],
    seed: Annotated[int, typer.Option(help="Seed of the boot times.")] = _DEFAULTS.seed,
) -> None:
    """Start it, install the CRDs, and leave it running."""
    from scalesets.local.binaries import find_binaries
    from scalesets.local.controlplane import ControlPlane
    from scalesets.local.progress import progress_for

    with _local_errors_in_words():
        progress = progress_for(output.stderr())
        if boot_min > boot_max:
            raise LocalError(f"--boot-min ({boot_min}) must not be above --boot-max ({boot_max})")
        plane = ControlPlane(
            directory,
            bound=False,
            binaries=find_binaries(progress),
            nodes=nodes,
            zones=tuple(zone.strip() for zone in zones.split(",") if zone.strip()),
            boot_seconds=(boot_min, boot_max),
            seed=seed,
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it leaves nothing either
        with progress.step("starting the control plane"):
            plane.start()
        kubeconfig = _short(plane.kubeconfig)
        output.stdout().print(
            f"The control plane is up: {plane.server}, {nodes} machines.\n"
            f"  KUBECONFIG={kubeconfig} kubectl get nodes\n"
            f"  KUBECONFIG={_short(plane.operator_kubeconfig)} scalesets operator\n"
            f"  scalesets local down{_flag(directory)}",
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def fetch(
    programs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROGRAM]...", help="Others than the control plane's, such as registry."),
    ] = None,
) -> None:
    """Download or build the programs that aren't in the cache yet; `up`, `demo` and the tests do so by themselves."""
    from scalesets.local.binaries import find_binaries
    from scalesets.local.binaries.cache import PROGRAMS
    from scalesets.local.progress import progress_for

    with _local_errors_in_words():
        found = find_binaries(progress_for(output.stderr()), programs or PROGRAMS)
        for program, path in sorted(found.items()):
            output.stdout().print(f"{program}: {path}", highlight=False, soft_wrap=True)


@app.command()
def down(directory: Directory = _DIRECTORY) -> None:
    """End what `up` started there, and wait until it is gone."""
    from scalesets.local.controlplane import stop_in

    with _local_errors_in_words():
        ended = stop_in(directory)
        said = f"Ended {', '.join(ended)}." if ended else f"Nothing runs in {directory}."
        output.stdout().print(said, highlight=False, soft_wrap=True)


@app.command()
def status(directory: Directory = _DIRECTORY) -> None:
    """Show what runs; exit code 1 when something that should run doesn't."""
    from scalesets.local.layout import Layout
    from scalesets.local.processes import is_alive
    from scalesets.local.state import read_state

    with _local_errors_in_words():
        layout = Layout(directory.resolve())
        state = read_state(layout.state)
        if state is None:
            raise CommandError(
                f"no control plane runs in {directory}",
                mend=f"start one with `scalesets local up{_flag(directory)}`",
                exit_code=ExitCode.NOT_FOUND,
            )
        ports = {
            "etcd": state.ports.etcd,
            "kube-apiserver": state.ports.apiserver,
            "kube-controller-manager": state.ports.controller_manager,
            "kube-scheduler": state.ports.scheduler,
        }
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("PROCESS", "STATE", "PID", "PORT", "LOG"):
            table.add_column(title, overflow="fold")
        dead = []
        for name, who in state.processes.items():
            alive = is_alive(who)
            dead += [] if alive else [name]
            port = str(ports.get(name, ""))
            table.add_row(name, "running" if alive else "[red]ended[/]", str(who.pid), port, _short(layout.log(name)))
        output.stdout().print(table)
        if dead:
            raise CommandError(
                f"{', '.join(dead)} ended by itself",
                mend=f"see the log; then `scalesets local down{_flag(directory)}` and `up` again",
            )


@app.command()
def kubeconfig(
    directory: Directory = _DIRECTORY,
    content: Annotated[bool, typer.Option("--content", help="Print the file itself, not its path.")] = False,
    as_operator: Annotated[bool, typer.Option("--operator", help="The operator's, not the administrator's.")] = False,
) -> None:
    """Print where the kubeconfig lies: `export KUBECONFIG=$(scalesets local kubeconfig)`."""
    from scalesets.local.layout import Layout

    with errors_in_words():
        layout = Layout(directory.resolve())
        path = layout.operator_kubeconfig if as_operator else layout.kubeconfig
        if not path.exists():
            raise CommandError(
                f"there is no {path}",
                mend=f"start a control plane with `scalesets local up{_flag(directory)}`",
                exit_code=ExitCode.NOT_FOUND,
            )
        typer.echo(path.read_text() if content else path, nl=not content)


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def kubectl(
    arguments: Annotated[list[str] | None, typer.Argument(help="What kubectl is to do.")] = None,
    directory: Directory = _DIRECTORY,
) -> None:
    """Run the cached kubectl on it: `scalesets local kubectl get pods`."""
    from scalesets.local.binaries import find_binaries
    from scalesets.local.layout import Layout
    from scalesets.local.progress import progress_for

    with _local_errors_in_words():
        program = find_binaries(progress_for(output.stderr()))["kubectl"]
        environment = {**os.environ, "KUBECONFIG": str(Layout(directory.resolve()).kubeconfig)}
        done = subprocess.run([str(program), *(arguments or [])], env=environment, check=False)
        raise typer.Exit(done.returncode)


@contextlib.contextmanager
def _local_errors_in_words() -> Iterator[None]:
    with errors_in_words():
        try:
            yield
        except LocalError as error:
            raise CommandError(str(error)) from error


def _short(path: Path) -> str:
    """Return a path as a person in this directory would write it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _flag(directory: Path) -> str:
    return "" if directory == _DIRECTORY else f" --dir {directory}"
