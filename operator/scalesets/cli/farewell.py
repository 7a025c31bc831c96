"""``scalesets release-finalizers``: the last thing to do on a cluster that no operator serves any more.

The chart's uninstall hook runs it; whoever installed plain manifests runs it by hand after deleting the Deployment.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from scalesets.cli import output
from scalesets.cli.errors import CommandError, ExitCode
from scalesets.cli.session import errors_in_words


def release_finalizers(
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster; default: $KUBECONFIG, the pod's ServiceAccount, ~/.kube/config.")
    ] = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Only in this namespace; may be repeated.")
    ] = None,
    lease_namespace: Annotated[
        str, typer.Option(help="Where the operator's Lease lies: nothing is done while one is at work.")
    ] = "scaleset-system",
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for it to end.")] = 120.0,
) -> None:
    """After the operator was uninstalled: let RollingUpgrades, and their namespaces, be deleted without it."""
    with errors_in_words():
        released = _release(kubeconfig, namespace or [], lease_namespace, timeout)
        output.stdout().print(f"Released {released} RollingUpgrade{'' if released == 1 else 's'}.", highlight=False)


def _release(kubeconfig: str | None, namespaces: list[str], lease_namespace: str, timeout: float) -> int:
    from scalesets.kube import farewell, logs
    from scalesets.kube.client import ConnectionProblem, Outcome, Refusal, connect
    from scalesets.kube.settings import Settings
    from scalesets.kube.stats import Stats

    settings = Settings(namespaces=tuple(namespaces), lease_namespace=lease_namespace)

    async def work() -> int:
        cluster = await connect(Stats(), kubeconfig=kubeconfig)
        try:
            return await farewell.release_finalizers(cluster, settings, patience=timeout)
        finally:
            await cluster.close()

    logs.configure(json_log=False, verbose=False)
    try:
        return asyncio.run(work())
    except farewell.StillLed as led:
        raise CommandError(str(led), mend="uninstall it first", exit_code=ExitCode.TIMEOUT) from led
    except ConnectionProblem as problem:
        raise CommandError(str(problem), exit_code=ExitCode.UNREACHABLE) from problem
    except Refusal as refusal:
        unreached = refusal.outcome in (Outcome.NO_ANSWER, Outcome.FORBIDDEN, Outcome.BUSY)
        raise CommandError(
            refusal.message, exit_code=ExitCode.UNREACHABLE if unreached else ExitCode.ERROR
        ) from refusal
