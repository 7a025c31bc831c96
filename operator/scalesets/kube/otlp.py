"""Sends traces by OTLP over HTTP, in threads of their own (docs/reference/traces.md).

Nobody waits for a collector: spans go into bounded queues that a thread empties, what finds no room or no collector is
lost, and that is said once. Upgrades have a queue to themselves, so that looks can't push them out of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from scalesets.kube import tracing, upgrade_spans
from scalesets.kube.fleet import utc_now
from scalesets.kube.names import AVAILABILITY_SET, GROUP_OF, MACHINE, VIRTUAL_MACHINE, Raw, plain_name
from scalesets.kube.queue import Again
from scalesets.kube.tracing import CannotTrace, Look, Traces
from scalesets.kube.upgrade_spans import Attributes
from scalesets.kube.work import Topic, Work

log = logging.getLogger(__name__)

LATELY = timedelta(minutes=10)
"""A leader tells of upgrades that ended so long before it saw them first: longer than any change of leaders takes."""
FLUSH_SECONDS = 3.0
"""How long the end of the process waits for a collector."""

_LONGEST_REASON = 300
_TOPICS = {Topic.SCALE_SET: "ScaleSet", Topic.IMAGE: "GalleryImage", Topic.EXTENSION: "Extension"}


class Sending(Traces):
    """Traces that are sent to a collector, as the environment says."""

    def __init__(self, where: str, *, instance: str) -> None:
        self._delivery = _Delivery(where)
        self._ids = _GivenIds()
        resource = _resource(instance)
        _hush()
        try:
            self._looks = _provider(resource, self._delivery)
            self._upgrades = _provider(resource, self._delivery, sampler=ALWAYS_ON, ids=self._ids)
        except (ValueError, OSError, RuntimeError) as error:  # a queue shorter than a batch, a certificate that is gone
            raise CannotTrace(f"traces can't be sent to {where}: {error}; look at the OTEL_ variables") from error
        scope = ("scalesets", version("scaleset-operator"))
        self._look_tracer, self._upgrade_tracer = self._looks.get_tracer(*scope), self._upgrades.get_tracer(*scope)
        self._leading = False
        self._told: set[str] = set()  # the UIDs of upgrades
        log.info("traces go to %s", where)

    async def close(self) -> None:
        """Send what waits, for some seconds at most; the threads end with the process."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            for provider in (self._upgrades, self._looks):
                provider.shutdown()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=flush, name="last-traces", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await done.wait()
        except TimeoutError:
            log.warning("the last traces were not sent: no answer within %g s", FLUSH_SECONDS)

    # -- upgrades ------------------------------------------------------------------------------------------------------

    def lead(self, upgrades: Iterable[Raw]) -> None:
        """From now on, and what ended while nobody led or another did."""
        self._leading = True
        for upgrade in upgrades:
            self._tell_of(None, upgrade)

    def upgrade_changed(self, before: Raw | None, after: Raw | None) -> None:
        """Tell of it once it is over."""
        if before is not None and (after is None or before["metadata"]["uid"] != after["metadata"]["uid"]):
            self._told.discard(before["metadata"]["uid"])
            before = None
        if after is not None and self._leading:
            self._tell_of(before, after)

    def _tell_of(self, before: Raw | None, upgrade: Raw) -> None:
        uid = upgrade["metadata"]["uid"]
        if uid in self._told or not upgrade_spans.ended(upgrade):
            return
        self._told.add(uid)
        try:
            if (before is not None and not upgrade_spans.ended(before)) or _lately(upgrade_spans.end_of(upgrade)):
                self._send(uid, upgrade_spans.spans(upgrade))
        except Exception:  # the caches go on whatever somebody wrote into a status
            log.warning("no trace of RollingUpgrade %s", upgrade["metadata"]["name"], exc_info=True)

    def _send(self, uid: str, spans: Iterable[upgrade_spans.Span]) -> None:
        made: dict[int, Span] = {}
        for each in spans:
            self._ids.trace, self._ids.span = upgrade_spans.trace_id(uid), each.id
            parent = None if each.parent is None else set_span_in_context(made[each.parent])
            start, end = upgrade_spans.nanoseconds(each.start), upgrade_spans.nanoseconds(each.end)
            made[each.id] = _make(
                self._upgrade_tracer, each.name, parent, start, end, each.attributes, each.error, SpanKind.INTERNAL
            )

    # -- looks ---------------------------------------------------------------------------------------------------------

    def followed(self, look: Look) -> Look:
        """Each look a trace of its own, as far as the sampler takes it."""

        async def traced(work: Work) -> Again:
            span = self._look_tracer.start_span(f"reconcile {work.topic.value}", attributes=_whose(work))
            tracing.belong_to(_Look(self._look_tracer, span) if span.is_recording() else None)
            again = Again(failed=True)
            try:
                again = await look(work)
            finally:
                tracing.belong_to(None)
                if again.failed:
                    span.set_status(StatusCode.ERROR, "tried again later")
                span.end()
            return again

        return traced


