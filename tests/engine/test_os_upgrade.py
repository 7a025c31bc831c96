"""Automatic OS image upgrades, told as short stories in virtual time (O1 to O24, docs/rules.md)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import START, World, a_set
from scalesets.engine import checks, scopes
from scalesets.engine.view import (
    AZURE_TIMING,
    BatchOutcome,
    Code,
    OSUpgradePolicy,
    RollingPolicy,
    StartedBy,
    UpgradeMode,
    UpgradeType,
)

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
OFF = OSUpgradePolicy(enabled=False)


def status_of(world: World, name: str = ""):
    upgrade = world.upgrades[name] if name else world.only_upgrade()
    assert upgrade.status is not None
    return upgrade.status


def in_batch(number: int) -> Callable[[World], bool]:
    """Whether the batch of that number has been written."""

    def reached(world: World) -> bool:
        return any(u.status is not None and len(u.status.batches) == number for u in world.upgrades.values())

    return reached


@pytest.mark.requirement("O1", "O2", "O8")
def test_a_published_version_reaches_the_whole_set_in_batches_of_a_fifth() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0").run()
    status = status_of(world)
    assert world.versions() == {"1.1.0": 20}
    assert status.code is Code.COMPLETED
    assert [len(b.members) for b in status.batches] == [4] * 5
    assert world.only_upgrade().started_by is StartedBy.PLATFORM


@pytest.mark.requirement("O2")
def test_versions_published_during_an_upgrade_are_skipped_for_the_newest() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.publish("1.2.0").publish("1.3.0").run()
    targets = [u.status.target.image_version for u in world.upgrades.values() if u.status]
    assert targets == ["1.1.0", "1.3.0"]
    assert world.versions() == {"1.3.0": 10}


@pytest.mark.requirement("O8")
@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_a_set_of_five_or_fewer_upgrades_one_at_a_time(replicas: int) -> None:
    world = a_set("1.0.0", replicas=replicas).publish("1.1.0").run()
    assert [len(b.members) for b in status_of(world).batches] == [1] * replicas


@pytest.mark.requirement("O9b", "O9c")
def test_zones_are_upgraded_one_after_the_other_domain_by_domain() -> None:
    world = a_set("1.0.0", replicas=20, zones=("1", "2", "3")).publish("1.1.0").run()
    assert [(b.zone, b.update_domain) for b in status_of(world).batches] == [
        (zone, domain) for zone in ("1", "2", "3") for domain in range(5)
    ]


@pytest.mark.requirement("O9b")
def test_a_closed_zone_waits() -> None:
    world = a_set("1.0.0", replicas=6, zones=("1", "2")).publish("1.1.0")
    from scalesets.engine import batches

    view = replace(world.view(), open_zone="2")
    choice = batches.choose(view, range(6), limit=1)
    assert choice is not None and choice.zone == "2"
    assert batches.choose(view, [0, 2, 4], limit=1) is None


@pytest.mark.requirement("O6")
def test_an_upgraded_instance_gets_the_model_of_the_start_of_its_upgrade() -> None:
    world = a_set("1.0.0", replicas=5, mode=UpgradeMode.ROLLING)
    world.publish("1.1.0").run(until=in_batch(1))
    world.change_model("m2")
    world.run(until=lambda w: status_of(w, "web-os-" + w.only_upgrade().name[-8:]).code.final)
    assert {p.release.model for p in world.pods.values()} == {"m1"}
    world.run()
    assert {p.release.model for p in world.pods.values()} == {"m2"}
    assert world.versions() == {"1.1.0": 5}


@pytest.mark.requirement("O12", "O13")
def test_a_broken_image_is_stopped_after_one_batch_and_put_back() -> None:
    world = a_set("1.0.0", replicas=20, bad={"1.1.0"}).publish("1.1.0").run()
    status = status_of(world)
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
    assert status_of(world).code is Code.COMPLETED


@pytest.mark.requirement("O12")
def test_failed_instances_are_put_back_five_minutes_after_their_containers_started() -> None:
    world = a_set("1.0.0", replicas=5, policy=RollingPolicy(), bad={"1.1.0"}).publish("1.1.0").run()
    batch = status_of(world).batches[0]
    assert batch.roll_back_time is not None
    # one second to stop, one to start, then the five minutes
    assert batch.roll_back_time - batch.start == timedelta(minutes=5, seconds=2)


@pytest.mark.requirement("O12")
def test_without_automatic_roll_back_failed_instances_stay() -> None:
    policy = OSUpgradePolicy(enabled=True, disable_roll_back=True)
    world = a_set("1.0.0", replicas=20, os_policy=policy, bad={"1.1.0"}).publish("1.1.0").run()
    assert world.versions() == {"1.0.0": 16, "1.1.0": 4}
    assert status_of(world).batches[0].outcome is BatchOutcome.FAILED


@pytest.mark.requirement("O12")
def test_an_instance_that_does_not_recover_on_its_former_version_is_said_so() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=in_batch(1))
    world.bad.add("1.0.0")
    world.run()
    status = status_of(world)
    assert status.roll_back_failed == 1 and "web-0 is still unhealthy" in status.roll_back_error


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
    assert status_of(world).code is Code.COMPLETED


@pytest.mark.requirement("O11")
def test_the_upgrade_stops_at_the_end_of_the_batch_when_others_get_sick() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    for ordinal in (2, 3, 4, 7, 8):  # not touched yet
        world.break_instance(ordinal)
    world.run(MINUTE)
    status = status_of(world)
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
    status = status_of(world)
    assert status.error_code == checks.UPGRADED and len(status.batches) == 2


@pytest.mark.requirement("O13")
def test_one_sick_instance_does_not_stop_its_own_cure() -> None:
    world = a_set("1.0.0", replicas=10)
    world.break_instance(0)
    world.publish("1.1.0").run()
    assert status_of(world).code is Code.COMPLETED and world.versions() == {"1.1.0": 10}


@pytest.mark.requirement("O11")
def test_scaling_out_during_an_upgrade_does_not_fault_it() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(2))
    world.replicas = 30
    world.run()
    assert status_of(world).code is Code.COMPLETED
    assert world.versions() == {"1.1.0": 30}
    assert len(status_of(world).scope) == 10  # scaled-out ones don't enter


def test_scaled_in_instances_leave_the_scope() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.replicas = 12
    world.run()
    status = status_of(world)
    assert status.code is Code.COMPLETED and status.scope == frozenset(range(12))
    assert status.progress.successful == 12 and world.versions() == {"1.1.0": 12}


@pytest.mark.requirement("O5")
def test_a_cancelled_upgrade_ends_after_its_batch_and_is_not_started_again() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.cancel(world.only_upgrade().name)
    world.run()
    status = status_of(world)
    assert status.code is Code.CANCELLED and status.error_code == scopes.CANCELLED_BY_USER
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
    assert status_of(world).error_code == scopes.OPTED_OUT
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
    assert status_of(world).error_code == scopes.TARGET_WITHDRAWN
    assert world.versions() == {"1.0.0": 12, "1.1.0": 8}  # done instances stay: no upgrade lowers a version


@pytest.mark.requirement("O24")
def test_a_manual_start_moves_all_to_the_latest_without_roll_back() -> None:
    world = a_set("1.0.0", replicas=20, os_policy=OFF).publish("1.1.0").run()
    assert not world.upgrades
    world.bad.add("1.1.0")
    world.start_upgrade("now")
    world.run()
    status = status_of(world, "now")
    assert status.code is Code.FAULTED and status.error_code == checks.UPGRADED
    assert status.rolled_back == 0 and world.versions() == {"1.0.0": 16, "1.1.0": 4}


@pytest.mark.requirement("O24")
def test_a_manual_start_leaves_instances_on_the_latest_version_alone() -> None:
    world = a_set("1.0.0", replicas=10, os_policy=OFF).publish("1.1.0")
    world.replicas = 14
    world.run()  # the four new ones start on the latest
    old = {o: p.uid for o, p in world.pods.items() if o >= 10}
    world.start_upgrade("now")
    world.run()
    assert status_of(world, "now").scope == frozenset(range(10))
    assert {o: p.uid for o, p in world.pods.items() if o >= 10} == old
    world.start_upgrade("again")
    world.run()
    assert status_of(world, "again").code is Code.COMPLETED and not status_of(world, "again").batches


@pytest.mark.requirement("O24", "O19")
def test_a_manual_start_has_no_trigger_delay() -> None:
    world = a_set("1.0.0", replicas=5, timing=AZURE_TIMING).publish("1.1.0")
    world.run(SECOND)
    world.start_upgrade("now")
    world.run(MINUTE)
    assert status_of(world, "now").code is Code.COMPLETED


@pytest.mark.requirement("O11", "O24")
def test_a_manual_start_on_an_unhealthy_set_is_refused_with_azures_code() -> None:
    world = a_set("1.0.0", replicas=5, os_policy=OFF).publish("1.1.0")
    world.break_instance(0)
    world.break_instance(1)
    world.start_upgrade("now")
    world.run()
    assert status_of(world, "now").error_code == checks.BEFORE
    assert world.versions() == {"1.0.0": 5}


@pytest.mark.requirement("O19")
def test_the_azure_profile_triggers_first_within_three_hours_and_later_within_thirty_to_sixty_minutes() -> None:
    world = a_set("1.0.0", replicas=5, timing=AZURE_TIMING).publish("1.1.0")
    world.run(timedelta(hours=4))
    assert world.only_upgrade().created - START <= timedelta(hours=3, minutes=1)
    published = world.now
    world.publish("1.2.0").run(timedelta(hours=2))
    later = max(world.upgrades.values(), key=lambda u: u.created)
    assert timedelta(minutes=30) <= later.created - published <= timedelta(minutes=60)


@pytest.mark.requirement("O15")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"version": "1.0.0"}, "VersionPinned"),
        ({"probed": False}, "NoHealthSignal"),
        ({"image": "team-a/unknown"}, "ImageNotFound"),
    ],
)
def test_what_automatic_upgrade_needs_is_said_by_name(model: dict[str, object], reason: str) -> None:
    world = a_set("1.0.0", replicas=5)
    world.model = replace(world.model, **model)
    world.publish("1.1.0").run()
    assert world.condition("AutomaticOSUpgradeEligible").reason == reason
    assert world.condition("AutomaticOSUpgradeEligible").message
    assert world.versions() == {"1.0.0": 5}


@pytest.mark.requirement("O15")
def test_a_missing_secret_is_found_before_anything_is_touched() -> None:
    world = a_set("1.0.0", replicas=5, missing_secrets="Secret team-a/health-keys is missing").publish("1.1.0")
    world.run(timedelta(minutes=10))
    assert not world.upgrades and world.versions() == {"1.0.0": 5}
    eligible = world.condition("AutomaticOSUpgradeEligible")
    assert eligible.reason == "ExternalResourceMissing" and "health-keys" in eligible.message
    world.missing_secrets = ""
    world.run()
    assert world.versions() == {"1.1.0": 5}


@pytest.mark.requirement("O3")
def test_an_os_without_probe_must_stay_ready_for_ten_seconds() -> None:
    world = a_set("1.0.0", replicas=5)
    world.model = replace(world.model, probed=False)
    world.publish("1.1.0")
    world.start_upgrade("now")
    world.run()
    batch = status_of(world, "now").batches[0]
    assert batch.completed is not None and batch.completed - batch.start >= timedelta(seconds=12)


@pytest.mark.requirement("O3")
def test_a_slow_probe_is_warned_of_and_given_its_time() -> None:
    world = a_set("1.0.0", replicas=5)
    world.model = replace(world.model, slow_probe=True, probe_delay=timedelta(minutes=4))
    world.boot = timedelta(seconds=100)  # longer than healthTimeout, shorter than what the probe needs
    world.publish("1.1.0").run()
    assert world.condition("HealthProbeSlow").status is True
    assert status_of(world).code is Code.COMPLETED


@pytest.mark.requirement("O20")
def test_in_manual_mode_instances_on_an_older_model_are_skipped_and_named() -> None:
    world = a_set("1.0.0", replicas=5, mode=UpgradeMode.MANUAL, os_policy=OFF)
    world.change_model("m2", automatic_os_upgrade=True)
    world.os_policy = OSUpgradePolicy(enabled=True)
    world.publish("1.1.0").run()
    assert not world.upgrades
    assert "web-{0-4}" in world.condition("InstancesLeftOut").message
    world.start_upgrade("two", UpgradeType.MODEL, "web-1", "web-3")
    world.run()
    assert {o for o, p in world.pods.items() if p.release.image_version == "1.1.0"} == {1, 3}


@pytest.mark.requirement("O22")
def test_the_history_keeps_the_last_five_within_two_months() -> None:
    world = a_set("1.0.0", replicas=1)
    for patch in range(1, 8):
        world.publish(f"1.{patch}.0").run(timedelta(days=1))
    kept = sorted(u.status.target.image_version for u in world.upgrades.values() if u.status)
    assert kept == ["1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0"]
    world.run(timedelta(days=59))
    assert sorted(u.status.target.image_version for u in world.upgrades.values() if u.status) == ["1.6.0", "1.7.0"]
    world.run(timedelta(days=30))
    assert not world.upgrades
    assert world.status.last_os_upgrade is not None  # the set itself remembers


def test_a_faulted_version_is_not_tried_again_until_something_changes() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0").run()
    world.bad.clear()
    world.run(timedelta(days=2))
    assert len(world.upgrades) == 1
    world.change_model("m2")
    world.run()
    assert world.versions() == {"1.1.0": 5}


def test_new_instances_never_get_a_version_that_failed_here() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0").run()
    world.replicas = 8
    world.run()
    assert world.versions() == {"1.0.0": 8}


def test_no_os_upgrade_lowers_a_version() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0").run()
    world.exclude("1.1.0")
    world.start_upgrade("now")
    world.run()
    assert world.versions() == {"1.1.0": 5} and status_of(world, "now").code is Code.COMPLETED


def test_protected_instances_are_left_out_and_named_and_never_block() -> None:
    world = a_set("1.0.0", replicas=10, protected={3}).publish("1.1.0").run()
    assert status_of(world).code is Code.COMPLETED and status_of(world).skipped == frozenset({3})
    assert world.pods[3].release.image_version == "1.0.0"
    assert "web-{3}" in world.condition("InstancesLeftOut").message


def test_an_instance_whose_claim_is_being_deleted_is_never_taken_down() -> None:
    world = a_set("1.0.0", replicas=10)
    world.claims_deleting = {4}
    uid = world.pods[4].uid
    world.publish("1.1.0").run()
    assert world.pods[4].uid == uid and status_of(world).code is Code.COMPLETED


def test_pauses_are_kept_between_batches() -> None:
    policy = RollingPolicy(pause=MINUTE, health_timeout=timedelta(seconds=30))
    on = OSUpgradePolicy(enabled=True, use_rolling_policy=True)
    world = a_set("1.0.0", replicas=3, policy=policy, os_policy=on).publish("1.1.0").run()
    done = status_of(world).batches
    assert all(b.start - a.completed >= MINUTE for a, b in itertools.pairwise(done) if a.completed)
    without = a_set("1.0.0", replicas=3, policy=policy).publish("1.1.0").run()
    quick = status_of(without).batches
    assert all(b.start == a.completed for a, b in itertools.pairwise(quick))


def test_a_refused_template_touches_nothing_and_says_so() -> None:
    world = a_set("1.0.0", replicas=5, refused={"m1"}).publish("1.1.0")
    world.run(timedelta(minutes=5))
    assert status_of(world).waiting == "TemplateRefused" and not status_of(world).batches
    assert world.versions() == {"1.0.0": 5}
    assert world.condition("TemplateRefused").message == "spec.x: Invalid value"
    told = [e for _, e in world.events if e.reason == "TemplateRefused"]
    assert [e.message for e in told] == ["spec.x: Invalid value"], "once, in the server's words"
    world.refused.clear()
    world.run()
    assert world.versions() == {"1.1.0": 5}


def test_a_pod_that_never_ends_fails_and_its_instance_returns_at_its_former_version() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=lambda w: w.upgrades and w.pods.get(0) is not None and w.pods[0].deleting_since)
    world.pods[0].gone_at = None  # its node is lost
    world.run()
    assert world.pods[0].deleting_since is not None  # never forced
    status = status_of(world)
    assert status.code is Code.FAULTED or status.progress.failed == 1
    world.kill(0)
    world.run()
    assert world.pods[0].release.image_version == "1.0.0"


def test_a_pod_deleted_by_others_during_its_batch_comes_back_at_the_target() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.run(until=lambda w: w.pods.get(0) is not None and w.pods[0].release.image_version == "1.1.0")
    world.kill(0)
    world.turn()
    assert world.pods[0].release.image_version == "1.1.0"
    assert world.run() and status_of(world).code is Code.COMPLETED


@pytest.mark.requirement("O10")
def test_a_version_that_is_not_replicated_here_does_not_start() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0", target_regions=("elsewhere",)).run()
    assert not world.upgrades
    world.published[-1] = replace(world.published[-1], target_regions=("elsewhere", "here"))
    world.run()
    assert world.versions() == {"1.1.0": 5}


def test_four_status_writes_a_batch_at_most() -> None:
    world = a_set("1.0.0", replicas=100)
    before = world.status_writes
    world.publish("1.1.0").run()
    batches = len(status_of(world).batches)
    assert (world.status_writes - before) / batches <= 4
