"""Deferred OS upgrades wait for approval, instance by instance (docs/rules.md, "When upgrades start")."""

from __future__ import annotations

import pytest

from engine.world import World, a_set, in_batch
from scalesets.engine.view import Code, OSUpgradePolicy, UpgradeType

DEFERRED = OSUpgradePolicy(enabled=True, deferral=True)


def waiting_world() -> World:
    return a_set("1.0.0", replicas=10, os_policy=DEFERRED).publish("1.1.0").run()


def test_it_exists_unstarted_and_due_pods_are_marked() -> None:
    world = waiting_world()
    upgrade = world.only_upgrade()
    assert upgrade.status is not None and upgrade.status.waiting == "WaitingForApproval"
    assert not upgrade.status.batches and world.status.current_upgrade == ""
    assert {p.pending for p in world.pods.values()} == {"1.1.0"}
    assert world.condition("Progressing").reason == "WaitingForApproval"


def test_only_approved_instances_form_batches() -> None:
    world = waiting_world()
    world.approve(world.only_upgrade().name, "web-2", "web-7")
    world.run()
    assert {o for o, p in world.pods.items() if p.release.image_version == "1.1.0"} == {2, 7}
    assert world.pods[2].pending == "" and world.pods[3].pending == "1.1.0"
    world.approve(world.only_upgrade().name, "*")
    world.run()
    upgrade = world.only_upgrade()
    assert upgrade.status is not None and upgrade.status.code is Code.COMPLETED and world.versions() == {"1.1.0": 10}


def test_a_newer_version_retargets_it_and_clears_approvals_before_its_first_batch() -> None:
    world = waiting_world()
    world.publish("1.2.0")
    world.upgrades[world.only_upgrade().name] = world.only_upgrade()
    world.run()
    upgrade = world.only_upgrade()
    assert upgrade.status is not None and upgrade.status.target.image_version == "1.2.0"
    assert upgrade.approved == frozenset()
    assert {p.pending for p in world.pods.values()} == {"1.2.0"}


def test_it_holds_nobody_up_while_it_waits() -> None:
    world = waiting_world()
    world.change_model("m2")
    world.run()
    assert {p.release.model for p in world.pods.values()} == {"m2"}
    world.approve(world.only_upgrade().name, "*")
    world.run()
    assert {(p.release.model, p.release.image_version) for p in world.pods.values()} == {("m2", "1.1.0")}


def test_opting_out_ends_it_at_once_and_takes_the_marks_away() -> None:
    world = waiting_world()
    world.os_policy = OSUpgradePolicy(enabled=False)
    world.run()
    upgrade = world.only_upgrade()
    assert upgrade.status is not None and upgrade.status.code is Code.CANCELLED
    assert {p.pending for p in world.pods.values()} == {""}


def test_it_ends_when_its_instances_reach_the_target_by_another_way() -> None:
    world = waiting_world()
    deferred = world.only_upgrade().name
    world.start_upgrade("now")
    world.run()
    upgrade = world.upgrades[deferred]
    assert world.versions() == {"1.1.0": 10}
    assert upgrade.status is not None and upgrade.status.code is Code.COMPLETED and not upgrade.status.scope


def test_between_approvals_a_new_model_takes_its_turn_and_is_not_undone() -> None:
    world = waiting_world()
    name = world.only_upgrade().name
    world.approve(name, "web-2")
    world.run()
    world.change_model("m2")
    world.run()
    assert world.on("m2") == set(range(10))
    world.os_policy = OSUpgradePolicy(enabled=True)  # no more deferral: the rest goes on by itself
    world.run()
    assert world.on("m2") == set(range(10)) and world.on("1.1.0") == set(range(10))
    assert sum(u.type is UpgradeType.MODEL for u in world.upgrades.values()) == 1


def test_between_approvals_another_image_ends_it() -> None:
    world = waiting_world()
    name = world.only_upgrade().name
    world.approve(name, "web-2")
    world.run()
    world.publish("7.0.0", image="other")
    world.change_model("m2", image="other")
    world.run()
    assert world.versions() == {"7.0.0": 10}
    world.approve(name, "*")
    world.run()
    assert world.versions() == {"7.0.0": 10}
    status = world.upgrades[name].status
    assert status is not None and status.code is Code.CANCELLED


def test_switched_on_in_the_middle_it_waits_after_the_batch() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(2))
    world.os_policy = DEFERRED
    world.run()
    assert world.status_of().waiting == "WaitingForApproval" and len(world.on("1.1.0")) == 4
    assert {o for o, p in world.pods.items() if p.pending} == world.on("1.0.0")
    world.os_policy = OSUpgradePolicy(enabled=True)
    world.run()
    assert world.versions() == {"1.1.0": 10} and {p.pending for p in world.pods.values()} == {""}


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_crash_while_it_falls_back_to_waiting_leaves_it_waiting(steps: int) -> None:
    world = waiting_world()
    world.approve(world.only_upgrade().name, "web-2")
    world.run(until=lambda w: w.on("1.1.0") == {2} and w.all_ready())
    world.turn(crash_after=steps)
    world.restart()
    world.run()
    assert world.status_of().waiting == "WaitingForApproval"
    assert {o for o, p in world.pods.items() if p.pending} == set(range(10)) - {2}


def test_external_resources_are_looked_at_again_when_it_starts() -> None:
    world = waiting_world()
    world.missing_secrets = "Secret team-a/health-keys is expired"
    world.approve(world.only_upgrade().name, "*")
    world.run()
    assert world.versions() == {"1.0.0": 10}
    assert world.condition("AutomaticOSUpgradeEligible").reason == "ExternalResourceMissing"


def test_no_deferred_upgrade_lowers_a_version() -> None:
    world = waiting_world()
    name = world.only_upgrade().name
    world.approve(name, "web-0")
    world.run()
    world.publish("1.2.0")
    world.start_upgrade("cure", UpgradeType.MODEL, "web-1")
    world.run()
    world.approve(name, "*")
    world.run()
    assert world.pods[1].release.image_version == "1.2.0"


def test_a_version_published_between_approval_and_first_batch_needs_an_approval_of_its_own() -> None:
    world = waiting_world()
    world.approve(world.only_upgrade().name, "*")
    world.run(until=lambda w: w.status.current_upgrade)
    world.publish("1.2.0").run()
    assert world.versions() == {"1.0.0": 10} and world.only_upgrade().approved == frozenset()
    assert world.status_of().target.image_version == "1.2.0" and world.status_of().waiting == "WaitingForApproval"
    world.approve(world.only_upgrade().name, "*")
    world.run()
    assert world.versions() == {"1.2.0": 10}
