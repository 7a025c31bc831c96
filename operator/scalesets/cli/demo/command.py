"""The command ``scalesets demo``: it ends with 0 only when everything that it tells of has happened."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from scalesets.cli import output
from scalesets.cli.errors import CommandError
from scalesets.cli.session import errors_in_words

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster

DIRECTORY = Path(".local")


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it up, to look around in.")] = False,
    directory: Annotated[Path, typer.Option("--dir", help="Where what is kept lies.", file_okay=False)] = DIRECTORY,
) -> None:
    """Start a control plane and the operator, roll out a good image, a broken one and two extensions of which one is
    broken, on sets and on machines, and check what happened.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that a closed terminal, too, leaves nothing
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    with errors_in_words(interrupted="interrupted: all that the demo started has been ended"):
        from scalesets.local.binaries import find_binaries
        from scalesets.local.errors import LocalError
        from scalesets.local.progress import progress_for

        try:
            binaries = find_binaries(progress_for(output.stdout()))
            asyncio.run(_play(directory if keep else None, binaries))
        except LocalError as error:
            raise CommandError(str(error)) from error


async def _play(directory: Path | None, binaries: Mapping[str, Path]) -> None:
    from scalesets.cli.cluster import connect
    from scalesets.cli.demo.show import Show
    from scalesets.cli.demo.stage import a_stage, examples
    from scalesets.cli.demo.story import AGENTS, MACHINES, SET, tell
    from scalesets.cli.kubeconfig import Where

    console = output.stdout()
    folder = examples()
    with contextlib.ExitStack() as shown:
        show = shown.enter_context(Show(console))
        show.step("etcd, kube-apiserver, controller-manager, scheduler and three simulated machines start")
        async with a_stage(directory, binaries) as stage:
            show.done("a real control plane, the CRDs, and the operator under its own ServiceAccount")
            async with connect(Where(kubeconfig=str(stage.kubeconfig), context="", namespace="default")) as cluster:
                try:
                    findings = await tell(stage, cluster, folder, show)
                except CommandError:
                    show.note(f"the operator's log ends so:\n{stage.operator_log()}")
                    raise
                shown.close()
                console.print()
                output.show(show.picture())
                for name in (SET, AGENTS, MACHINES):
                    await _look_back(cluster, name)
            _look_around(stage.kubeconfig, directory)
    failed = [finding for finding in findings if not finding.holds]
    if failed:
        raise CommandError(f"{len(failed)} of {len(findings)} checks failed: {'; '.join(f.claim for f in failed)}")
    console.print(Text(f"All {len(findings)} checks hold.", style="bold green"))


async def _look_back(cluster: Cluster, name: str) -> None:
    """The history of the set, as `scalesets history` shows it."""
    from scalesets.cli.render import history as drawing
    from scalesets.cli.views import history

    snapshot = await cluster.snapshot(name)
    console = output.stdout()
    console.print()
    output.show(drawing.render(history.read(snapshot), now=datetime.now(UTC), width=output.bar_width()))
    console.print()


def _look_around(kubeconfig: Path, directory: Path | None) -> None:
    """Say how, and how to end it."""
    if directory is None:
        lines = [
            "It is taken down now. `make demo KEEP=1` (`scalesets demo --keep`) leaves it up to look around in:",
            f"  KUBECONFIG={DIRECTORY}/kubeconfig kubectl get vmss,rup,pods",
        ]
    else:
        flag = f" --dir {directory}" if directory != DIRECTORY else ""
        found = shutil.which("scalesets")
        path = "" if found else f" PATH={Path(sys.executable).parent}:$PATH"
        lines = [
            "It all stays up. Look around:",
            f"  export KUBECONFIG={kubeconfig}{path}",
            "  kubectl get vmss,rup,pods               # or: scalesets local kubectl get vmss,rup,pods",
            "  kubectl get rup -o yaml                 # batch by batch: members, where each came from, outcome",
            "  scalesets status web --watch            # examples/README.md says how to publish another version",
            "  scalesets extensions agents             # what is installed, and when what failed is tried again",
            "End it:",
            f"  scalesets local down{flag}",
        ]
    for line in lines:
        output.stdout().print(Text(line), soft_wrap=True)
    output.stdout().print()
