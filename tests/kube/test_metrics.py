"""What the metrics count: stored ends of upgrades and batches, fleets as they are, only while this process leads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scalesets.kube.exposition import PortTaken, serving
from scalesets.kube.metrics import Fleet, Metrics

Body = dict[str, Any]


def an_upgrade(code: str = "RollingForward", *batches: Body, kind: str = "OSImage") -> Body:
    running = {"code": code, "startTime": "2026-11-01T00:00:00Z"}
    if code not in ("RollingForward", "RollingBack"):
        running["completedTime"] = "2026-11-01T00:20:00Z"
    status = {"runningStatus": running, "batches": list(batches)}
    return {"spec": {"type": kind, "startedBy": "Platform"}, "status": status}


def a_batch(number: int, outcome: str = "Running", **fields: Any) -> Body:
    times = {"startTime": "2026-11-01T00:00:00Z", "completedTime": "2026-11-01T00:01:30Z"}
    return {"number": number, "ordinals": "0-3", "outcome": outcome, **times, **fields}


def values(metrics: Metrics, name: str) -> dict[frozenset[str], float]:
    """The samples of a name, by their labels' values."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.name == name:
                found[frozenset(sample.labels.values())] = sample.value
    return found


def counted(metrics: Metrics, name: str) -> dict[frozenset[str], float]:
    """The same without those that are 0 from the beginning."""
    return {labels: value for labels, value in values(metrics, name).items() if value}


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.lead()
    return made


def test_an_end_is_counted_once(metrics: Metrics) -> None:
    running, over = an_upgrade(), an_upgrade("Completed")
    metrics.upgrade_changed(running, over)
    metrics.upgrade_changed(over, over)
    assert counted(metrics, "scalesets_upgrades_total") == {frozenset({"OSImage", "Completed", "Platform"}): 1}
    assert counted(metrics, "scalesets_upgrade_duration_seconds_sum") == {frozenset({"OSImage", "Completed"}): 1200}


def test_what_was_there_before_tells_nothing(metrics: Metrics) -> None:
    metrics.upgrade_changed(None, an_upgrade("Faulted", a_batch(1, "Failed")))
    assert not counted(metrics, "scalesets_upgrades_total")
    assert not counted(metrics, "scalesets_batches_total")


def test_series_begin_with_0_or_nobody_sees_the_first_of_few(metrics: Metrics) -> None:
    """`increase()` over a series whose first value is 1 is 0, and a set is upgraded a few times a month."""
    started = values(metrics, "scalesets_upgrades_total")
    assert len(started) == 3 * 3 * 2
    metrics.upgrade_changed(an_upgrade(), an_upgrade("Faulted", a_batch(1, "Failed", failed="0"), kind="OSImage"))
    metrics.upgrade_changed(an_upgrade(kind="Model"), an_upgrade("Cancelled", kind="Model"))
    metrics.became_ready("Model", 3)
    for name in (
        "scalesets_upgrades_total",
        "scalesets_upgrade_duration_seconds_count",
        "scalesets_batches_total",
        "scalesets_batch_duration_seconds_count",
        "scalesets_instances_upgraded_total",
        "scalesets_instance_health_wait_seconds_count",
    ):
        fresh = Metrics()
        fresh.lead()
        assert set(counted(metrics, name)) <= set(values(fresh, name)), name
    assert not values(Metrics(), "scalesets_upgrades_total"), "who doesn't lead has none"


def test_no_series_tells_when_another_began(metrics: Metrics) -> None:
    assert "_created" not in metrics.text().decode()


def test_registries_are_counted_by_what_came_of_asking(metrics: Metrics) -> None:
    metrics.asked_registry("Current", 0.2)
    metrics.asked_registry("RegistryBusy", 15)
    asked = {frozenset({"Current"}): 1, frozenset({"RegistryBusy"}): 1}
    assert values(metrics, "scalesets_discovery_questions_total") == asked
    assert values(metrics, "scalesets_discovery_duration_seconds_sum") == {frozenset(): 15.2}


