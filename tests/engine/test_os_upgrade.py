"""Automatic OS image upgrades: which instances, in what order, to which version (O1 to O10, docs/rules.md)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import IMAGE, MINUTE, World, a_set, in_batch
from scalesets.engine import batches
from scalesets.engine.view import (
    Code,
    Model,
    ModelExtension,
    OSUpgradePolicy,
    Release,
    RollingPolicy,
    StartedBy,
    UpgradeMode,
)

OFF = OSUpgradePolicy(enabled=False)


@pytest.mark.requirement("O1", "O2", "O8")
def test_a_published_version_reaches_the_whole_set_in_batches_of_a_fifth() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0").run()
    status = world.status_of()
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
    assert [len(b.members) for b in world.status_of().batches] == [1] * replicas


@pytest.mark.requirement("O9b", "O9c")
def test_zones_are_upgraded_one_after_the_other_domain_by_domain() -> None:
    world = a_set("1.0.0", replicas=20, zones=("1", "2", "3")).publish("1.1.0").run()
    assert [(b.zone, b.update_domain) for b in world.status_of().batches] == [
        (zone, domain) for zone in ("1", "2", "3") for domain in range(5)
    ]


@pytest.mark.requirement("O9b")
def test_a_closed_zone_waits() -> None:
    world = a_set("1.0.0", replicas=6, zones=("1", "2")).publish("1.1.0")
    view = replace(world.view(), open_zone="2")
    choice = batches.choose(view, range(6), limit=1)
    assert choice is not None and choice.zone == "2"
    assert batches.choose(view, [0, 2, 4], limit=1) is None


@pytest.mark.requirement("O6")
def test_an_upgraded_instance_gets_the_model_of_the_start_of_its_upgrade() -> None:
    world = a_set("1.0.0", replicas=5, mode=UpgradeMode.ROLLING)
    world.publish("1.1.0").run(until=in_batch(1))
    world.change_model("m2")
    world.run(until=lambda w: w.status_of().code.final)
    assert {p.release.model for p in world.pods.values()} == {"m1"}
    world.run()
    assert {p.release.model for p in world.pods.values()} == {"m2"}
    assert world.versions() == {"1.1.0": 5}


@pytest.mark.requirement("O11")
def test_scaling_out_during_an_upgrade_does_not_fault_it() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(2))
    world.replicas = 30
    world.run()
    assert world.status_of().code is Code.COMPLETED
    assert world.versions() == {"1.1.0": 30}
    assert len(world.status_of().scope) == 10  # scaled-out ones don't enter


def test_scaled_in_instances_leave_the_scope() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(2))
    world.replicas = 12
    world.run()
    status = world.status_of()
    assert status.code is Code.COMPLETED and status.scope == frozenset(range(12))
    assert status.progress.successful == 12 and world.versions() == {"1.1.0": 12}


def test_no_os_upgrade_lowers_a_version() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0").run()
    world.exclude("1.1.0")
    world.start_upgrade("now")
    world.run()
    assert world.versions() == {"1.1.0": 5} and world.status_of("now").code is Code.COMPLETED


def test_protected_instances_are_left_out_and_named_and_never_block() -> None:
    world = a_set("1.0.0", replicas=10, protected={3}).publish("1.1.0").run()
    assert world.status_of().code is Code.COMPLETED and world.status_of().skipped == frozenset({3})
    assert world.pods[3].release.image_version == "1.0.0"
    assert "web-{3}" in world.condition("InstancesLeftOut").message


def test_pauses_are_kept_between_batches() -> None:
    policy = RollingPolicy(pause=MINUTE, health_timeout=timedelta(seconds=30))
    on = OSUpgradePolicy(enabled=True, use_rolling_policy=True)
    world = a_set("1.0.0", replicas=3, policy=policy, os_policy=on).publish("1.1.0").run()
    done = world.status_of().batches
    assert all(b.start - a.completed >= MINUTE for a, b in itertools.pairwise(done) if a.completed)
    without = a_set("1.0.0", replicas=3, policy=policy).publish("1.1.0").run()
    quick = without.status_of().batches
    assert all(b.start == a.completed for a, b in itertools.pairwise(quick))


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
    batches = len(world.status_of().batches)
    assert (world.status_writes - before) / batches <= 4


def test_a_pod_deleted_by_others_during_its_batch_comes_back_at_the_target() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.run(until=lambda w: w.pods.get(0) is not None and w.pods[0].release.image_version == "1.1.0")
    world.kill(0)
    world.turn()
    assert world.pods[0].release.image_version == "1.1.0"
    assert world.run() and world.status_of().code is Code.COMPLETED


def test_an_instance_that_was_scaled_in_and_out_again_during_a_batch_is_a_new_one() -> None:
    world = a_set("1.0.0", replicas=20).publish("1.1.0")
    world.run(until=in_batch(1))
    world.replicas = 12
    world.turn()
    assert world.status_of().scope == frozenset(range(12))
    world.replicas = 20
    world.run()
    status = world.status_of()
    assert status.code is Code.COMPLETED and status.scope == frozenset(range(12))
    assert status.progress.successful == 12 and world.versions() == {"1.1.0": 20}


@pytest.mark.parametrize("replicas", [0, 1])
def test_scaling_in_to_nothing_or_one_in_the_middle_ends_the_upgrade(replicas: int) -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(2))
    world.replicas = replicas
    world.run()
    assert world.status_of().code is Code.COMPLETED and len(world.pods) == replicas
    world.replicas = 3
    world.run()
    assert world.versions() == {"1.1.0": 3}


def test_an_empty_set_needs_no_upgrade() -> None:
    world = World(replicas=0).publish("1.0.0").run()
    world.publish("1.1.0").run()
    assert not world.upgrades
    world.start_upgrade("now")
    world.run()
    assert world.status_of("now").code is Code.COMPLETED


@pytest.mark.requirement("O18")
def test_a_new_instance_does_not_get_a_target_that_was_withdrawn_meanwhile() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.exclude("1.1.0")
    world.replicas = 12
    world.turn()
    assert world.pods[10].release.image_version == world.pods[11].release.image_version == "1.0.0"


def test_an_upgrade_that_has_not_begun_goes_to_the_newest_version() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.refused.add("m1")
    world.run(MINUTE)
    world.publish("1.2.0")
    world.refused.clear()
    world.run()
    assert world.status_of().target.image_version == "1.2.0"


def test_a_manual_start_on_a_set_behind_its_model_brings_what_the_model_asks_for() -> None:
    old = ModelExtension("health", "team/health", "9.5")
    world = World(replicas=3, mode=UpgradeMode.MANUAL, os_policy=OFF, model=Model("m1", "c1", IMAGE, extensions=(old,)))
    world.publish("1.0.0").publish_extension("team/health", "9.5.0").run()
    world.publish_extension("team/health", "10.0.1")
    world.change_model("m2", extensions=(replace(old, type_handler_version="10.0"),))
    world.publish("1.1.0")
    world.start_upgrade("now")
    world.run()
    assert {p.release for p in world.pods.values()} == {Release("1.1.0", "m2", (("health", "10.0.1"),))}


def test_an_os_upgrade_keeps_the_versions_of_extensions() -> None:
    health = ModelExtension("health", "team/health", "9.5", auto_upgrade_minor_version=True)
    world = World(replicas=3, model=Model("m1", "c1", IMAGE, extensions=(health,)))
    world.publish("1.0.0").publish_extension("team/health", "9.5.0").run()
    world.publish_extension("team/health", "9.6.0")
    world.publish("1.1.0").run()
    assert {p.release for p in world.pods.values()} == {Release("1.1.0", "m1", (("health", "9.5.0"),))}


@pytest.mark.requirement("O12")
def test_nobody_is_judged_failed_by_what_was_seen_before_an_outage() -> None:
    world = a_set("1.0.0", replicas=5).publish("1.1.0")
    world.boot = timedelta(minutes=10)
    world.run(until=in_batch(1))
    world.fresh_since = None  # the API server is gone; the pod gets Ready meanwhile, unseen
    world.run(timedelta(minutes=5))
    assert world.status_of().progress.failed == 0
    world.pods[0].ready_at = world.fresh_since = world.now
    world.boot = timedelta(seconds=1)
    world.run()
    assert world.status_of().code is Code.COMPLETED


@pytest.mark.requirement("O12")
def test_after_an_outage_the_failed_are_judged_once_nodes_have_caught_up() -> None:
    world = a_set("1.0.0", replicas=5, bad={"1.1.0"}).publish("1.1.0")
    world.run(until=in_batch(1))
    world.fresh_since = None
    world.run(timedelta(minutes=5))
    world.fresh_since = back = world.now
    world.run()
    put_back = world.status_of().batches[0].roll_back_time
    assert put_back is not None and put_back - back == timedelta(seconds=10)
