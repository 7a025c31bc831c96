"""When upgrades start, by themselves or by hand, and when the same target starts again (O15, O19, O20, O22, O24)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import MINUTE, SECOND, START, a_set, in_batch
from scalesets.engine import checks, reasons, start
from scalesets.engine.view import (
    AZURE_TIMING,
    Code,
    OSUpgradePolicy,
    Release,
    RollingPolicy,
    Timing,
    UpgradeMode,
    UpgradeType,
)

OFF = OSUpgradePolicy(enabled=False)


@pytest.mark.requirement("O24")
def test_a_manual_start_moves_all_to_the_latest_without_roll_back() -> None:
    world = a_set("1.0.0", replicas=20, os_policy=OFF).publish("1.1.0").run()
    assert not world.upgrades
    world.bad.add("1.1.0")
    world.start_upgrade("now")
    world.run()
    status = world.status_of("now")
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
    assert world.status_of("now").scope == frozenset(range(10))
    assert {o: p.uid for o, p in world.pods.items() if o >= 10} == old
    world.start_upgrade("again")
    world.run()
    assert world.status_of("again").code is Code.COMPLETED and not world.status_of("again").batches


@pytest.mark.requirement("O24", "O19")
def test_a_manual_start_has_no_trigger_delay() -> None:
    world = a_set("1.0.0", replicas=5, timing=AZURE_TIMING).publish("1.1.0")
    world.run(SECOND)
    world.start_upgrade("now")
    world.run(MINUTE)
    assert world.status_of("now").code is Code.COMPLETED


@pytest.mark.requirement("O11", "O24")
def test_a_manual_start_on_an_unhealthy_set_is_refused_with_azures_code() -> None:
    world = a_set("1.0.0", replicas=5, os_policy=OFF).publish("1.1.0")
    world.break_instance(0)
    world.break_instance(1)
    world.start_upgrade("now")
    world.run()
    assert world.status_of("now").error_code == checks.BEFORE
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
        ({"image": "unknown"}, "ImageNotFound"),
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


KEYS = "Secret health-keys is missing (extension health)"


@pytest.mark.requirement("O15", "O24")
@pytest.mark.parametrize("kind", [UpgradeType.OS_IMAGE, UpgradeType.MODEL])
def test_a_users_start_is_refused_by_name_while_a_secret_is_missing_and_not_after(kind: UpgradeType) -> None:
    world = a_set("1.0.0", replicas=5, os_policy=OFF, mode=UpgradeMode.MANUAL, missing_secrets=KEYS)
    world.publish("1.1.0")
    world.change_model("m2")
    uids = {o: p.uid for o, p in world.pods.items()}
    world.start_upgrade("first", kind)
    world.run(MINUTE)
    refused = world.status_of("first")
    assert (refused.code, refused.error_code, refused.error) == (Code.FAULTED, "ExternalResourceMissing", KEYS)
    assert {o: p.uid for o, p in world.pods.items()} == uids

    world.missing_secrets = ""
    world.start_upgrade("second", kind)
    world.run(MINUTE * 5)
    assert world.status_of("second").code is Code.COMPLETED, "what was found before it is not held against it"
    assert world.on("m2") == set(range(5))


@pytest.mark.requirement("O15", "O20")
@pytest.mark.parametrize("mode", [UpgradeMode.ROLLING, UpgradeMode.AUTOMATIC])
def test_a_new_model_waits_for_its_secrets_and_says_which(mode: UpgradeMode) -> None:
    world = a_set("1.0.0", replicas=5, os_policy=OFF, mode=mode, missing_secrets=KEYS, missing_for={"m2"})
    uids = {o: p.uid for o, p in world.pods.items()}
    world.change_model("m2")
    world.run(timedelta(minutes=10))
    assert not world.upgrades and {o: p.uid for o, p in world.pods.items()} == uids
    reconciling = world.condition("Reconciling")
    assert (reconciling.status, reconciling.reason, reconciling.message) == (True, "ExternalResourceMissing", KEYS)
    assert world.condition("Stalled").status is False, "it goes on by itself once the Secret is there"
    assert KEYS in world.condition("Progressing").message

    world.missing_secrets = ""
    world.run()
    assert world.on("m2") == set(range(5)) and world.all_ready()


@pytest.mark.requirement("O15", "O21")
@pytest.mark.parametrize("mode", [UpgradeMode.ROLLING, UpgradeMode.AUTOMATIC])
def test_a_model_that_names_renewed_secrets_does_not_wait_for_those_of_the_former(mode: UpgradeMode) -> None:
    world = a_set("1.0.0", replicas=5, mode=mode, missing_secrets=KEYS, missing_for={"m1"}).publish("1.1.0")
    world.run(MINUTE)
    assert world.condition("AutomaticOSUpgradeEligible").reason == "ExternalResourceMissing"
    world.change_model("m2")
    world.run()
    assert world.on("m2") == world.on("1.1.0") == set(range(5))


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


@pytest.mark.requirement("O22")
@pytest.mark.requirement("O13")
def test_new_instances_do_not_get_a_version_that_is_about_to_fail_here() -> None:
    """Nearly as good as Faulted: what failed is being put back, and then the upgrade stops."""
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=lambda w: w.upgrades and w.only_upgrade().status and w.status_of().code is Code.ROLLING_BACK)
    world.replicas = 8
    world.run(MINUTE / 2)
    assert not world.on("1.1.0") - {0} and len(world.pods) == 8
    world.run()
    assert world.status_of().code is Code.FAULTED and world.versions() == {"1.0.0": 8}


def test_new_instances_get_the_target_while_one_that_failed_within_the_limit_is_put_back() -> None:
    policy = RollingPolicy(max_unhealthy_upgraded_percent=100)
    world = a_set("1.0.0", replicas=5, policy=policy, bad={"1.1.0"})
    world.os_policy = OSUpgradePolicy(enabled=True, use_rolling_policy=True)
    world.publish("1.1.0")
    world.run(until=lambda w: w.upgrades and w.only_upgrade().status and w.status_of().code is Code.ROLLING_BACK)
    world.bad.clear()
    world.replicas = 6
    world.run()
    assert world.status_of().code is Code.COMPLETED
    assert world.pods[5].release.image_version == "1.1.0", "it goes on: who comes now would be left behind"


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


def test_a_model_change_during_a_failing_upgrade_lets_the_version_be_tried_again() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=in_batch(1))
    world.change_model("m2")
    world.bad.clear()
    for pod in world.pods.values():
        assert pod.release.image_version == "1.0.0"
    world.bad.add("1.1.0")
    world.run(until=lambda w: w.status.last_os_upgrade is not None)
    world.bad.clear()
    world.run()
    assert world.versions() == {"1.1.0": 5} and world.on("m2") == set(range(5))


def test_an_older_version_that_failed_may_be_tried_again_after_a_model_change() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0", "1.2.0"}).publish("1.1.0").run()
    world.publish("1.2.0").run()
    assert world.status.faulted_os_versions == ("1.1.0", "1.2.0")
    world.exclude("1.2.0")
    world.bad.clear()
    world.run()
    assert world.versions() == {"1.0.0": 5}
    world.change_model("m2")
    world.run()
    assert world.versions() == {"1.1.0": 5}


def test_a_version_that_failed_counts_for_its_image_only() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0").run()
    world.bad.clear()
    world.publish("1.1.0", image="other")
    world.change_model("m2", image="other")
    world.run()
    world.replicas = 7
    world.run()
    assert world.versions() == {"1.1.0": 7} and world.all_ready()


@pytest.mark.requirement("O20")
def test_in_manual_mode_instances_brought_to_the_model_later_are_upgraded_too() -> None:
    world = a_set("1.0.0", replicas=4, mode=UpgradeMode.MANUAL, os_policy=OFF)
    world.change_model("m2", automatic_os_upgrade=True)
    world.os_policy = OSUpgradePolicy(enabled=True)
    world.start_upgrade("two", UpgradeType.MODEL, "web-1", "web-3")
    world.run()
    world.publish("1.1.0").run()
    assert world.on("1.1.0") == {1, 3}
    world.start_upgrade("rest", UpgradeType.MODEL)
    world.run()
    assert world.on("1.1.0") == {0, 1, 2, 3} and world.on("m2") == {0, 1, 2, 3}


def test_named_instances_are_not_sent_to_a_version_that_failed_here() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0").run()
    world.start_upgrade("cure", UpgradeType.MODEL, "web-1")
    world.run()
    assert world.versions() == {"1.0.0": 5} and world.all_ready()


def test_after_a_restart_the_wait_begins_anew_and_ends() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    for ordinal in (2, 3, 4, 7, 8):
        world.break_instance(ordinal)
    world.run(MINUTE)
    for ordinal in (2, 3, 4, 7, 8):
        world.heal(ordinal)
    world.restart()
    world.run()
    assert world.versions() == {"1.1.0": 20}


def test_an_upgrade_that_the_platform_made_ends_when_it_is_not_wanted_any_more() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.turn()  # made, but not begun
    assert world.only_upgrade().status is None
    world.os_policy = OFF
    world.run()
    assert world.status_of().error_code == reasons.OPTED_OUT and world.versions() == {"1.0.0": 5}


@pytest.mark.requirement("O19")
def test_the_first_delay_runs_from_the_first_opt_in_and_counts_once() -> None:
    world = a_set("1.0.0", replicas=2, timing=Timing(first_trigger_delay=timedelta(hours=3)))
    opted_in = world.status.first_enabled_time
    assert opted_in is not None
    first = start.due_time(world.view(), "1.1.0", opted_in)
    assert timedelta(0) < first - opted_in < timedelta(hours=3)
    later = opted_in + timedelta(days=1)
    assert start.due_time(world.view(), "1.1.0", later) == later
    world.publish("1.1.0").run(timedelta(hours=4))
    assert world.only_upgrade().created == first


def test_a_model_upgrade_that_a_user_cancelled_waits_for_another_model_or_a_start_by_hand() -> None:
    world = a_set(replicas=10, os_policy=OFF)
    world.change_model("m2")
    world.run(until=in_batch(1))
    world.cancel(world.only_upgrade(UpgradeType.MODEL).name)
    world.run(timedelta(days=1))
    assert world.on("m2") == {0, 5} and world.condition("Stalled").reason == "ModelUpgradeCancelled"
    world.start_upgrade("rest", UpgradeType.MODEL)
    world.run()
    assert world.on("m2") == set(range(10)) and world.condition("Stalled").status is False


def test_a_version_that_failed_is_forgiven_once_it_was_brought_by_hand() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0").run()
    world.bad.clear()
    world.start_upgrade("half")
    world.run(until=lambda w: w.status.current_upgrade == "half" and w.on("1.1.0"))
    world.cancel("half")
    world.run()
    assert world.status.faulted_os_versions == ("1.1.0",)
    world.start_upgrade("all")
    world.run()
    assert world.status.faulted_os_versions == () and world.versions() == {"1.1.0": 5}


@pytest.mark.requirement("O22")
def test_the_history_is_kept_per_type() -> None:
    world = a_set("1.0.0", replicas=1)
    for number in range(1, 8):
        world.publish(f"1.{number}.0").run(timedelta(hours=1))
        world.change_model(f"m{number + 1}")
        world.run(timedelta(hours=1))
    assert len(world.upgrades) == 10


def test_named_instances_are_not_brought_to_an_older_version() -> None:
    world = a_set("1.0.0", replicas=3, mode=UpgradeMode.MANUAL).publish("1.1.0").run()
    world.exclude("1.1.0")
    world.change_model("m2")
    world.start_upgrade("one", UpgradeType.MODEL, "web-1")
    world.run()
    assert world.pods[1].release == Release("1.1.0", "m2")


def test_a_new_instance_follows_a_version_that_was_pinned_during_an_upgrade() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.change_model("m2", version="1.0.0")
    world.replicas = 12
    world.turn()
    assert world.pods[10].release == world.pods[11].release == Release("1.0.0", "m2")
