"""What stops an upgrade: sick instances, a cancel, opting out, a withdrawn target (O5, O11, O13, O18)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.world import MINUTE, a_set, in_batch
from scalesets.engine import checks, reasons
from scalesets.engine.view import (
    BatchOutcome,
    Code,
    OSUpgradePolicy,
)

OFF = OSUpgradePolicy(enabled=False)


@pytest.mark.requirement("O11")
def test_no_upgrade_starts_while_more_than_a_fifth_is_unhealthy() -> None:
    world = a_set("1.0.0", replicas=10)
    for ordinal in (1, 2, 3):
        world.break_instance(ordinal)
    world.publish("1.1.0").run()
    assert not world.upgrades
    assert world.condition("Progressing").reason == "TooManyUnhealthy"
    world.heal(3)
    world.run()
    assert world.status_of().code is Code.COMPLETED


@pytest.mark.requirement("O11")
def test_the_upgrade_stops_at_the_end_of_the_batch_when_others_get_sick() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    for ordinal in (2, 3, 4, 7, 8):  # not touched yet
        world.break_instance(ordinal)
    world.run(MINUTE)
    status = world.status_of()
    assert status.code is Code.FAULTED and status.error_code == checks.DURING
    assert len(status.batches) == 2 and status.batches[1].outcome is BatchOutcome.SUCCEEDED


@pytest.mark.requirement("O11")
def test_after_a_stop_for_the_whole_sets_health_it_starts_again_once_that_has_lasted() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    sick = (2, 3, 4, 7, 8)
    for ordinal in sick:
        world.break_instance(ordinal)
    world.run(MINUTE)
    healed = world.now
    for ordinal in sick:
        world.heal(ordinal)
    world.run(timedelta(hours=1))
    first, second = sorted(world.upgrades.values(), key=lambda u: u.created)
    assert second.created - healed >= MINUTE
    assert second.status is not None and second.status.code is Code.COMPLETED
    assert world.versions() == {"1.1.0": 20} and first.finished


@pytest.mark.requirement("O13")
def test_instances_that_turn_unhealthy_after_their_upgrade_count() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.break_instance(0)  # upgraded in the first batch: 1 of 4
    world.break_instance(5)
    world.run(MINUTE)
    status = world.status_of()
    assert status.error_code == checks.UPGRADED and len(status.batches) == 2


@pytest.mark.requirement("O13")
def test_one_sick_instance_does_not_stop_its_own_cure() -> None:
    world = a_set("1.0.0", replicas=10)
    world.break_instance(0)
    world.publish("1.1.0").run()
    assert world.status_of().code is Code.COMPLETED and world.versions() == {"1.1.0": 10}


@pytest.mark.requirement("O5")
def test_a_cancelled_upgrade_ends_after_its_batch_and_is_not_started_again() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.cancel(world.only_upgrade().name)
    world.run()
    status = world.status_of()
    assert status.code is Code.CANCELLED and status.error_code == reasons.CANCELLED_BY_USER
    assert len(status.batches) == 2 and world.versions() == {"1.0.0": 12, "1.1.0": 8}
    world.publish("1.2.0").run()
    assert world.versions() == {"1.2.0": 20}  # a newer version starts by itself


@pytest.mark.requirement("O5")
def test_deleting_a_running_upgrade_cancels_it_and_the_object_goes_after_its_batch() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.delete_upgrade(world.only_upgrade().name)
    world.run()
    assert not world.upgrades and world.status.current_upgrade == ""
    assert world.versions() == {"1.0.0": 12, "1.1.0": 8} and world.all_ready()
    assert world.status.last_os_upgrade is not None and world.status.last_os_upgrade.outcome is Code.CANCELLED


@pytest.mark.requirement("O5")
def test_opting_out_cancels_after_the_batch_and_opting_in_again_starts_anew() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.os_policy = OFF
    world.run()
    assert world.status_of().error_code == reasons.OPTED_OUT
    assert world.condition("AutomaticOSUpgradeEligible").reason == "Disabled"
    world.os_policy = OSUpgradePolicy(enabled=True)
    world.run()
    assert world.versions() == {"1.1.0": 20}


@pytest.mark.requirement("O18")
def test_excluding_the_target_of_a_running_upgrade_cancels_it_after_the_batch() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.exclude("1.1.0")
    world.run()
    assert world.status_of().error_code == reasons.TARGET_WITHDRAWN
    assert world.versions() == {"1.0.0": 12, "1.1.0": 8}  # done instances stay: no upgrade lowers a version


def test_the_wait_after_a_stop_begins_when_the_set_is_healthy_again() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    sick = (2, 3, 4, 7, 8)
    for ordinal in sick:
        world.break_instance(ordinal)
    world.run(timedelta(hours=5))
    for ordinal in sick:
        world.heal(ordinal)
    healed = world.now
    world.run(timedelta(hours=1))
    second = max(world.upgrades.values(), key=lambda u: u.created)
    assert second.created - healed >= MINUTE and world.versions() == {"1.1.0": 20}


def test_the_wait_doubles_up_to_an_hour() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    waits = []
    for _ in range(9):
        world.run(until=lambda w: w.status.current_upgrade)
        world.break_instance(3)
        world.break_instance(4)
        world.run(until=lambda w: not w.status.current_upgrade)
        last = world.status.last_os_upgrade
        assert last is not None and last.retry_delay is not None
        waits.append(last.retry_delay // MINUTE)
        world.heal(3)
        world.heal(4)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_going_back_to_an_excluded_version_resumes_where_it_was() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.exclude("1.1.0")
    world.run()
    world.exclude("1.1.0", excluded=False)
    world.run()
    assert world.versions() == {"1.1.0": 20} and len(world.upgrades) == 2


def test_a_put_back_is_finished_before_a_cancelled_upgrade_ends() -> None:
    world = a_set("1.0.0", replicas=20, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=in_batch(1))
    world.cancel(world.only_upgrade().name)
    world.run()
    assert world.versions() == {"1.0.0": 20} and world.status_of().rolled_back == 4


@pytest.mark.requirement("O11", "O24")
def test_a_users_upgrade_that_stops_between_its_batches_has_the_code_of_that() -> None:
    world = a_set("1.0.0", replicas=10, os_policy=OFF).publish("1.1.0")
    world.start_upgrade("now")
    world.run(until=in_batch(2))
    for ordinal in (2, 3, 4):
        world.break_instance(ordinal)
    world.run()
    assert world.status_of("now").error_code == checks.DURING


@pytest.mark.requirement("O22")
def test_the_last_action_is_what_was_done_last() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0").run()
    assert world.status_of().last_action == "Start"
    world.publish("1.2.0").run(until=lambda w: w.status.current_upgrade)
    second = world.status.current_upgrade
    world.run(until=lambda w: w.status_of(second).batches if w.upgrades[second].status else None)
    world.cancel(second)
    world.run()
    status = world.status_of(second)
    assert (status.last_action, status.last_action_time) == ("Cancel", status.completed)


def test_who_was_scaled_in_is_not_skipped_any_more() -> None:
    world = a_set("1.0.0", replicas=20, protected={11, 12}).publish("1.1.0")
    world.run(until=in_batch(2))
    assert world.status_of().skipped == frozenset({11, 12})
    world.replicas = 12
    world.run()
    assert world.status_of().skipped == frozenset({11})
