"""The operator's Prometheus metrics (docs/reference/metrics.md): what it did to fleets, and what that cost it.

What happened to an upgrade is read from two versions of the RollingUpgrade as they are stored, so a decision that was
never stored doesn't count. How fleets are is gathered when somebody asks. Names follow the field: base units, `_total`
for what only grows, and `workqueue_`, `rest_client_` and `leader_election_` as other controllers have them.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scalesets.api.rollingupgrade import BatchOutcome, StartedBy, UpgradeType
from scalesets.kube import times
from scalesets.kube.names import Raw

Fleet = tuple[Raw, Iterable[tuple[str, bool]]]
"""A set, machine or availability set, and of each instance the image version and whether it is healthy."""

FINAL = frozenset({"Completed", "Cancelled", "Faulted"})
RUNNING = "Running"
SUCCEEDED, FAILED, ROLLED_BACK = "succeeded", "failed", "rolled_back"

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALLS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 180)
_WAITS = (1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 450, 600, 900, 1800)
_LONG = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400, 259200, 604800)


@dataclass(frozen=True, slots=True)
class Description:
    """One metric, for people."""

    name: str
    type: str
    labels: tuple[str, ...]
    words: str


class Metrics:
    """One registry; whoever does something says so here."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leading = False
        self._described: list[Description] = []
        # They would be a second series for each counter and histogram, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        for collector in (PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        ProcessCollector(registry=self.registry)
        Info("scalesets_build", "The operator's version.", registry=self.registry).info(
            {"version": version("scaleset-operator")}
        )
        self._upgrades = self._counter(
            "scalesets_upgrades_total", "Upgrades that ended.", "type", "outcome", "started_by"
        )
        self._upgrade_seconds = self._histogram(
            "scalesets_upgrade_duration_seconds",
            "From an upgrade's start to its end.",
            "type",
            "outcome",
            buckets=_LONG,
        )
        self._batches = self._counter("scalesets_batches_total", "Batches that were judged.", "type", "outcome")
        self._batch_seconds = self._histogram(
            "scalesets_batch_duration_seconds", "From a batch's start until it was judged.", "type", buckets=_LONG
        )
        self._touched = self._counter(
            "scalesets_instances_upgraded_total", "Instances of judged batches.", "type", "outcome"
        )
        self._ready = self._histogram(
            "scalesets_instance_health_wait_seconds",
            "From a batch's start until a member that was made anew is Ready.",
            "type",
            buckets=_WAITS,
        )
        self._questions = self._counter(
            "scalesets_discovery_questions_total", "Times that a registry was asked for versions.", "outcome"
        )
        self._question_seconds = self._histogram(
            "scalesets_discovery_duration_seconds", "How long the registry took for all of its answers.", buckets=_CALLS
        )
        self._decisions = self._histogram(
            "scalesets_decision_duration_seconds", "Time to decide on one object.", buckets=_QUICK
        )
        self._depth = self._gauge("workqueue_depth", "Objects that wait to be looked at.", "name")
        self._queued = self._histogram(
            "workqueue_queue_duration_seconds", "How long they waited.", "name", buckets=_QUICK
        ).labels("scalesets")
        self._worked = self._histogram(
            "workqueue_work_duration_seconds", "How long a look took, writes included.", "name", buckets=_QUICK
        ).labels("scalesets")
        self._retries = self._counter("workqueue_retries_total", "Looks that failed and back off.", "name").labels(
            "scalesets"
        )
        self._requests = self._counter(
            "rest_client_requests_total",
            "Requests to the API server; code 0: no answer.",
            "method",
            "resource",
            "code",
        )
        self._latency = self._histogram(
            "rest_client_request_duration_seconds",
            "How long the API server took, watches left out.",
            "verb",
            "resource",
            buckets=_QUICK,
        )
        self._leader = self._gauge("leader_election_master_status", "1 while this process leads.", "name").labels(
            "scaleset-operator"
        )

    # -- what is told --------------------------------------------------------------------------------------------------

    def lead(self) -> None:
        """This process leads from now on; only then its view of upgrades counts.

        Series begin with 0: `increase()` sees nothing of one whose first value is 1, and upgrades are rare.
        """
        self.leading = True
        self._leader.set(1)
        self._questions.labels("Current")
        for kind in UpgradeType:
            for end in sorted(FINAL):
                self._upgrade_seconds.labels(kind, end)
                for who in StartedBy:
                    self._upgrades.labels(kind, end, who)
            for outcome in BatchOutcome:
                if outcome is not BatchOutcome.RUNNING:
                    self._batches.labels(kind, outcome)
            self._batch_seconds.labels(kind)
            for how in (SUCCEEDED, FAILED, ROLLED_BACK):
                self._touched.labels(kind, how)
            if kind is not UpgradeType.EXTENSION:  # in place: nobody is made anew
                self._ready.labels(kind)

    def requested(self, method: str, resource: str, code: int, seconds: float) -> None:
        """A request to the API server was answered; code 0 when it wasn't."""
        self._requests.labels(method, resource, str(code)).inc()
        self._latency.labels(method, resource).observe(seconds)

    def asked_registry(self, outcome: str, seconds: float) -> None:
        """A registry was asked for versions; the outcome is the reason of the condition Discovered."""
        self._questions.labels(outcome).inc()
        self._question_seconds.observe(seconds)

    def decided(self, seconds: float) -> None:
        """A decision was made."""
        self._decisions.observe(seconds)

    def taken(self, seconds: float) -> None:
        """A key of the queue is looked at, after it waited so long."""
        self._queued.observe(seconds)

    def worked(self, seconds: float, *, failed: bool) -> None:
        """The look is over."""
        self._worked.observe(seconds)
        if failed:
            self._retries.inc()

    def follow_queue(self, depth: Callable[[], int]) -> None:
        """Whom to ask for the queue's length."""
        self._depth.labels("scalesets").set_function(depth)

    def became_ready(self, kind: str, seconds: float) -> None:
        """A member of a running batch is Ready again."""
        self._ready.labels(kind).observe(max(0.0, seconds))

    def upgrade_changed(self, before: Raw | None, after: Raw | None) -> None:
        """A RollingUpgrade was stored anew. One that is seen for the first time tells nothing: it may be old."""
        if not self.leading or before is None or after is None:
            return
        kind = after["spec"]["type"]
        for batch in _judged(before, after):
            outcome = batch["outcome"]
            self._batches.labels(kind, outcome).inc()
            failed, back = _count(batch.get("failed")), _count(batch.get("rolledBack"))
            all_of_it = _count(batch.get("ordinals")) or len(batch.get("machines") or ())
            for how, count in ((SUCCEEDED, all_of_it - failed), (FAILED, failed - back), (ROLLED_BACK, back)):
                if count > 0:
                    self._touched.labels(kind, how).inc(count)
            if (seconds := _between(batch.get("startTime"), batch.get("completedTime"))) is not None:
                self._batch_seconds.labels(kind).observe(seconds)
        code = _running(after).get("code", "")
        if code in FINAL and _running(before).get("code") not in FINAL:
            self._upgrades.labels(kind, code, after["spec"].get("startedBy") or "User").inc()
            running = _running(after)
            if (seconds := _between(running.get("startTime"), running.get("completedTime"))) is not None:
                self._upgrade_seconds.labels(kind, code).observe(seconds)

    # -- what is asked -------------------------------------------------------------------------------------------------

    def gather(self, fleets: Callable[[], Iterable[Fleet]], catalogue: Callable[[], Iterable[Raw]] = tuple) -> None:
        """Whom to ask how the fleets are, and which images and extensions there are; only the leader knows."""
        self.registry.register(
            Fleets(lambda: fleets() if self.leading else (), lambda: catalogue() if self.leading else ())
        )

    def text(self) -> bytes:
        """Everything, in the text format."""
        return generate_latest(self.registry)

    def described(self) -> tuple[Description, ...]:
        """The operator's own metrics, for their reference."""
        return (*self._described, *FLEETS)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        self._described.append(Description(name, "counter", labels, words))
        return Counter(name, words, labels, registry=self.registry)

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        self._described.append(Description(name, "gauge", labels, words))
        return Gauge(name, words, labels, registry=self.registry)

    def _histogram(self, name: str, words: str, *labels: str, buckets: Iterable[float]) -> Histogram:
        self._described.append(Description(name, "histogram", labels, words))
        return Histogram(name, words, labels, buckets=tuple(buckets), registry=self.registry)


