"""Who counts, who is unhealthy, and who is there (O11; docs/rules.md, "Health")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import SECOND, a_set
from scalesets.engine import census
from scalesets.engine.census import Census, exceeds
from scalesets.engine.view import Instance, Release, SetView

OLD = Release("1.0.0", "m1")
GROWN = timedelta(seconds=150)  # provisioningTimeout + healthTimeout of the tests' policy


def taken(view: SetView) -> Census:
    return census.take(view, NOW)


WORLD = a_set("1.0.0", replicas=5)
NOW = WORLD.now + timedelta(hours=1)
FIVE = WORLD.view()


def with_instance(instance: Instance, *, recorded: bool = True, replicas: int = 5) -> SetView:
    """The five, with this one among them."""
    record = dict(FIVE.status.record)
    if not recorded:
        record.pop(instance.ordinal, None)
    others = {**FIVE.instances, instance.ordinal: instance}
    return replace(FIVE, instances=others, status=replace(FIVE.status, record=record), replicas=replicas)


def without_pod(ordinal: int) -> SetView:
    return replace(FIVE, instances={o: i for o, i in FIVE.instances.items() if o != ordinal})


def test_the_usual() -> None:
    found = taken(FIVE)
    assert found.counted == frozenset(range(5)) and not found.unhealthy
    assert found.ready == 5 and found.missing == () and dict(found.news) == {}
    assert found.running == ((OLD, (0, 1, 2, 3, 4)),)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"ready": False}, id="not-ready"),
        pytest.param({"deleting_since": NOW}, id="terminating"),
        pytest.param({"lost": True}, id="ended"),
    ],
)
def test_who_is_unhealthy(how: dict[str, object]) -> None:
    found = taken(with_instance(replace(FIVE.instances[2], **how)))  # type: ignore[arg-type]
    assert found.unhealthy == {2} and found.counted == frozenset(range(5)) and found.ready == 4


def test_a_lost_pod_on_record_counts_and_comes_back_as_recorded() -> None:
    found = taken(without_pod(3))
    assert found.missing == (3,) and found.unhealthy == {3} and found.releases[3] == OLD
    assert dict(found.absent) == {3: OLD}


def test_a_new_instance_counts_from_its_first_ready_or_once_it_is_grown() -> None:
    pod = Instance(5, "uid", OLD, created=NOW - GROWN + SECOND)
    young = taken(with_instance(pod, recorded=False, replicas=6))
    assert young.counted == frozenset(range(5)) and young.young == (pod,) and not young.unhealthy
    grown = taken(with_instance(replace(pod, created=NOW - GROWN), recorded=False, replicas=6))
    assert 5 in grown.counted and grown.unhealthy == {5} and grown.news == {5: OLD}
    seen = taken(with_instance(replace(pod, first_ready=NOW), recorded=False, replicas=6))
    assert seen.unhealthy == {5}
    ready = taken(with_instance(replace(pod, ready=True), recorded=False, replicas=6))
    assert 5 in ready.counted and not ready.unhealthy and ready.news == {5: OLD} and ready.ready == 6


def test_a_new_instance_without_a_pod_does_not_count() -> None:
    found = taken(replace(FIVE, replicas=7))
    assert found.missing == (5, 6) and found.counted == frozenset(range(5)) and 5 not in found.releases


def test_those_beyond_the_replicas_are_only_listed() -> None:
    found = taken(replace(FIVE, replicas=3))
    assert [i.ordinal for i in found.beyond] == [3, 4] and found.counted == frozenset(range(3)) and found.ready == 3


def test_what_stands_out_is_listed() -> None:
    marked = replace(FIVE.instances[1], pending_os_upgrade="1.1.0")
    assert taken(with_instance(marked)).marked == (marked,)
    ended = replace(FIVE.instances[1], lost=True)
    assert taken(with_instance(ended)).lost == (ended,)
    assert taken(with_instance(replace(ended, deleting_since=NOW))).lost == ()
    labelled = replace(FIVE.instances[1], protected=True)
    view = replace(with_instance(labelled), protected=frozenset({4, 9}))
    assert taken(view).protected == {1, 4}  # by annotation, and by spec those that exist


@pytest.mark.requirement("O11")
@pytest.mark.parametrize(
    ("part", "whole", "broken"), [(0, 0, False), (1, 5, False), (2, 5, True), (2, 10, False), (3, 14, True)]
)
def test_more_than_a_fifth(part: int, whole: int, broken: bool) -> None:
    assert exceeds(part, whole, 20) is broken


def test_a_missing_one_is_noticed_beside_one_that_stands_out() -> None:
    view = with_instance(replace(FIVE.instances[1], ready=False))
    view = replace(view, instances={o: i for o, i in view.instances.items() if o != 3})
    found = taken(view)
    assert found.missing == (3,) and found.unhealthy == {1, 3}
    assert sorted(found.kinds(), key=lambda kind: kind[1]) == [(OLD, 1), (OLD, 4)]
    assert sorted(found.where(lambda release: release == OLD)) == [0, 1, 2, 3, 4]
