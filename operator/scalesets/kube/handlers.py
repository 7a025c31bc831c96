"""What kopf does: the life of the process, and the watches of our kinds (docs/design.md, "What kopf does here").

Only ``on.event`` handlers, which write nothing: each puts the object into the cache, and the cache wakes whom it
concerns. kopf keeps no state on objects, posts no events and scans nothing; that is why a quiet cluster sees no write
of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

import kopf

from scalesets.kube import startchecks, tracing
from scalesets.kube.client import Cluster, connect
from scalesets.kube.exposition import PortTaken, serving
from scalesets.kube.kinds import OURS, Kind
from scalesets.kube.names import GROUP, VERSION
from scalesets.kube.runtime import Operator
from scalesets.kube.settings import Settings
from scalesets.kube.stats import Stats

log = logging.getLogger(__name__)

WRITES_END_SECONDS = 15.0
"""How long what is under way may take when the operator ends."""
KOPF_ENDS_SECONDS = 7.0
"""How long kopf may take then; nothing depends on it any more. Both end before the kubelet's usual grace of 30 s."""


class CannotStart(Exception):  # noqa: N818
    """The operator can't work on this cluster; the message says what to do."""


class WatchesEnded(Exception):  # noqa: N818
    """kopf met something that it doesn't go on after, an HTTP 410 for one. A new process lists anew."""


async def run(settings: Settings, *, kubeconfig: str | None = None) -> BaseException | None:
    """Run the operator until it is told to stop. What it answers is why it had to stop by itself, if it did."""
    stats = Stats()
    cluster = await connect(stats, kubeconfig=kubeconfig)
    try:
        findings = await startchecks.examine(cluster, settings)
        for warning in findings.warnings:
            log.warning(warning)
        if findings.problems:
            raise CannotStart("\n".join(findings.problems))
        try:
            cluster.traces = tracing.start(os.environ, instance=settings.identity)
        except tracing.CannotTrace as problem:
            raise CannotStart(str(problem)) from problem
        for unserved in findings.unserved:
            log.error(unserved)
        named, settings = settings, settings.serving(set(settings.namespaces) - set(findings.left_out))
        operator = Operator(cluster, settings, named=named)
        _dump_on_signal(stats, settings)
        try:
            async with serving(cluster.metrics, settings.metrics_port):
                await _watch_until_stopped(operator, cluster, settings)
        except PortTaken as taken:
            raise CannotStart(str(taken)) from taken
        except Exception as error:
            log.debug("the watches of our kinds ended", exc_info=error)
            return operator.failure or WatchesEnded(f"the watches of our kinds ended: {_words(error)}")
        return operator.failure
    finally:
        if settings.stats_file is not None:
            stats.dump(settings.stats_file)
        await cluster.traces.close()
        await cluster.close()


async def check(settings: Settings, *, kubeconfig: str | None = None) -> startchecks.Findings:
    """Only look whether the operator could work on this cluster."""
    cluster = await connect(Stats(), kubeconfig=kubeconfig)
    try:
        return await startchecks.examine(cluster, settings)
    finally:
        await cluster.close()


async def _watch_until_stopped(operator: Operator, cluster: Cluster, settings: Settings) -> None:
    """Run kopf until a signal, the operator's own end or a failure of kopf.

    Then our writes end and the Lease is given back before kopf is asked to end: it waits, as long as it takes, for a
    watch that the API server never answers, or that waits for credentials which don't come any more.
    """
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_registry(operator, cluster),
        settings=_kopf_settings(),
        clusterwide=not settings.watched_namespaces,
        namespaces=settings.watched_namespaces,
        standalone=True,
        liveness_endpoint=_liveness(settings.liveness_port),
        stop_flag=operator.stopped,
    )
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    try:
        async with asyncio.timeout(WRITES_END_SECONDS):
            await operator.stop()
    except TimeoutError:
        log.warning("the API server doesn't answer: what is under way is left alone, and the Lease to its end")
    ending = asyncio.create_task(kopf.run_tasks(tasks, ignored=before))
    await asyncio.wait({ending}, timeout=KOPF_ENDS_SECONDS)
    for task in (ending, *ended):
        if task.done():
            await task  # raises what it ended with


def _liveness(port: int | None) -> str | None:
    """Where probes are answered. kopf binds one address, and pods have those of their cluster's first family."""
    if not port:
        return None
    host = "[::]" if ":" in os.environ.get("KUBERNETES_SERVICE_HOST", "") else "0.0.0.0"
    return f"http://{host}:{port}/healthz"


def _registry(operator: Operator, cluster: Cluster) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(cluster)

    @kopf.on.startup(registry=registry)
    async def start(**_: Any) -> None:
        operator.start()

    @kopf.on.probe(registry=registry, id="operator")
    async def probe(**_: Any) -> dict[str, Any]:
        return operator.check()

    for kind in OURS:
        _watch(registry, operator, kind)
    return registry


def _watch(registry: kopf.OperatorRegistry, operator: Operator, kind: Kind) -> None:
    @kopf.on.event(GROUP, VERSION, kind.plural, registry=registry, id=f"see-{kind.plural}")
    async def see(event: Any, **_: Any) -> None:
        operator.seen(kind, event["type"], event["object"])


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _Nothing()
    settings.process.ultimate_exiting_timeout = None  # the process ends by itself (_watch_until_stopped)
    return settings


class _Nothing(kopf.DiffBaseStorage):
    """kopf compares each object with what it remembers of it; we have no use for that."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        pass


async def _connection(cluster: Cluster) -> kopf.ConnectionInfo:
    """The client's configuration as kopf wants it; asked for again when the server refuses a token."""
    configuration = cluster.configuration
    key = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    scheme, _, token = (key or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=cluster.server,
        ca_path=configuration.ssl_ca_cert,
        ca_data=None if configuration.ssl_ca_cert else configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


def _words(error: Exception) -> str:
    """kopf's errors carry the server's words first, then the whole answer."""
    if isinstance(error, kopf.LoginError):
        return "the API server doesn't accept the operator's credentials any more"
    return f"{type(error).__name__}: {error.args[0]}" if error.args else type(error).__name__


def _dump_on_signal(stats: Stats, settings: Settings) -> None:
    path = settings.stats_file
    if path is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: stats.dump(path))
