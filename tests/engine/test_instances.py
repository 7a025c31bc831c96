"""Instances are kept there: scale out and in, losses, conflicts (docs/rules.md, "Trouble")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import FIRST_MODEL, MINUTE, World, a_set, in_batch
from scalesets.engine import releases
from scalesets.engine.decide import decide
from scalesets.engine.decision import CreateInstance, DeleteClaims, DeleteInstance
from scalesets.engine.view import BatchOutcome, Code, OSUpgradePolicy, Release, RollingPolicy, TroubleKind

OFF = OSUpgradePolicy(enabled=False)


def test_a_new_set_gets_its_instances_on_the_latest_version() -> None:
    world = World(replicas=3, os_policy=OFF).publish("1.0.0").publish("1.1.0").run()
    assert world.versions() == {"1.1.0": 3} and world.condition("Ready").status is True


def test_scale_in_takes_the_highest_ordinals() -> None:
    world = a_set(replicas=6, os_policy=OFF)
    world.replicas = 4
    world.run()
    assert set(world.pods) == {0, 1, 2, 3} and set(world.status.record) == {0, 1, 2, 3}


def test_claims_of_a_scaled_in_instance_go_only_after_its_pod() -> None:
    world = a_set(replicas=3, os_policy=OFF)
    world.replicas = 2
    view = replace(world.view(), delete_claims_when_scaled=True, spare_claims=frozenset({2}))
    assert DeleteClaims(2) not in decide(view, world.now).actions
    del world.pods[2]
    view = replace(world.view(), delete_claims_when_scaled=True, spare_claims=frozenset({2}))
    assert DeleteClaims(2) in decide(view, world.now).actions


def test_a_lost_instance_comes_back_at_its_own_version() -> None:
    world = a_set("1.0.0", replicas=3, os_policy=OFF).publish("1.1.0")
    world.kill(1)
    world.run()
    assert world.versions() == {"1.0.0": 3}


def test_a_pod_that_keeps_ending_is_made_again_with_back_off() -> None:
    world = a_set(replicas=1, os_policy=OFF)
    waits = []
    for _ in range(4):
        world.end(0)
        uid, ended = world.pods[0].uid, world.now
        world.run(until=lambda w, uid=uid: 0 not in w.pods or w.pods[0].uid != uid)
        waits.append((world.now - ended - world.stop).total_seconds())
        world.run(until=World.all_ready)
    assert waits == [1, 2, 4, 8]


def test_a_terminating_pod_is_left_alone() -> None:
    world = a_set(replicas=2, os_policy=OFF)
    world.kill(0, at_once=False)
    world.pods[0].gone_at = None
    world.run(timedelta(days=1))
    assert not any(isinstance(a, DeleteInstance | CreateInstance) for a in decide(world.view(), world.now).actions)


def test_a_set_that_is_being_deleted_creates_nothing_and_lets_go_of_upgrades() -> None:
    world = a_set(replicas=5).publish("1.1.0")
    world.run(until=lambda w: w.upgrades and w.only_upgrade().status is not None)
    world.deleting = True
    world.pods.clear()
    world.run()
    assert not world.pods and not any(u.held for u in world.upgrades.values())


@pytest.mark.parametrize("kind", [TroubleKind.NAME_CONFLICT, TroubleKind.CLAIM_CONFLICT, TroubleKind.QUOTA])
def test_trouble_holds_one_instance_and_is_said(kind: TroubleKind) -> None:
    world = a_set(replicas=2, os_policy=OFF)
    world.kill(0)
    world.kill(1)
    world.troubles.note(kind, "the server's words", world.now, ordinal=1)
    world.turn()
    assert set(world.pods) == {0}
    assert world.condition(kind.value).message == "the server's words"
    world.troubles.clear(kind, ordinal=1)
    world.run()
    assert world.all_ready() and not any(c.type == kind.value for c in world.status.conditions)


def test_a_drop_of_replicas_that_nobody_owns_does_not_scale_in() -> None:
    world = a_set(replicas=8, os_policy=OFF)
    world.replicas, world.replicas_owned = 1, False
    world.run()
    assert len(world.pods) == 8 and world.condition("ReplicasUnowned").status is True
    world.replicas_owned = True
    world.run()
    assert len(world.pods) == 1


def test_a_set_without_image_waits_and_says_so() -> None:
    world = World(replicas=2, os_policy=OFF).run()
    assert not world.pods and world.condition("Reconciling").reason == "NoVersionAvailable"
    world.publish("1.0.0").run()
    assert world.all_ready()


def test_a_quiet_set_is_not_written() -> None:
    world = a_set(replicas=5).publish("1.1.0").run()
    before = world.writes
    world.run(timedelta(days=3))
    assert world.writes == before


def test_replicas_that_nobody_owns_do_not_scale_in_instances_that_are_still_coming_up() -> None:
    world = World(replicas=8, os_policy=OFF).publish("1.0.0")
    world.run(until=lambda w: len(w.pods) == 8)
    world.replicas, world.replicas_owned = 1, False
    world.run()
    assert len(world.pods) == 8 and world.condition("ReplicasUnowned").status is True


def test_a_stuck_instance_counts_as_what_it_comes_back_as() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=lambda w: 0 in w.on("1.1.0"))
    world.break_instance(0)
    world.run(until=lambda w: w.status_of().code is Code.ROLLING_BACK)
    world.turn()
    world.hang(0)
    world.run(until=lambda w: w.only_upgrade().finished)
    world.run(MINUTE)
    world.publish("1.2.0")
    world.run(until=lambda w: len(w.upgrades) == 2 and all(u.status for u in w.upgrades.values()))
    newest = max(world.upgrades.values(), key=lambda u: u.created)
    assert newest.status is not None and 0 in newest.status.scope
    assert newest.status.batches[0].members[0].image_version == "1.0.0"


def test_a_set_that_was_made_again_is_not_taken_over_by_upgrades_of_the_old_one() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(2))
    name = world.only_upgrade().name
    world.recreate()
    world.models.pop("m1")
    world.change_model("n1")
    world.run()
    old = world.upgrades[name]
    assert old.status is not None and old.status.code is Code.CANCELLED and not old.held
    assert world.all_ready() and world.versions() == {"1.1.0": 10} and world.on("n1") == set(range(10))


def test_a_set_that_adopts_the_pods_of_the_old_one_keeps_them() -> None:
    world = a_set("1.0.0", replicas=10, os_policy=OFF).publish("1.1.0")
    uids = {o: p.uid for o, p in world.pods.items()}
    world.recreate(orphans=True)
    world.run()
    assert {o: p.uid for o, p in world.pods.items()} == uids


def test_an_instance_whose_model_is_not_kept_any_more_comes_back_on_the_current_one() -> None:
    view = a_set("1.0.0", replicas=1).view()
    old = Release("1.0.0", "m0", (("health", "1.0.0"),))
    assert releases.for_lost_instance(view, old) == replace(old, model="m1")
    assert releases.for_lost_instance(replace(view, model=None), old) == old
    kept = Release("0.9.0", "m1")
    assert releases.for_lost_instance(view, kept) == kept


def test_an_upgrade_between_its_batches_is_let_go_with_the_set_that_it_was_made_for() -> None:
    policy = RollingPolicy(pause=MINUTE)
    world = a_set("1.0.0", replicas=5, policy=policy, os_policy=OSUpgradePolicy(enabled=True, use_rolling_policy=True))
    world.publish("1.1.0").run(until=lambda w: w.upgrades and w.only_upgrade().status and w.status_of().waiting)
    world.recreate()
    world.run(MINUTE)
    old = min(world.upgrades.values(), key=lambda u: u.created).status
    assert old is not None and old.code is Code.CANCELLED and len(old.batches) == 1
    assert old.batches[0].outcome is BatchOutcome.SUCCEEDED and old.progress.successful == 1


def test_another_models_refusal_holds_nobody_back() -> None:
    world = a_set(replicas=2, os_policy=OFF)
    world.troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", world.now, model="other", wait=timedelta(hours=1))
    world.kill(0)
    world.turn()
    assert 0 in world.pods


def test_several_troubles_hold_an_instance_until_the_last_is_over() -> None:
    world = a_set(replicas=2, os_policy=OFF)
    world.kill(0)
    world.troubles.note(TroubleKind.QUOTA, "full", world.now, ordinal=0, wait=timedelta(minutes=1))
    world.troubles.note(TroubleKind.CLAIM_CONFLICT, "foreign", world.now, ordinal=0, wait=timedelta(minutes=3))
    begun = world.now
    world.run(until=lambda w: 0 in w.pods)
    assert world.now - begun == timedelta(minutes=3)


def test_a_pod_that_ended_unseen_is_cleared_away_at_once() -> None:
    world = a_set(replicas=2, os_policy=OFF)
    world.end(0)
    world.losses.clear()
    world.turn()
    assert world.pods[0].deleting_since == world.now


def test_a_version_by_name_that_is_not_there_is_said() -> None:
    model = replace(FIRST_MODEL, version="9.9.9")
    world = World(replicas=2, os_policy=OFF, model=model).publish("1.0.0").run()
    told = world.condition("Reconciling")
    assert not world.pods and told.reason == "ImageNotFound" and "has no version 9.9.9" in told.message
    world.publish("9.9.9").run()
    assert world.all_ready()