_OWNER = ("namespace", "kind", "name")
FLEETS = (
    Description("scalesets_replicas", "gauge", _OWNER, "Instances that the spec asks for."),
    Description(
        "scalesets_instances", "gauge", (*_OWNER, "image_version", "health"), "Instances that are there, by health."
    ),
    Description(
        "scalesets_status_condition",
        "gauge",
        (*_OWNER, "condition", "status"),
        "1 for the status that the condition has; of sets, machines, images and extensions.",
    ),
    Description("scalesets_upgrading", "gauge", _OWNER, "1 while an upgrade is at work."),
)


class Fleets(Collector):
    """How the fleets are, gathered when somebody asks: by version and health, and the conditions that alerts need."""

    def __init__(self, fleets: Callable[[], Iterable[Fleet]], catalogue: Callable[[], Iterable[Raw]]) -> None:
        self._fleets = fleets
        self._catalogue = catalogue

    def collect(self) -> Iterator[Metric]:
        """Prometheus' side of it."""
        wanted, instances, conditions, upgrading = (
            GaugeMetricFamily(each.name, each.words, labels=each.labels) for each in FLEETS
        )
        for raw, present in self._fleets():
            labels = _tell_conditions(raw, conditions)
            if raw["kind"] != "AvailabilitySet":
                wanted.add_metric(labels, raw["spec"].get("replicas", 1))
            tally = Tally((release, "healthy" if healthy else "unhealthy") for release, healthy in present)
            for (release, health), count in sorted(tally.items()):
                instances.add_metric([*labels, release, health], count)
            upgrading.add_metric(labels, 1 if (raw.get("status") or {}).get("currentUpgrade") else 0)
        for raw in self._catalogue():
            _tell_conditions(raw, conditions)
        yield from (wanted, instances, conditions, upgrading)


