"""The trace of an upgrade: which spans, from when to when, and what they say, from the recorded status alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from kube_objects import NAMESPACE, NOW, at, stored
from status_strategies import upgrade_statuses

from scalesets.engine.view import UpgradeStatus
from scalesets.kube import upgrade_spans, upgrades
from scalesets.kube.upgrade_spans import Span

UID = "0f3c1a52-7d6e-4b1b-9c55-2a6f0e8d4b11"
WEB = {"scaleSet": "web"}


def an_upgrade(
    code: str = "Completed",
    *batches: dict[str, Any],
    whose: dict[str, str] = WEB,
    brings: str = "OSImage",
    **more: Any,
) -> dict[str, Any]:
    final = code in ("Completed", "Cancelled", "Faulted")
    return stored(
        {
            "kind": "RollingUpgrade",
            "metadata": {"name": "web-os-1", "namespace": NAMESPACE, "uid": UID},
            "spec": {**whose, "type": brings, "startedBy": "Platform"},
            "status": {
                "runningStatus": {"code": code, "startTime": at(0), **({"completedTime": at(100)} if final else {})},
                "startedBy": "Platform",
                "batches": list(batches),
                **more,
            },
        }
    )


def a_batch(number: int, start: float, end: float | None, ordinals: str, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "updateDomain": number - 1,
        "startTime": at(start),
        "ordinals": ordinals,
        "from": [{"ordinals": ordinals, "imageVersion": "1.0.0", "model": "abc"}],
        "outcome": "Succeeded",
        **({"completedTime": at(end)} if end is not None else {}),
        **more,
    }


JAMMY = {"publisher": "Canonical", "offer": "jammy", "sku": "22_04-LTS", "version": "2.0.0"}


def timeline(spans: list[Span]) -> list[tuple[str, float, float]]:
    return [(span.name, (span.start - NOW).total_seconds(), (span.end - NOW).total_seconds()) for span in spans]


def test_one_that_is_completed() -> None:
    upgrade = an_upgrade(
        "Completed",
        a_batch(1, 0, 40, "0-1", zone="1"),
        a_batch(2, 45, 100, "2-3", zone="2"),
        target="2.0.0",
        targetImageReference=JAMMY,
        targetModel="abc",
        scope="0-3",
        skipped="4",
        progress={"successfulInstanceCount": 4},
    )

    root, first, second = spans = upgrade_spans.spans(upgrade)

    assert timeline(spans) == [("upgrade OSImage", 0, 100), ("batch", 0, 40), ("batch", 45, 100)]
    assert root.parent is None and first.parent == second.parent == root.id
    assert not any(span.error for span in spans)
    assert root.attributes == {
        "k8s.namespace.name": NAMESPACE,
        "scaleset.kind": "ScaleSet",
        "scaleset.name": "web",
        "scaleset.upgrade.name": "web-os-1",
        "scaleset.upgrade.type": "OSImage",
        "scaleset.upgrade.uid": UID,
        "scaleset.upgrade.started_by": "Platform",
        "scaleset.upgrade.outcome": "Completed",
        "scaleset.upgrade.target": "2.0.0",
        "scaleset.image.name": "Canonical:jammy:22_04-LTS",
        "scaleset.image.version.from": ["1.0.0"],
        "scaleset.image.version.to": "2.0.0",
        "scaleset.model.from": ["abc"],
        "scaleset.model.to": "abc",
        "scaleset.ordinals": "0-3",
        "scaleset.ordinals.skipped": "4",
        "scaleset.batches": 2,
        "scaleset.instances.successful": 4,
        "scaleset.instances.failed": 0,
        "scaleset.instances.pending": 0,
        "scaleset.instances.rolled_back": 0,
        "scaleset.instances.roll_back_failed": 0,
    }
    assert second.attributes == {
        "k8s.namespace.name": NAMESPACE,
        "scaleset.kind": "ScaleSet",
        "scaleset.name": "web",
        "scaleset.upgrade.name": "web-os-1",
        "scaleset.upgrade.type": "OSImage",
        "scaleset.batch.number": 2,
        "scaleset.batch.outcome": "Succeeded",
        "scaleset.zone": "2",
        "scaleset.update_domain": 1,
        "scaleset.ordinals": "2-3",
        "scaleset.image.version.from": ["1.0.0"],
        "scaleset.image.version.to": "2.0.0",
        "scaleset.model.from": ["abc"],
        "scaleset.model.to": "abc",
    }


def test_one_that_stopped_after_putting_back() -> None:
    error = {"code": "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade", "message": "web-1 is unhealthy"}
    bad = {"failed": "1", "rolledBack": "1", "rollBackTime": at(60), "outcome": "RolledBack"}
    upgrade = an_upgrade(
        "Faulted",
        a_batch(1, 0, 100, "0-1", **bad),
        error=error,
        rollbackInfo={"successfullyRolledbackInstanceCount": 1},
        progress={"successfulInstanceCount": 1, "failedInstanceCount": 1, "pendingInstanceCount": 8},
    )

    root, batch, back = spans = upgrade_spans.spans(upgrade)

    assert timeline(spans) == [("upgrade OSImage", 0, 100), ("batch", 0, 100), ("roll back", 60, 100)]
    assert root.error == f"{error['code']}: {error['message']}"
    assert root.attributes["error.type"] == root.attributes["scaleset.upgrade.error_code"] == error["code"]
    assert root.attributes["scaleset.instances.rolled_back"] == 1
    assert batch.error == "failed: 1; put back: 1"
    assert batch.attributes["scaleset.ordinals.rolled_back"] == "1"
    assert (back.parent, back.error, back.attributes["scaleset.ordinals"]) == (batch.id, "", "1")


def test_a_roll_back_that_failed_is_an_error_of_its_own() -> None:
    bad = {"failed": "1", "rolledBack": "1", "rollBackTime": at(60), "rollBackFailed": "1", "outcome": "RolledBack"}

    *_, back = upgrade_spans.spans(an_upgrade("Faulted", a_batch(1, 0, 100, "0-1", **bad)))

    assert back.error == "put back and still not healthy: 1"


def test_one_that_was_cancelled_is_no_error() -> None:
    cancelled = {"code": "Cancelled", "message": "as its user asked"}
    root, batch = upgrade_spans.spans(an_upgrade("Cancelled", a_batch(1, 0, 40, "0"), error=cancelled))

    assert (root.error, batch.error) == ("", "")
    assert root.attributes["scaleset.upgrade.outcome"] == "Cancelled"
    assert root.attributes["scaleset.upgrade.error_code"] == "Cancelled"
    assert "error.type" not in root.attributes


def test_a_batch_that_nobody_judged_ends_with_the_upgrade() -> None:
    spans = upgrade_spans.spans(an_upgrade("Cancelled", a_batch(1, 20, None, "0", outcome="Running")))

    assert timeline(spans) == [("upgrade OSImage", 0, 100), ("batch", 20, 100)]
    assert not spans[1].error


@pytest.mark.parametrize("code", ["RollingForward", "RollingBack"])
def test_one_that_runs_has_none(code: str) -> None:
    assert upgrade_spans.spans(an_upgrade(code, a_batch(1, 0, None, "0", outcome="Running"))) == []


def test_one_that_nobody_took_up_has_none() -> None:
    upgrade = an_upgrade()
    assert upgrade_spans.spans({**upgrade, "status": {}}) == []


def test_an_upgrade_of_two_extensions() -> None:
    origin = {
        "ordinals": "0-1",
        "imageVersion": "1.0.0",
        "model": "abc",
        "extensions": [{"name": "log", "version": "1.0.0"}, {"name": "health", "version": "3.1"}],
    }
    upgrade = an_upgrade(
        "Faulted",
        a_batch(1, 0, 10, "0-1", extension="log", **{"from": [origin]}),
        a_batch(2, 10, 20, "0-1", extension="health", outcome="Failed", failed="0", **{"from": [origin]}),
        brings="Extension",
        error={"code": "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade", "message": "health stopped"},
        targetExtensions=[
            {"name": "log", "from": "1.0.0", "to": "1.1.0", "outcome": "Succeeded"},
            {"name": "health", "from": "3.1", "to": "3.2", "outcome": "Stopped"},
        ],
    )

    root, log, health = upgrade_spans.spans(upgrade)

    assert root.name == "upgrade Extension"
    assert root.attributes["scaleset.extensions"] == ["log", "health"]
    assert root.attributes["scaleset.extensions.from"] == ["log=1.0.0", "health=3.1"]
    assert root.attributes["scaleset.extensions.to"] == ["log=1.1.0", "health=3.2"]
    assert root.attributes["scaleset.extensions.outcome"] == ["log=Succeeded", "health=Stopped"]
    named = [
        tuple(span.attributes[f"scaleset.extension.{each}"] for each in ("name", "version.from", "version.to"))
        for span in (log, health)
    ]
    assert named == [("log", ["1.0.0"], ["1.1.0"]), ("health", ["3.1"], ["3.2"])]
    assert (log.error, health.error) == ("", "failed: 0")


def test_of_a_machine_and_of_an_availability_set() -> None:
    machine = an_upgrade("Completed", a_batch(1, 0, 5, "0"), whose={"virtualMachine": "db"}, brings="Extension")
    group = an_upgrade(
        "Completed",
        a_batch(1, 0, 5, "0,2", machines=["db-a", "db-c"]),
        whose={"availabilitySet": "dbs"},
        brings="Extension",
    )

    for upgrade, kind, name in ((machine, "VirtualMachine", "db"), (group, "AvailabilitySet", "dbs")):
        for span in upgrade_spans.spans(upgrade):
            assert (span.attributes["scaleset.kind"], span.attributes["scaleset.name"]) == (kind, name)
    assert upgrade_spans.spans(group)[1].attributes["scaleset.machines"] == ["db-a", "db-c"]


def test_identifiers_come_from_the_uid_and_from_nothing_else() -> None:
    upgrade = an_upgrade("Completed", a_batch(1, 0, 5, "0"), a_batch(2, 5, 9, "1", rollBackTime=at(6)))
    changed = {**upgrade, "metadata": {**upgrade["metadata"], "resourceVersion": "999999", "labels": {"a": "b"}}}
    other = {**upgrade, "metadata": {**upgrade["metadata"], "uid": UID.replace("0", "1")}}

    first, again, third = ([span.id for span in upgrade_spans.spans(each)] for each in (upgrade, changed, other))

    assert first == again
    assert len(set(first)) == 4 and not set(first) & set(third)
    assert f"{upgrade_spans.trace_id(UID):032x}" == UID.replace("-", "")
    assert 0 < upgrade_spans.trace_id("no-uuid") < 2**128


def test_times_are_exact() -> None:
    moment = datetime(2026, 11, 22, 12, 0, 0, 123457, tzinfo=UTC)
    assert upgrade_spans.nanoseconds(moment) == 1_795_348_800_123_457_000


@given(upgrade_statuses)
def test_whatever_the_engine_records_makes_spans_that_fit(status: UpgradeStatus) -> None:
    upgrade = an_upgrade()
    upgrade = {**upgrade, "status": upgrades.write_status(status, upgrade, NOW + timedelta(hours=1))}

    spans = upgrade_spans.spans(upgrade)

    assert bool(spans) == upgrade_spans.ended(upgrade)
    if spans:
        assert sum(span.name == "batch" for span in spans) == len(status.batches)
        known: set[int] = set()
        for span in spans:
            assert span.start <= span.end
            assert (span.parent in known) == bool(known)
            known.add(span.id)
            for value in span.attributes.values():
                assert isinstance(value, str | int) or all(isinstance(each, str) for each in value)
        assert len(known) == len(spans)