class _Look:
    """A look under way. What it began may go on after it is over, and is its part all the same."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._context = set_span_in_context(span)

    def had(self, name: str, *, seconds: float, attributes: Attributes, error: str = "", request: bool = False) -> None:
        end = time.time_ns()
        kind = SpanKind.CLIENT if request else SpanKind.INTERNAL
        _make(self._tracer, name, self._context, end - int(seconds * 1e9), end, attributes, error, kind)


def _make(
    tracer: Tracer,
    name: str,
    parent: Context | None,
    start: int,
    end: int,
    attributes: Attributes,
    error: str,
    kind: SpanKind,
) -> Span:
    span = tracer.start_span(name, parent, kind, attributes, start_time=start)
    if error:
        span.set_status(StatusCode.ERROR, error)
    span.end(end)
    return span


def _whose(work: Work) -> dict[str, str]:
    kind = _TOPICS[work.topic]
    if work.name.startswith(MACHINE):
        kind = VIRTUAL_MACHINE
    elif work.name.startswith(GROUP_OF):
        kind = AVAILABILITY_SET
    return {
        "k8s.namespace.name": work.namespace,
        "scaleset.kind": kind,
        "scaleset.name": plain_name(work.name),
    }


def _lately(end: datetime | None) -> bool:
    return end is not None and utc_now() - end < LATELY


# -- to the collector --------------------------------------------------------------------------------------------------


class _GivenIds(IdGenerator):
    """Identifiers as they are given for the next span."""

    trace = span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


class _Delivery:
    """Whether traces arrive: said when that changes, and not by each that doesn't."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lost = 0
        self._lock = threading.Lock()

    def ended(self, spans: int, *, arrived: bool, why: str = "") -> None:
        """Some spans were sent, or were given up."""
        with self._lock:
            before, self._lost = self._lost, 0 if arrived else self._lost + spans
        if arrived and before:
            log.info("traces arrive again; %d spans were lost", before)
        elif not arrived and not before:
            log.warning(
                "traces don't arrive at %s, and are dropped until they do; nothing else is held up by it: %s",
                self._where,
                why or "no reason is known",
            )


class _Exporter(SpanExporter):
    """The SDK's exporter, quietly."""

    def __init__(self, delivery: _Delivery) -> None:
        self._delivery = delivery
        self._sender = OTLPSpanExporter()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        _first_words.forget()
        try:
            result = self._sender.export(spans)
        except Exception:  # the SDK goes on too, with a traceback for each
            log.debug("traces", exc_info=True)
            result = SpanExportResult.FAILURE
        self._delivery.ended(len(spans), arrived=result is SpanExportResult.SUCCESS, why=_first_words.said())
        return result

    def shutdown(self) -> None:
        self._sender.shutdown()  # type: ignore[no-untyped-call]


def _provider(
    resource: Resource, delivery: _Delivery, *, sampler: Sampler | None = None, ids: IdGenerator | None = None
) -> TracerProvider:
    """Spans on their way to a queue and a thread of their own."""
    provider = TracerProvider(sampler, resource, shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(BatchSpanProcessor(_Exporter(delivery)))
    return provider


def _resource(instance: str) -> Resource:
    """This process; what the environment says of it wins."""
    ours = {
        SERVICE_NAME: "scaleset-operator",
        "service.version": version("scaleset-operator"),
        "service.instance.id": instance,
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())


class _FirstWords(logging.Handler):
    """What the SDK's exporter says first of a try: that names the reason. Each thread has its own tries."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if not self.said():
            self._kept.words = record.getMessage()[:_LONGEST_REASON]

    def said(self) -> str:
        return getattr(self._kept, "words", "")

    def forget(self) -> None:
        self._kept.words = ""


_first_words = _FirstWords()


def _hush() -> None:
    """What the SDK says of each span and each try that is lost, we say once."""
    logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.CRITICAL)
    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    logger.propagate = False
    logger.handlers[:] = [_first_words]
