"""How members of a batch are judged, and who goes back (O3, O12, O24; docs/rules.md, "Health" and "Checks")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import MINUTE, SECOND, World, a_set, in_batch
from scalesets.engine import checks
from scalesets.engine.view import (
    BatchOutcome,
    Code,
    OSUpgradePolicy,
    RollingPolicy,
)

OFF = OSUpgradePolicy(enabled=False)


@pytest.mark.requirement("O12", "O13")
def test_a_broken_image_is_stopped_after_one_batch_and_put_back() -> None:
    world = a_set("1.0.0", replicas=20, bad={"1.1.0"}).publish("1.1.0").run()
    status = world.status_of()
    assert status.code is Code.FAULTED and status.error_code == checks.UPGRADED
    assert [b.outcome for b in status.batches] == [BatchOutcome.ROLLED_BACK]
    assert (status.rolled_back, status.roll_back_failed) == (4, 0)
    assert status.progress.failed == 4 and status.progress.pending == 16
    assert world.versions() == {"1.0.0": 20} and world.all_ready()


@pytest.mark.requirement("O12")
def test_nobody_is_judged_failed_before_the_timeout() -> None:
    world = a_set("1.0.0", replicas=5, policy=RollingPolicy())
    world.boot = timedelta(seconds=145)  # Ready 290 s after creation, 145 s after its containers started
    world.publish("1.1.0").run()
    assert world.status_of().code is Code.COMPLETED


@pytest.mark.requirement("O12")
def test_failed_instances_are_put_back_five_minutes_after_their_containers_started() -> None:
    world = a_set("1.0.0", replicas=5, policy=RollingPolicy(), bad={"1.1.0"}).publish("1.1.0").run()
    batch = world.status_of().batches[0]
    assert batch.roll_back_time is not None
    # one second to stop, one to start, then the five minutes
    assert batch.roll_back_time - batch.start == timedelta(minutes=5, seconds=2)


@pytest.mark.requirement("O12")
def test_without_automatic_roll_back_failed_instances_stay() -> None:
    policy = OSUpgradePolicy(enabled=True, disable_roll_back=True)
    world = a_set("1.0.0", replicas=20, os_policy=policy, bad={"1.1.0"}).publish("1.1.0").run()
    assert world.versions() == {"1.0.0": 16, "1.1.0": 4}
    assert world.status_of().batches[0].outcome is BatchOutcome.FAILED


@pytest.mark.requirement("O12")
def test_an_instance_that_does_not_recover_on_its_former_version_is_said_so() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=in_batch(1))
    world.bad.add("1.0.0")
    world.run()
    status = world.status_of()
    assert status.roll_back_failed == 1 and "web-0 is still unhealthy" in status.roll_back_error


@pytest.mark.requirement("O3")
def test_an_os_without_probe_must_stay_ready_for_ten_seconds() -> None:
    world = a_set("1.0.0", replicas=5)
    world.model = replace(world.model, probed=False)
    world.publish("1.1.0")
    world.start_upgrade("now")
    world.run()
    batch = world.status_of("now").batches[0]
    assert batch.completed is not None and batch.completed - batch.start >= timedelta(seconds=12)


@pytest.mark.requirement("O3")
def test_a_slow_probe_is_warned_of_and_given_its_time() -> None:
    world = a_set("1.0.0", replicas=5)
    world.model = replace(world.model, slow_probe=True, probe_delay=timedelta(minutes=4))
    world.boot = timedelta(seconds=100)  # longer than healthTimeout, shorter than what the probe needs
    world.publish("1.1.0").run()
    assert world.condition("HealthProbeSlow").status is True
    assert world.status_of().code is Code.COMPLETED


def test_a_pod_that_never_ends_fails_and_its_instance_returns_at_its_former_version() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=lambda w: w.upgrades and w.pods.get(0) is not None and w.pods[0].deleting_since)
    world.pods[0].gone_at = None  # its node is lost
    world.run()
    assert world.pods[0].deleting_since is not None  # never forced
    status = world.status_of()
    assert status.code is Code.FAULTED or status.progress.failed == 1
    world.kill(0)
    world.run()
    assert world.pods[0].release.image_version == "1.0.0"


def test_failures_that_fall_due_close_to_each_other_are_put_back_together() -> None:
    world = a_set("1.0.0", replicas=50, bad={"1.1.0"}).publish("1.1.0")
    slow = iter(range(0, 40, 2))

    def spread(w: World) -> None:
        for ordinal in sorted(w.on("1.1.0")):
            pod = w.pods[ordinal]
            if pod.created == w.now and ordinal not in delayed:
                delayed[ordinal] = next(slow)
                pod.created += delayed[ordinal] * SECOND

    delayed: dict[int, int] = {}
    world.watchers.append(spread)
    world.run(until=in_batch(1))
    world.run(until=lambda w: w.status_of().code is Code.ROLLING_BACK)
    batch = world.status_of().batches[0]
    # ten members start two seconds apart: nobody waits longer than the wave for others that are not due yet
    assert {delayed[o] for o in batch.rolled_back} == {0, 2, 4}


def test_an_instance_that_is_put_back_is_not_sent_to_the_target_any_more() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.run(until=in_batch(1))
    world.quota_full = True
    world.run(until=lambda w: w.status_of().code is Code.ROLLING_BACK)
    world.quota_full = False
    world.run(until=lambda w: 0 in w.pods)
    assert world.pods[0].release.image_version == "1.0.0"


@pytest.mark.requirement("O12")
def test_a_definite_start_failure_starts_the_clock() -> None:
    policy = RollingPolicy(health_timeout=timedelta(minutes=5), provisioning_timeout=timedelta(minutes=15))
    world = a_set("1.0.0", replicas=5, policy=policy, failing={"1.1.0"}).publish("1.1.0").run()
    batch = world.status_of().batches[0]
    assert batch.roll_back_time is not None
    assert batch.roll_back_time - batch.start == timedelta(minutes=5, seconds=2)


@pytest.mark.requirement("O12")
def test_a_pod_that_never_starts_is_judged_after_both_timeouts() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.run(until=in_batch(1))
    world.boot = timedelta(days=1)
    world.run(until=lambda w: w.status_of().code is Code.ROLLING_BACK)
    batch = world.status_of().batches[0]
    assert batch.roll_back_time is not None
    assert batch.roll_back_time - batch.start == world.policy.provisioning_timeout + world.policy.health_timeout


@pytest.mark.requirement("O12")
def test_the_first_ready_succeeds_also_if_it_does_not_last() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=lambda w: w.on("1.1.0") == {0, 5, 10, 15})
    world.pods[5].ready_at = None  # this one is late, so that the batch is not over yet
    world.run(until=lambda w: w.pods[0].first_ready)
    world.break_instance(0)
    world.heal(5)
    world.turn()
    assert world.status_of().batches[0].outcome is BatchOutcome.SUCCEEDED


@pytest.mark.requirement("O13")
def test_the_code_says_rolling_back_only_while_putting_back() -> None:
    policy = RollingPolicy(max_unhealthy_upgraded_percent=100, health_timeout=timedelta(seconds=10))
    use = OSUpgradePolicy(enabled=True, use_rolling_policy=True)
    world = a_set("1.0.0", replicas=20, policy=policy, os_policy=use).publish("1.1.0")
    world.run(until=lambda w: 0 in w.on("1.1.0"))
    world.break_instance(0)
    world.run(until=lambda w: w.status_of().code is Code.ROLLING_BACK)
    assert world.status_of().last_action == "RollBack"
    world.run(until=in_batch(2))
    status = world.status_of()
    assert status.code is Code.ROLLING_FORWARD and status.batches[0].outcome is BatchOutcome.ROLLED_BACK
    world.run()
    assert world.status_of().code is Code.COMPLETED and world.versions() == {"1.0.0": 1, "1.1.0": 19}


@pytest.mark.requirement("O13")
def test_a_new_instance_never_starts_with_what_has_just_failed() -> None:
    """It comes while the upgrade is over and the set hasn't yet been told how it ended."""
    world = a_set("1.0.0", replicas=10)
    world.bad.add("1.1.0")
    world.publish("1.1.0").run(until=lambda w: w.upgrades and w.only_upgrade().finished)
    assert world.status.current_upgrade and not world.status.faulted_os_versions
    world.replicas = 11
    world.run(MINUTE)
    assert world.pods[10].release.image_version == "1.0.0"
