"""Deferred OS upgrades wait for approval, instance by instance (docs/rules.md, "When upgrades start")."""

from __future__ import annotations

from engine.world import World, a_set
from scalesets.engine.view import Code, OSUpgradePolicy

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
