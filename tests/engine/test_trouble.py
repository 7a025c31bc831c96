"""Trouble on the way: refused templates, full quotas, dying claims, lost nodes, vanished images (docs/rules.md)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.world import IMAGE, MINUTE, SECOND, World, a_set, in_batch
from scalesets.engine import checks, reasons
from scalesets.engine.view import (
    Batch,
    Code,
    Model,
    ModelExtension,
    OSUpgradePolicy,
    RollingPolicy,
    TroubleKind,
    Upgrade,
    UpgradeMode,
    UpgradeType,
)

OFF = OSUpgradePolicy(enabled=False)


def test_a_refused_template_touches_nothing_and_says_so() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.refused.add("m1")
    world.run(timedelta(minutes=5))
    assert world.status_of().waiting == "TemplateRefused" and not world.status_of().batches
    assert world.versions() == {"1.0.0": 5}
    assert world.condition("TemplateRefused").message == "spec.x: Invalid value"
    told = [e for _, e in world.events if e.reason == "TemplateRefused"]
    assert [e.message for e in told] == ["spec.x: Invalid value"], "once, in the server's words"
    world.refused.clear()
    world.run()
    assert world.versions() == {"1.1.0": 5}


def test_an_instance_whose_claim_is_being_deleted_is_never_taken_down() -> None:
    world = a_set("1.0.0", replicas=10)
    world.claims_deleting = {4}
    uid = world.pods[4].uid
    world.publish("1.1.0").run()
    assert world.pods[4].uid == uid and world.status_of().code is Code.COMPLETED


# -- a template that the server refuses ------------------------------------------------------------------------------


def test_mending_a_template_that_came_to_be_refused_lets_the_upgrade_start_anew() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=lambda w: len(w.on("1.1.0")) == 4)
    world.refused.add("m1")
    world.run(timedelta(minutes=10))
    assert world.status_of().waiting == "TemplateRefused"
    world.change_model("m2")
    world.run()
    first = min(world.upgrades.values(), key=lambda u: u.created)
    assert first.status is not None and first.status.error_code == reasons.SUPERSEDED
    assert world.versions() == {"1.1.0": 10} and world.on("m2") == set(range(10))


@pytest.mark.parametrize("mode", [UpgradeMode.AUTOMATIC, UpgradeMode.ROLLING])
def test_a_refused_model_touches_nothing_in_any_mode_and_stalls_the_set(mode: UpgradeMode) -> None:
    world = a_set(replicas=5, os_policy=OFF, mode=mode)
    world.refused.add("m2")
    world.change_model("m2")
    world.run(timedelta(minutes=30))
    assert world.on("m1") == set(range(5)) and world.all_ready()
    assert world.condition("Stalled").reason == "TemplateRefused"
    assert world.condition("Reconciling").status is False
    world.change_model("m3")
    world.run()
    assert world.on("m3") == set(range(5)) and world.condition("Stalled").status is False


# -- a claim that is being deleted ------------------------------------------------------------------------------------


def test_a_claim_that_is_deleted_after_its_batch_was_written_keeps_its_pod_up() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.watchers.append(lambda w: w.delete_claim(5) if in_batch(1)(w) and not w.claims_deleting else None)
    uid, disk = world.pods[5].uid, world.claims[5]
    world.run()
    status = world.status_of()
    assert world.pods[5].uid == uid and world.claims[5] == disk
    assert status.code is Code.COMPLETED and status.skipped == frozenset({5}) and 5 not in status.scope
    assert world.versions() == {"1.0.0": 1, "1.1.0": 19}


def test_a_lost_pod_whose_claim_is_being_deleted_is_left_for_its_user() -> None:
    world = a_set(replicas=3, os_policy=OFF)
    world.delete_claim(1)
    world.end(1)
    world.run()
    assert world.pods[1].lost and "web-{1}" in world.condition("InstancesLeftOut").message
    world.kill(1)
    world.run()
    assert world.all_ready()


def test_failed_instances_with_a_dying_claim_are_not_put_back() -> None:
    policy = RollingPolicy(roll_back_on_breach=True, health_timeout=timedelta(seconds=10))
    world = a_set(replicas=20, os_policy=OFF, policy=policy, bad={"m2"})
    world.change_model("m2")
    world.run(until=lambda w: w.on("m2") == {0, 5, 10, 15})
    world.delete_claim(5)
    world.run()
    assert world.on("m2") == {5} and 5 in world.claims
    assert world.status_of(kind=UpgradeType.MODEL).code is Code.FAULTED


def test_an_instance_with_a_dying_claim_does_not_hold_up_a_new_model() -> None:
    world = a_set(replicas=3, os_policy=OFF)
    world.delete_claim(1)
    world.change_model("m2")
    world.run()
    assert world.on("m1") == {1} and world.condition("Ready").status is True


# -- the API server, a quota, the catalogue ---------------------------------------------------------------------------


def test_a_full_quota_is_not_held_against_the_version_and_it_starts_again() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.quota_full = True
    world.run(timedelta(minutes=10))
    status = world.status_of()
    assert status.code is Code.FAULTED and status.error_code == checks.NOT_CREATED
    assert "quota" in status.error
    assert world.status.faulted_os_versions == ()
    world.quota_full = False
    world.run()
    assert world.versions() == {"1.1.0": 10} and world.all_ready()


def test_a_quota_that_frees_up_before_the_put_back_is_not_held_against_the_version_either() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.quota_full = True
    world.run(until=lambda w: w.status_of().code is Code.ROLLING_BACK)
    world.quota_full = False
    world.run(until=lambda w: w.only_upgrade().finished)
    assert world.status_of().error_code == checks.NOT_CREATED and world.all_ready()
    world.run()
    assert world.versions() == {"1.1.0": 10}


def test_a_model_upgrade_that_met_a_full_quota_is_tried_again() -> None:
    world = a_set(replicas=10, os_policy=OFF)
    world.change_model("m2")
    world.run(until=in_batch(1))
    world.quota_full = True
    world.run(until=lambda w: w.only_upgrade(UpgradeType.MODEL).finished)
    assert world.condition("Stalled").status is False
    world.quota_full = False
    world.run()
    assert world.on("m2") == set(range(10)) and world.all_ready()


def test_trouble_with_one_instance_does_not_hold_the_put_back_of_another() -> None:
    world = a_set("1.0.0", replicas=10, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=in_batch(1))
    world.run(until=lambda w: 0 in w.on("1.1.0") and 5 in w.on("1.1.0"))
    world.quota_full = True
    world.kill(0)
    world.run(MINUTE)
    assert 5 in world.status_of().batches[0].rolled_back


def test_a_catalogue_that_vanishes_touches_nothing_more_and_loses_nobody() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(2))
    world.images[IMAGE].exists = False
    world.run(timedelta(minutes=30))
    assert world.only_upgrade().finished and len(world.on("1.0.0")) >= 6
    assert world.condition("AutomaticOSUpgradeEligible").reason == "ImageNotFound"
    world.images[IMAGE].exists = True
    world.run()
    assert world.versions() == {"1.1.0": 10} and world.all_ready()


@pytest.mark.parametrize("mode", list(UpgradeMode))
def test_a_model_is_not_applied_while_its_image_is_not_in_the_catalogue(mode: UpgradeMode) -> None:
    world = a_set(replicas=5, os_policy=OFF, mode=mode)
    world.images[IMAGE].exists = False
    world.change_model("m2")
    world.start_upgrade("by-hand", UpgradeType.MODEL)
    world.run(timedelta(minutes=10))
    assert world.on("m1") == set(range(5)) and world.all_ready()
    world.images[IMAGE].exists = True
    world.run()
    assert world.on("m2") == set(range(5))


def test_an_extension_without_a_version_is_said_and_nothing_is_tried_in_vain() -> None:
    world = a_set("1.0.0", replicas=3).publish("1.1.0")
    world.run()
    health = ModelExtension("health", "team/health", "1.0")
    world.change_model("m2", extensions=(health,))
    world.publish("1.2.0").run()
    assert not [u for u in world.upgrades.values() if u.status is None or u.status.target.image_version != "1.1.0"]
    assert world.condition("Reconciling").status is True
    assert world.condition("Progressing").reason == "ExtensionNotFound"
    why = "extension health: no version of team/health for typeHandlerVersion 1.0 is published, available"
    assert why in world.condition("Progressing").message
    world.publish_extension("team/health", "1.0.4").run()
    assert {p.release.extensions for p in world.pods.values()} == {(("health", "1.0.4"),)}
    assert world.versions() == {"1.2.0": 3}


def test_a_withdrawn_extension_version_does_not_hold_up_those_that_have_it() -> None:
    health = ModelExtension("health", "team/health", "1.0")
    world = World(replicas=3, model=Model("m1", "c1", IMAGE, extensions=(health,))).publish("1.0.0")
    world.publish_extension("team/health", "1.0.4").run()
    world.withdraw_extension("team/health", "1.0.4")
    world.publish("1.1.0").run()
    assert world.versions() == {"1.1.0": 3}
    assert {p.release.extensions for p in world.pods.values()} == {(("health", "1.0.4"),)}


# -- lost nodes -------------------------------------------------------------------------------------------------------


def stuck_in_a_batch(**fields: object) -> World:
    world = a_set("1.0.0", replicas=20, **fields).publish("1.1.0")
    world.start_upgrade("now")
    world.run(until=lambda w: w.pods.get(0) is not None and w.pods[0].deleting_since)
    world.hang(0)
    return world


def test_the_batch_goes_on_when_a_pod_has_not_ended_by_its_time() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=lambda w: w.pods.get(0) is not None and w.pods[0].deleting_since)
    world.hang(0)
    world.run()
    batch = world.status_of().batches[0]
    assert batch.completed is not None
    # the time for a pod to come, its own grace, and no second wait for one that never left
    assert batch.completed - batch.start <= world.policy.provisioning_timeout + 15 * SECOND
    assert batch.roll_back_failed == frozenset({0})


def test_after_a_manual_start_too_it_returns_at_its_former_version() -> None:
    world = stuck_in_a_batch(os_policy=OFF)
    world.run()
    world.kill(0)
    world.run()
    assert world.pods[0].release.image_version == "1.0.0"


def test_trouble_that_nobody_has_any_more_is_not_told_for_ever() -> None:
    world = a_set("1.0.0", replicas=5, missing_secrets="Secret team-a/health-keys is missing").publish("1.1.0")
    world.run(MINUTE)
    assert world.condition("ExternalResources").message
    world.os_policy = OFF
    world.run(timedelta(hours=1))
    assert not [c for c in world.status.conditions if c.type == "ExternalResources"]


def test_a_failed_instance_with_a_dying_claim_is_left_up_and_said_so() -> None:
    world = a_set("1.0.0", replicas=10, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=lambda w: w.on("1.1.0") == {0, 5})
    world.delete_claim(5)
    world.run()
    status = world.status_of()
    assert world.on("1.1.0") == {5} and status.roll_back_failed == 1
    assert "web-5 was left up: a claim of it is being deleted" in status.roll_back_error


def test_an_adopted_pod_that_never_ends_returns_at_its_former_version_too() -> None:
    world = a_set("1.0.0", replicas=9, update_domains=9)
    world.kill(6, at_once=False)
    world.hang(6)
    world.recreate(orphans=True)
    world.publish("1.1.0").run(until=lambda w: any(6 in b.failed for u in w.upgrades.values() for b in batches_of(u)))
    world.run(until=in_batch(8))
    world.kill(6)
    world.run(until=lambda w: 6 in w.pods)
    assert world.pods[6].release.image_version == "1.0.0"


def batches_of(upgrade: Upgrade) -> tuple[Batch, ...]:
    return upgrade.status.batches if upgrade.status is not None else ()


def test_trouble_with_an_instance_does_not_hold_the_batches_of_others() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.troubles.note(TroubleKind.QUOTA, "exceeded quota", world.now, ordinal=9, wait=timedelta(hours=1))
    world.run(MINUTE)
    assert len(world.on("1.1.0")) >= 8 and len(world.status_of().batches) == 5


def test_a_template_refused_meanwhile_does_not_excuse_a_version_whose_pods_came() -> None:
    world = a_set("1.0.0", replicas=10, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=lambda w: w.on("1.1.0") == {0, 5})
    world.troubles.note(
        TroubleKind.TEMPLATE_REFUSED, "spec.x: Invalid value", world.now, model="m1", wait=timedelta(minutes=5)
    )
    world.run(until=lambda w: w.only_upgrade().finished and not w.status.current_upgrade)
    assert world.status_of().error_code == checks.UPGRADED
    assert world.status.faulted_os_versions == ("1.1.0",)


def test_the_error_names_what_kept_the_pods_from_coming_and_nothing_else() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.quota_full = True
    world.troubles.note(
        TroubleKind.TEMPLATE_REFUSED, "another model's", world.now, model="other", wait=timedelta(hours=1)
    )
    world.run(until=lambda w: w.only_upgrade().finished)
    assert "exceeded quota" in world.status_of().error and "another" not in world.status_of().error


def test_another_models_refusal_does_not_end_an_upgrade() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.change_model("m2")
    world.troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", world.now, model="m2", wait=MINUTE)
    world.run(until=lambda w: w.only_upgrade().finished)
    assert world.status_of().code is Code.COMPLETED


def test_a_model_upgrade_that_met_a_full_quota_waits_longer_each_time() -> None:
    world = a_set(replicas=10, os_policy=OFF)
    world.change_model("m2")
    waits = []
    for _ in range(3):
        world.run(until=lambda w: w.status.current_upgrade)
        started = world.now
        world.quota_full = True
        world.run(until=lambda w: not w.status.current_upgrade)
        last = world.status.last_model_upgrade
        assert last is not None and last.retry_delay is not None and last.completed > started
        waits.append(last.retry_delay)
        world.quota_full = False
        world.run(until=lambda w: w.status.current_upgrade)
        assert world.now - last.completed >= last.retry_delay
    assert waits == [MINUTE, 2 * MINUTE, 4 * MINUTE]
