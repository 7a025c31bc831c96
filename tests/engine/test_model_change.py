"""What a change of the model does to existing instances, in the three modes (O14, O20, docs/rules.md "The model")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import IMAGE, World, a_set, in_batch
from scalesets.engine import checks, reasons
from scalesets.engine.view import (
    Code,
    Model,
    ModelExtension,
    OSUpgradePolicy,
    RollingPolicy,
    StartedBy,
    UpgradeMode,
    UpgradeType,
)

OFF = OSUpgradePolicy(enabled=False)
MODEL = UpgradeType.MODEL


def models(world: World) -> set[str]:
    return {p.release.model for p in world.pods.values()}


@pytest.mark.requirement("O20")
def test_rolling_mode_makes_an_upgrade_in_batches() -> None:
    world = a_set(replicas=20, os_policy=OFF)
    world.change_model("m2")
    world.run()
    upgrade = world.only_upgrade(MODEL)
    assert upgrade.started_by is StartedBy.PLATFORM and upgrade.status is not None
    assert [len(b.members) for b in upgrade.status.batches] == [4] * 5
    assert models(world) == {"m2"} and world.versions() == {"1.0.0": 20}
    assert world.condition("Ready").status is True


@pytest.mark.requirement("O20")
def test_automatic_mode_replaces_all_at_once_without_an_upgrade() -> None:
    world = a_set(replicas=20, os_policy=OFF, mode=UpgradeMode.AUTOMATIC)
    world.change_model("m2")
    started = world.now
    world.run(until=lambda w: models(w) == {"m2"} and w.all_ready())
    assert not world.upgrades and world.now - started <= timedelta(seconds=5)


@pytest.mark.requirement("O20")
def test_manual_mode_waits_for_update_instances() -> None:
    world = a_set(replicas=5, os_policy=OFF, mode=UpgradeMode.MANUAL)
    world.change_model("m2")
    world.run()
    assert models(world) == {"m1"} and world.condition("Ready").status is True
    world.start_upgrade("two", MODEL, "web-0", "web-3")
    world.run()
    assert {o for o, p in world.pods.items() if p.release.model == "m2"} == {0, 3}
    world.start_upgrade("rest", MODEL)
    world.run()
    assert models(world) == {"m2"}


@pytest.mark.requirement("O20")
def test_mode_and_automatic_upgrade_are_separate() -> None:
    world = a_set(replicas=5, mode=UpgradeMode.MANUAL).publish("1.1.0").run()
    assert world.versions() == {"1.1.0": 5}


def test_flags_alone_are_a_label_patch_without_restart() -> None:
    world = a_set(replicas=5, os_policy=OFF)
    uids = {o: p.uid for o, p in world.pods.items()}
    world.change_model("m2", content="c1", automatic_os_upgrade=True)
    world.run()
    assert models(world) == {"m2"} and {o: p.uid for o, p in world.pods.items()} == uids
    assert not world.upgrades


@pytest.mark.requirement("O14")
def test_a_sku_change_is_a_model_change_to_the_latest_of_the_new_sku() -> None:
    world = a_set("16.4.0", replicas=5, os_policy=OFF)
    world.change_model("m2", version="18.4.0")
    world.publish("18.4.0").run()
    assert world.versions() == {"18.4.0": 5}


def test_pinning_an_older_version_is_an_explicit_change_that_may_lower() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0").run()
    world.change_model("m2", version="1.0.0")
    world.run()
    assert world.versions() == {"1.0.0": 5}


def test_a_model_change_during_a_model_upgrade_supersedes_it_after_its_batch() -> None:
    world = a_set(replicas=10, os_policy=OFF)
    world.change_model("m2")
    world.run(until=lambda w: w.upgrades and w.only_upgrade(MODEL).status is not None)
    world.change_model("m3")
    world.run()
    first, second = sorted(world.upgrades.values(), key=lambda u: u.created)
    assert first.status is not None and first.status.error_code == reasons.SUPERSEDED
    assert second.status is not None and second.status.code is Code.COMPLETED
    assert models(world) == {"m3"}


def test_a_bad_model_faults_stays_and_stalls_the_set() -> None:
    world = a_set(replicas=20, os_policy=OFF, bad={"m2"})
    world.change_model("m2")
    world.run()
    status = world.only_upgrade(MODEL).status
    assert status is not None and status.error_code == checks.UPGRADED and status.rolled_back == 0
    assert world.condition("Stalled").reason == "ModelUpgradeFaulted"
    assert sum(p.release.model == "m2" for p in world.pods.values()) == 4
    world.change_model("m3")
    world.run()
    assert models(world) == {"m3"} and world.condition("Stalled").status is False


def test_on_a_breach_all_failed_ones_go_back_if_the_policy_says_so() -> None:
    policy = RollingPolicy(
        roll_back_on_breach=True, max_unhealthy_upgraded_percent=30, health_timeout=timedelta(seconds=10)
    )
    world = a_set(replicas=20, os_policy=OFF, policy=policy)
    world.change_model("m2")
    world.run(
        until=lambda w: w.upgrades and w.only_upgrade(MODEL).status and len(w.only_upgrade(MODEL).status.batches) == 2
    )
    world.bad.add("m2")
    world.run()
    status = world.only_upgrade(MODEL).status
    assert status is not None and status.code is Code.FAULTED and status.error_code == checks.UPGRADED
    assert status.rolled_back == 4 and world.all_ready()
    assert sum(p.release.model == "m2" for p in world.pods.values()) == 4  # the good batch stays


def test_unhealthy_instances_come_first_and_do_not_block() -> None:
    world = a_set(replicas=10, os_policy=OFF)
    for ordinal in (2, 5, 8, 9):
        world.break_instance(ordinal)
    world.change_model("m2")
    world.run()
    status = world.only_upgrade(MODEL).status
    assert status is not None and status.code is Code.COMPLETED
    assert set(status.batches[0].members) <= {2, 5, 8, 9}


@pytest.mark.requirement("O11")
def test_update_instances_cures_a_bad_old_version_that_blocks_the_fix() -> None:
    world = a_set("1.0.0", replicas=10)
    for ordinal in (1, 4, 7):
        world.break_instance(ordinal)
    world.publish("1.1.0").run()
    assert world.condition("Progressing").reason == "TooManyUnhealthy"
    world.start_upgrade("cure", MODEL, "web-1", "web-4", "web-7")
    world.run()
    assert world.versions() == {"1.1.0": 10} and world.all_ready()


def test_an_unknown_instance_is_refused_by_name() -> None:
    world = a_set(replicas=3)
    world.start_upgrade("odd", MODEL, "web-1", "web-9")
    world.run()
    status = world.upgrades["odd"].status
    assert status is not None and status.error_code == "InstanceNotFound" and "web-9" in status.error


def test_a_change_waits_for_its_image() -> None:
    world = a_set(replicas=3, os_policy=OFF)
    world.change_model("m2", image="other")
    world.run()
    assert models(world) == {"m1"} and world.condition("Ready").status is False
    world.change_model("m3", image=IMAGE)
    world.run()
    assert models(world) == {"m3"}


def test_protected_instances_do_not_hold_up_automatic_mode() -> None:
    world = a_set(replicas=3, os_policy=OFF, mode=UpgradeMode.AUTOMATIC, protected={1})
    world.change_model("m2")
    world.run()
    assert {o for o, p in world.pods.items() if p.release.model == "m1"} == {1}
    assert world.condition("Ready").status is True


def test_going_back_to_an_older_model_after_a_fault_is_a_change() -> None:
    world = a_set(replicas=5, os_policy=OFF, bad={"m2"})
    world.change_model("m2")
    world.run()
    world.model = replace(world.model, name="m1", content="c1")
    world.generation += 1
    world.run()
    assert models(world) == {"m1"} and world.all_ready()


def test_a_model_that_keeps_the_image_does_not_need_a_version_that_may_be_chosen() -> None:
    world = a_set("1.0.0", replicas=5, os_policy=OFF)
    world.exclude("1.0.0")
    world.change_model("m2")
    world.run()
    assert models(world) == {"m2"} and world.versions() == {"1.0.0": 5}


@pytest.mark.parametrize("mode", [UpgradeMode.MANUAL, UpgradeMode.AUTOMATIC])
def test_another_mode_ends_the_platforms_model_upgrade_after_its_batch(mode: UpgradeMode) -> None:
    world = a_set(replicas=10, os_policy=OFF)
    world.change_model("m2")
    world.run(until=in_batch(1))
    world.mode = mode
    world.run()
    status = world.status_of(kind=MODEL)
    assert status.code is Code.CANCELLED and status.error_code == reasons.MODE_CHANGED
    assert world.on("m2") == ({0, 5} if mode is UpgradeMode.MANUAL else set(range(10)))
    world.mode = UpgradeMode.ROLLING
    world.run()
    assert models(world) == {"m2"}


def test_what_a_user_started_goes_on_in_any_mode() -> None:
    world = a_set(replicas=10, os_policy=OFF, mode=UpgradeMode.MANUAL)
    world.change_model("m2")
    world.start_upgrade("all", MODEL)
    world.run(until=in_batch(1))
    world.mode = UpgradeMode.AUTOMATIC
    world.run()
    assert world.status_of("all").code is Code.COMPLETED and models(world) == {"m2"}


def test_flags_alone_brought_to_named_instances_restart_nothing() -> None:
    health = ModelExtension("health", "team/health", "1.0", auto_upgrade_minor_version=True)
    world = World(
        replicas=3, mode=UpgradeMode.MANUAL, os_policy=OFF, model=Model("m1", "c1", IMAGE, extensions=(health,))
    )
    world.publish("1.0.0").publish_extension("team/health", "1.0.0").run()
    world.publish_extension("team/health", "1.1.0")
    uids = {p.uid for p in world.pods.values()}
    world.change_model("m2", content="c1", automatic_os_upgrade=True)
    world.start_upgrade("all", MODEL)
    world.run()
    assert models(world) == {"m2"} and {p.uid for p in world.pods.values()} == uids


def test_named_instances_neither_stall_the_set_nor_set_a_stalled_one_going() -> None:
    world = a_set(replicas=20, os_policy=OFF, bad={"m2"})
    world.change_model("m2")
    world.run()
    world.bad.clear()
    world.start_upgrade("one", MODEL, "web-3")
    world.run()
    assert world.on("m2") == {0, 3, 5, 10, 15} and world.condition("Stalled").status is True
    world.start_upgrade("again", MODEL)
    world.run()
    assert models(world) == {"m2"} and world.condition("Stalled").status is False


def test_instances_that_go_back_after_a_breach_go_back_in_batches() -> None:
    policy = RollingPolicy(roll_back_on_breach=True, health_timeout=timedelta(seconds=10))
    world = a_set(replicas=20, os_policy=OFF, policy=policy, bad={"m2"})
    world.change_model("m2")
    world.run(until=in_batch(1))
    world.policy = replace(policy, max_batch_percent=10)
    world.run()
    sizes = [len(b.members) for b in world.status_of(kind=MODEL).batches]
    assert sizes == [4, 2, 2] and models(world) == {"m1"}


def test_a_bad_spec_stalls_the_set_and_a_missing_extension_does_not() -> None:
    world = a_set(replicas=3, os_policy=OFF)
    world.model_problem = ("NoOSContainer", "template.spec.containers: none is named os")
    world.run()
    assert world.condition("Stalled").reason == "NoOSContainer" and world.condition("Ready").status is False
    world.model_problem = ("ExtensionNotFound", "no Extension team/health")
    world.run()
    assert world.condition("Stalled").status is False
    assert world.condition("Reconciling").reason == "ExtensionNotFound"
    world.model_problem = ("", "")
    world.run()
    assert world.condition("Ready").status is True


def test_a_model_upgrade_does_not_depend_on_a_version_that_it_does_not_bring() -> None:
    world = a_set("1.0.0", replicas=10, os_policy=OFF).publish("1.1.0")
    world.change_model("m2")
    world.run(until=in_batch(2))
    world.exclude("1.1.0")
    world.run()
    assert world.status_of(kind=MODEL).code is Code.COMPLETED and models(world) == {"m2"}
    assert world.versions() == {"1.0.0": 10}


@pytest.mark.requirement("O14", "O20")
def test_another_image_waits_for_the_end_of_a_running_os_upgrade() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(2))
    world.publish("7.0.0", image="other")
    world.change_model("m2", image="other")
    world.run(until=lambda w: w.only_upgrade().finished)
    assert world.status_of().code is Code.COMPLETED and world.versions() == {"1.1.0": 10}
    world.run()
    assert world.versions() == {"7.0.0": 10}


@pytest.mark.parametrize(("version", "words"), [("latest", "no version"), ("9.9.9", "version 9.9.9")])
def test_a_users_upgrade_to_a_model_without_its_image_is_faulted_in_words(version: str, words: str) -> None:
    world = a_set("1.0.0", replicas=3, os_policy=OFF, mode=UpgradeMode.MANUAL)
    world.change_model("m2", image="other", version=version)
    world.start_upgrade("now", MODEL)
    world.run()
    status = world.status_of("now")
    assert (status.code, status.error_code) == (Code.FAULTED, "ImageNotFound") and status.error.startswith(words)


def test_batches_that_put_back_are_numbered_on() -> None:
    policy = RollingPolicy(roll_back_on_breach=True, health_timeout=timedelta(seconds=10))
    world = a_set(replicas=20, os_policy=OFF, policy=policy, bad={"m2"})
    world.change_model("m2")
    world.run()
    status = world.status_of(kind=MODEL)
    assert [b.number for b in status.batches] == [1, 2] and status.batches[1].rolled_back == {0, 5, 10, 15}


@pytest.mark.requirement("O14", "O24")
def test_a_manual_start_brings_another_image_also_if_its_number_is_lower() -> None:
    world = a_set("16.4.0", replicas=3, os_policy=OFF, mode=UpgradeMode.MANUAL)
    world.publish("7.0.0", image="other")
    world.change_model("m2", image="other")
    world.start_upgrade("now")
    world.run()
    assert world.versions() == {"7.0.0": 3} and models(world) == {"m2"}


@pytest.mark.requirement("O18")
def test_a_version_by_name_may_be_one_that_is_excluded_from_latest() -> None:
    world = a_set("1.0.0", replicas=5, os_policy=OFF).publish("1.1.0", excluded=True)
    world.change_model("m2", version="1.1.0")
    world.run()
    assert world.status_of(kind=MODEL).code is Code.COMPLETED and world.versions() == {"1.1.0": 5}
