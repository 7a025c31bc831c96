"""``scalesets operator``: run the operator against any cluster, in the chart as in the demo (docs/design.md)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from scalesets.cli.errors import CommandError, ExitCode
from scalesets.cli.session import errors_in_words, say
from scalesets.engine.view import AZURE_TIMING, Timing
from scalesets.kube import times
from scalesets.kube.settings import Settings


class TimingProfile(Enum):
    """Ready profiles of when upgrades start by themselves."""

    IMMEDIATE = "immediate"
    AZURE = "azure"


class LogFormat(Enum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def operator(
    kubeconfig: Annotated[
        str | None, typer.Option(help="The cluster; default: $KUBECONFIG, the pod's ServiceAccount, ~/.kube/config.")
    ] = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Serve only this namespace; may be repeated.")
    ] = None,
    catalog_namespace: Annotated[
        str, typer.Option(help="Where images and extensions lie that all namespaces share.")
    ] = "scaleset-system",
    timing: Annotated[
        TimingProfile, typer.Option(help="immediate: without trigger delays; azure: as Azure waits.")
    ] = TimingProfile.IMMEDIATE,
    first_trigger_delay: Annotated[
        str | None, typer.Option(help="The longest wait before the first upgrade of a set after opting in, like PT3H.")
    ] = None,
    trigger_delay_min: Annotated[
        str | None, typer.Option(help="The shortest wait after publishing, like PT30M.")
    ] = None,
    trigger_delay_max: Annotated[str | None, typer.Option(help="The longest wait after publishing, like PT1H.")] = None,
    extension_retry_interval: Annotated[
        str | None, typer.Option(help="When a failed extension upgrade is tried again, like P3D.")
    ] = None,
    default_location: Annotated[str, typer.Option(help="The location of sets that name none.")] = "local",
    leader_election: Annotated[
        bool,
        typer.Option(help="Act only while holding the Lease; switch off for a single run on a cluster of your own."),
    ] = True,
    lease_namespace: Annotated[
        str | None, typer.Option(help="Where the Lease lies; default: $POD_NAMESPACE, else the catalog namespace.")
    ] = None,
    liveness: Annotated[
        int | None, typer.Option(metavar="PORT", help="Answer liveness probes at /healthz there.")
    ] = None,
    metrics: Annotated[
        int | None, typer.Option(metavar="PORT", help="Serve Prometheus metrics at /metrics there.")
    ] = None,
    read_secrets: Annotated[
        bool,
        typer.Option(help="Look at the Secrets that a set names before its upgrades (needs the right to get them)."),
    ] = True,
    discovery: Annotated[
        bool, typer.Option(help="Ask registries for new versions where an image or extension has spec.discovery.")
    ] = True,
    discovery_registries: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT],…",
            help="Ask only these registries, also as *.DOMAIN; may be repeated. Needed for one on loopback.",
        ),
    ] = None,
    watch_patience: Annotated[
        str, typer.Option(help="End when pods or claims can't be watched for so long, like PT1M.")
    ] = "PT1M",
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether it could work on this cluster, say so, and end.")
    ] = False,
    log_format: Annotated[LogFormat, typer.Option(help="Lines for people or for machines.")] = LogFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the operator in the foreground; Ctrl-C ends it after the writes that are under way.

    OTEL_EXPORTER_OTLP_ENDPOINT in the environment names a collector that gets traces of upgrades.
    """
    stats = os.environ.get("SCALESETS_STATS")
    settings = Settings(
        namespaces=tuple(namespace or ()),
        catalog_namespace=catalog_namespace,
        default_location=default_location,
        timing=_timing(timing, first_trigger_delay, trigger_delay_min, trigger_delay_max, extension_retry_interval),
        read_secrets=read_secrets,
        discovery=discovery,
        discovery_registries=_registries(discovery_registries or []),
        watch_patience=_duration("--watch-patience", watch_patience, timedelta(0)).total_seconds(),
        leader_election=leader_election,
        lease_namespace=lease_namespace or os.environ.get("POD_NAMESPACE") or catalog_namespace,
        liveness_port=liveness,
        metrics_port=metrics,
        stats_file=Path(stats) if stats else None,
    )
    with errors_in_words():
        if check:
            _check(settings, kubeconfig)
            return
        _run(settings, kubeconfig=kubeconfig, json_log=log_format is LogFormat.JSON, verbose=verbose)


def _run(settings: Settings, *, kubeconfig: str | None, json_log: bool, verbose: bool) -> None:
    # These cost half a second: `scalesets --help` shouldn't.
    import uvloop

    from scalesets.kube import handlers, logs

    logs.configure(json_log=json_log, verbose=verbose)
    with _problems_in_words(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        failure = runner.run(handlers.run(settings, kubeconfig=kubeconfig))
    if failure is not None:
        raise CommandError(
            f"stopped: {failure}", mend="start it again; in a cluster the Deployment does", exit_code=ExitCode.ERROR
        )


def _check(settings: Settings, kubeconfig: str | None) -> None:
    from scalesets.kube import handlers

    with _problems_in_words():
        findings = asyncio.run(handlers.check(settings, kubeconfig=kubeconfig))
        say(*(f"ok: {fact}" for fact in findings.facts), *(f"warning: {warning}" for warning in findings.warnings))
        if problems := [*findings.problems, *findings.unserved]:
            raise handlers.CannotStart("\n".join(problems))


@contextmanager
def _problems_in_words() -> Iterator[None]:
    from scalesets.kube import handlers
    from scalesets.kube.client import ConnectionProblem, Refusal

    try:
        yield
    except (ConnectionProblem, handlers.CannotStart) as problem:
        raise CommandError(str(problem), exit_code=ExitCode.UNREACHABLE) from problem
    except Refusal as refusal:
        raise CommandError(
            refusal.message,
            mend="see that the API server runs and that this kubeconfig reaches it",
            exit_code=ExitCode.UNREACHABLE,
        ) from refusal


def _timing(
    profile: TimingProfile, first: str | None, shortest: str | None, longest: str | None, retry: str | None
) -> Timing:
    base = AZURE_TIMING if profile is TimingProfile.AZURE else Timing()
    timing = Timing(
        first_trigger_delay=_duration("--first-trigger-delay", first, base.first_trigger_delay),
        trigger_delay_min=_duration("--trigger-delay-min", shortest, base.trigger_delay_min),
        trigger_delay_max=_duration("--trigger-delay-max", longest, base.trigger_delay_max),
        extension_retry_interval=_duration("--extension-retry-interval", retry, base.extension_retry_interval),
    )
    if timing.trigger_delay_min > timing.trigger_delay_max:
        raise typer.BadParameter("--trigger-delay-min is longer than --trigger-delay-max")
    return timing


def _registries(given: list[str]) -> tuple[str, ...]:
    if not given:
        return ()
    from scalesets.kube import destinations  # aiohttp: `scalesets --help` shouldn't wait for it

    try:
        return destinations.read_list(given)
    except ValueError as error:
        raise typer.BadParameter(f"--discovery-registries: {error}") from error


def _duration(option: str, text: str | None, otherwise: timedelta) -> timedelta:
    if text is None:
        return otherwise
    try:
        return times.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: not an ISO 8601 duration like PT5M: {text!r}") from error