def test_images_tell_their_conditions_for_alerts(metrics: Metrics) -> None:
    conditions = [{"type": "Discovered", "status": "False"}]
    metadata = {"namespace": "team-a", "name": "ubuntu"}
    image = {"kind": "GalleryImage", "metadata": metadata, "spec": {}, "status": {"conditions": conditions}}
    metrics.gather(lambda: (), lambda: [image])
    assert values(metrics, "scalesets_status_condition") == {
        frozenset({"team-a", "GalleryImage", "ubuntu", "Discovered", "False"}): 1
    }
    metrics.leading = False
    assert not values(metrics, "scalesets_status_condition")


def test_only_the_leader_counts() -> None:
    metrics = Metrics()
    metrics.upgrade_changed(an_upgrade(), an_upgrade("Completed"))
    assert not values(metrics, "scalesets_upgrades_total")
    assert values(metrics, "leader_election_master_status") == {frozenset({"scaleset-operator"}): 0}
    metrics.lead()
    assert values(metrics, "leader_election_master_status") == {frozenset({"scaleset-operator"}): 1}


def test_a_batch_is_counted_when_it_is_judged(metrics: Metrics) -> None:
    first = an_upgrade("RollingForward", a_batch(1))
    judged = a_batch(1, "RolledBack", failed="1-2", rolledBack="2")
    metrics.upgrade_changed(an_upgrade(), first)
    assert not counted(metrics, "scalesets_batches_total")
    metrics.upgrade_changed(first, an_upgrade("RollingForward", judged, a_batch(2)))
    assert counted(metrics, "scalesets_batches_total") == {frozenset({"OSImage", "RolledBack"}): 1}
    assert counted(metrics, "scalesets_batch_duration_seconds_sum") == {frozenset({"OSImage"}): 90}
    touched = {"succeeded": 2, "failed": 1, "rolled_back": 1}
    assert counted(metrics, "scalesets_instances_upgraded_total") == {
        frozenset({"OSImage", how}): count for how, count in touched.items()
    }


def test_two_batches_in_one_write(metrics: Metrics) -> None:
    before = an_upgrade("RollingForward", a_batch(1, "Succeeded"), a_batch(2))
    after = an_upgrade("Completed", a_batch(1, "Succeeded"), a_batch(2, "Succeeded"), a_batch(3, "Succeeded"))
    metrics.upgrade_changed(before, after)
    assert counted(metrics, "scalesets_batches_total") == {frozenset({"OSImage", "Succeeded"}): 2}


def test_fleets_by_version_and_health(metrics: Metrics) -> None:
    def fleets() -> Iterator[Fleet]:
        conditions = [{"type": "Ready", "status": "False"}]
        web = {
            "kind": "ScaleSet",
            "metadata": {"namespace": "team-a", "name": "web"},
            "spec": {"replicas": 4},
            "status": {"conditions": conditions, "currentUpgrade": "web-os-1"},
        }
        yield web, iter([("1.0.0", True), ("1.0.0", True), ("2.0.0", False)])

    metrics.gather(fleets)
    web = frozenset({"team-a", "ScaleSet", "web"})
    assert values(metrics, "scalesets_replicas") == {web: 4}
    assert values(metrics, "scalesets_instances") == {web | {"1.0.0", "healthy"}: 2, web | {"2.0.0", "unhealthy"}: 1}
    assert values(metrics, "scalesets_status_condition") == {web | {"Ready", "False"}: 1}
    assert values(metrics, "scalesets_upgrading") == {web: 1}


def test_names_follow_the_field(metrics: Metrics) -> None:
    """Base units and suffixes, as Prometheus asks for; `promtool check metrics` says the same."""
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation, family.name
        if family.name.startswith(("scalesets_", "workqueue_", "rest_client_")):
            assert not family.name.endswith(("_ms", "_milliseconds", "_minutes", "_percent")), family.name
            if family.type == "histogram":
                assert family.name.endswith("_seconds"), family.name


async def test_they_are_served(metrics: Metrics) -> None:
    async with asyncio.timeout(10):
        async with serving(metrics, port := _free_port()), aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain")
                assert "scalesets_build_info" in await answer.text()
            with pytest.raises(PortTaken, match=str(port)):
                async with serving(metrics, port):
                    pass


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