def _tell_conditions(raw: Raw, conditions: GaugeMetricFamily) -> list[str]:
    """Add those of one object; the labels that name it."""
    labels = [raw["metadata"]["namespace"], raw["kind"], raw["metadata"]["name"]]
    for condition in (raw.get("status") or {}).get("conditions") or ():
        conditions.add_metric([*labels, condition["type"], condition["status"]], 1)
    return labels


def _judged(before: Raw, after: Raw) -> Iterator[Mapping[str, Any]]:
    """The batches that were at work, or weren't there, and are over."""
    known = {b["number"]: b.get("outcome") for b in (before.get("status") or {}).get("batches") or ()}
    for batch in (after.get("status") or {}).get("batches") or ():
        if batch.get("outcome") not in (None, RUNNING) and known.get(batch["number"], RUNNING) == RUNNING:
            yield batch


def _running(upgrade: Raw) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (upgrade.get("status") or {}).get("runningStatus") or {}
    return found


def _count(ordinals: str | None) -> int:
    """How many are in "0-3,7"."""
    total = 0
    for part in (ordinals or "").split(","):
        low, _, high = part.partition("-")
        total += int(high or low) - int(low) + 1 if low else 0
    return total


def _between(start: str | None, end: str | None) -> float | None:
    first, last = _read(start), _read(end)
    return (last - first).total_seconds() if first is not None and last is not None else None


def _read(text: str | None) -> datetime | None:
    return times.read(text) if text else None
