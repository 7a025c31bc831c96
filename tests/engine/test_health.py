"""When a member of a batch is healthy, and when it has failed (O3, O12; docs/rules.md, "Health")."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from engine.world import MINUTE, SECOND, START
from scalesets.engine.health import Judgement, Verdict, judge
from scalesets.engine.view import LONG_AGO, Instance, Model, Release, RollingPolicy

OLD, NEW = Release("1.0.0", "m1"), Release("1.1.0", "m1")
TOUCHED = START
POLICY = RollingPolicy(health_timeout=5 * MINUTE, provisioning_timeout=15 * MINUTE)
POD = Instance(0, "uid", NEW, created=TOUCHED + SECOND)
PROBED, UNPROBED = Model("m1", "c1", "ubuntu"), Model("m1", "c1", "ubuntu", probed=False)
IN_TIME = 5 * MINUTE
NEVER_STARTED = 20 * MINUTE


def judged(
    instance: Instance | None, at: timedelta, *, model: Model = PROBED, fresh_since: datetime | None = LONG_AGO
) -> Judgement:
    return judge(instance, NEW, since=TOUCHED, policy=POLICY, model=model, fresh_since=fresh_since, now=TOUCHED + at)


def fails_at(instance: Instance | None, due: timedelta, **how: Model) -> bool:
    """Waiting until that moment, failed from it on."""
    before, then = judged(instance, due - SECOND, **how), judged(instance, due, **how)
    assert before.at == then.at == TOUCHED + due
    return (before.verdict, then.verdict) == (Verdict.WAITING, Verdict.FAILED)


@pytest.mark.requirement("O12")
@pytest.mark.parametrize(
    ("instance", "due"),
    [
        pytest.param(None, NEVER_STARTED, id="no-pod"),
        pytest.param(POD, NEVER_STARTED, id="never-started"),
        pytest.param(replace(POD, lost=True, started_at=TOUCHED), NEVER_STARTED, id="ended"),
        pytest.param(replace(POD, release=OLD, first_ready=TOUCHED), NEVER_STARTED, id="still-the-old-one"),
        pytest.param(replace(POD, started_at=TOUCHED + 3 * MINUTE), 8 * MINUTE, id="started"),
        pytest.param(replace(POD, failed_to_start=TOUCHED + 2 * MINUTE), 7 * MINUTE, id="failed-to-start"),
        pytest.param(
            replace(POD, failed_to_start=TOUCHED + 2 * MINUTE, started_at=TOUCHED + 3 * MINUTE), 7 * MINUTE, id="both"
        ),
        pytest.param(replace(POD, started_at=TOUCHED + 16 * MINUTE), NEVER_STARTED, id="started-too-late"),
        pytest.param(replace(POD, failed_to_start=TOUCHED + 16 * MINUTE), NEVER_STARTED, id="failed-too-late"),
        pytest.param(
            replace(POD, deleting_since=TOUCHED - MINUTE, grace=30 * SECOND),
            15 * MINUTE + 30 * SECOND,
            id="terminating-since-before",
        ),
        pytest.param(
            replace(POD, deleting_since=TOUCHED + MINUTE, grace=30 * SECOND),
            16 * MINUTE + 30 * SECOND,
            id="terminating",
        ),
    ],
)
def test_the_moment_of_failure(instance: Instance | None, due: timedelta) -> None:
    assert fails_at(instance, due)


@pytest.mark.requirement("O3")
def test_a_probe_gets_the_time_that_it_needs_itself() -> None:
    started = replace(POD, started_at=TOUCHED + MINUTE)
    assert fails_at(started, 8 * MINUTE, model=replace(PROBED, probe_delay=7 * MINUTE))
    assert fails_at(started, 6 * MINUTE, model=replace(PROBED, probe_delay=MINUTE))


@pytest.mark.requirement("O3")
def test_the_first_ready_succeeds() -> None:
    once = replace(POD, first_ready=TOUCHED + MINUTE, started_at=TOUCHED + MINUTE)
    assert judged(once, 10 * MINUTE).verdict is Verdict.HEALTHY
    assert judged(replace(POD, ready=True), MINUTE).verdict is Verdict.HEALTHY  # seen before it was noted


@pytest.mark.requirement("O3")
def test_an_os_without_probe_settles_from_its_last_start_or_ready() -> None:
    ready = replace(POD, ready=True, ready_since=TOUCHED + 4 * SECOND, started_at=TOUCHED + 2 * SECOND)
    assert judged(ready, 13 * SECOND, model=UNPROBED) == Judgement(Verdict.WAITING, TOUCHED + 14 * SECOND)
    assert judged(ready, 14 * SECOND, model=UNPROBED).verdict is Verdict.HEALTHY
    restarted = replace(ready, started_at=TOUCHED + 9 * SECOND)
    assert judged(restarted, 18 * SECOND, model=UNPROBED) == Judgement(Verdict.WAITING, TOUCHED + 19 * SECOND)
    unready = replace(ready, ready=False, first_ready=TOUCHED + 4 * SECOND)
    assert judged(unready, 60 * SECOND, model=UNPROBED).verdict is Verdict.WAITING


def test_nobody_fails_on_what_was_seen_before_an_outage_or_just_after_it() -> None:
    started = replace(POD, started_at=TOUCHED)
    back = TOUCHED + 6 * MINUTE
    assert judged(started, 5 * MINUTE, fresh_since=None).verdict is Verdict.WAITING
    assert judged(started, 6 * MINUTE + 9 * SECOND, fresh_since=back).verdict is Verdict.WAITING
    assert judged(started, 6 * MINUTE + 10 * SECOND, fresh_since=back).verdict is Verdict.FAILED
    going = replace(POD, deleting_since=TOUCHED, grace=SECOND)
    assert judged(going, 16 * MINUTE, fresh_since=TOUCHED + 16 * MINUTE).verdict is Verdict.WAITING
