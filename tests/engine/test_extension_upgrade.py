"""Extensions are upgraded in place, batch by batch, each judged by itself (E1 to E10, E13)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import FIRST_MODEL, MINUTE, QUICK, World
from scalesets.engine.decide import decide
from scalesets.engine.decision import WriteSetStatus
from scalesets.engine.view import (
    Code,
    ModelExtension,
    OSUpgradePolicy,
    RollingPolicy,
    TargetOutcome,
    Timing,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)

EXTENSION = UpgradeType.EXTENSION
MONITOR = ModelExtension("monitor", "acme/monitor", "1.0", enable_automatic_upgrade=True)
BACKUP = ModelExtension("backup", "acme/backup", "1.0", enable_automatic_upgrade=True)


def a_set(*extensions: ModelExtension, world: type[World] = World, **fields: object) -> World:
    """A healthy set with these extensions, each at 1.0.0."""
    fields.setdefault("os_policy", OSUpgradePolicy())
    made = world(model=replace(FIRST_MODEL, extensions=extensions), **fields)  # type: ignore[arg-type]
    made.publish("1.0.0")
    for extension in extensions:
        made.publish_extension(extension.key, "1.0.0")
    made.run(MINUTE)
    assert made.all_ready(), made.log
    return made


def installed(world: World, name: str = "monitor") -> dict[int, str]:
    return {o: dict(p.release.extensions)[name] for o, p in sorted(world.pods.items())}


def status_of(world: World, name: str = "") -> UpgradeStatus:
    return world.status_of(name, EXTENSION)


def batch(number: int) -> Callable[[World], bool]:
    """Until so many batches have begun."""

    def begun(world: World) -> bool:
        return any(u.status is not None and len(u.status.batches) == number for u in world.upgrades.values())

    return begun


@pytest.mark.requirement("E1", "E2", "E9")
def test_a_new_version_is_brought_to_every_instance_in_place() -> None:
    world = a_set(MONITOR, replicas=20)
    pods = {o: p.uid for o, p in world.pods.items()}
    world.publish_extension("acme/monitor", "1.2.0").run()
    status = status_of(world)
    assert status.code is Code.COMPLETED
    assert set(installed(world).values()) == {"1.2.0"}
    assert {o: p.uid for o, p in world.pods.items()} == pods, "no pod was replaced"
    assert [len(b.members) for b in status.batches] == [4] * 5
    assert len(world.patches) == 20, "one write for each instance"
    assert [(t.name, t.former, t.to, t.outcome, t.successful) for t in status.extensions] == [
        ("monitor", "1.0.0", "1.2.0", TargetOutcome.SUCCEEDED, 20)
    ]


@pytest.mark.requirement("E8b", "E8c")
def test_another_major_is_never_taken_by_itself() -> None:
    world = a_set(MONITOR)
    world.publish_extension("acme/monitor", "2.0.0").run()
    assert not world.upgrades
    world.publish_extension("acme/monitor", "1.0.7", "2.1.0").run()
    assert set(installed(world).values()) == {"1.0.7"}


@pytest.mark.requirement("E1")
@pytest.mark.parametrize("supports", [True, False])
def test_only_who_opted_in_and_is_supported(supports: bool) -> None:
    world = a_set(replace(MONITOR, enable_automatic_upgrade=not supports), BACKUP)
    world.extensions["acme/monitor"].supports = supports
    world.publish_extension("acme/monitor", "1.1.0").publish_extension("acme/backup", "1.1.0").run()
    assert set(installed(world).values()) == {"1.0.0"}
    assert set(installed(world, "backup").values()) == {"1.1.0"}
    shown = {name: state for name, _, state in world.status.extensions}
    assert shown == {"monitor": "Disabled" if supports else "NotSupported", "backup": "Enabled"}


@pytest.mark.requirement("E3")
def test_a_failed_instance_gets_the_former_version_back_at_once() -> None:
    world = a_set(MONITOR, replicas=10)
    world.bad.add("monitor:1.1.0")
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(minutes=5))
    status = status_of(world)
    assert status.code is Code.FAULTED
    assert set(installed(world).values()) == {"1.0.0"}
    assert len(status.batches) == 1
    assert status.batches[0].rolled_back == frozenset(status.batches[0].members)
    assert not status.batches[0].roll_back_failed
    assert world.all_ready()
    assert "monitor 1.1.0" in status.error
    last = world.status.last_extension_upgrades["monitor"]
    assert (last.version, last.outcome) == ("1.1.0", Code.FAULTED)


@pytest.mark.requirement("E3")
@pytest.mark.parametrize("pretence", [0, 5, 9])
def test_the_readiness_of_before_is_not_believed(pretence: int) -> None:
    """The old status, then a new container that is ready for a moment: neither is a success."""
    world = a_set(MONITOR, replicas=5, notice=timedelta(seconds=2), pretence=timedelta(seconds=pretence))
    world.bad.add("monitor:1.1.0")
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(minutes=5))
    status = status_of(world)
    assert status.code is Code.FAULTED
    assert status.progress.successful == 0


@pytest.mark.requirement("E4")
def test_a_failed_upgrade_is_tried_again_after_the_retry_interval() -> None:
    world = a_set(MONITOR, replicas=5, timing=Timing(extension_retry_interval=timedelta(days=3)))
    world.bad.add("monitor:1.1.0")
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(days=2, hours=23))
    assert len(world.upgrades) == 1
    world.bad.clear()
    world.run(timedelta(hours=2))
    assert len(world.upgrades) == 2
    assert set(installed(world).values()) == {"1.1.0"}


@pytest.mark.requirement("E4", "E1")
def test_a_newer_version_does_not_wait_for_the_retry() -> None:
    world = a_set(MONITOR, replicas=5, timing=Timing(extension_retry_interval=timedelta(days=3)))
    world.bad.add("monitor:1.1.0")
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(hours=1))
    world.publish_extension("acme/monitor", "1.1.1").run(timedelta(hours=1))
    assert set(installed(world).values()) == {"1.1.1"}


@pytest.mark.requirement("E6")
def test_several_share_an_upgrade_and_go_one_after_the_other() -> None:
    world = a_set(BACKUP, MONITOR, replicas=10)
    for key in ("acme/monitor", "acme/backup"):
        world.publish_extension(key, "1.1.0")
    world.run()
    status = status_of(world)
    assert status.code is Code.COMPLETED
    assert [b.extension for b in status.batches] == ["backup", "monitor"] * 5
    for first, second in zip(status.batches[::2], status.batches[1::2], strict=True):
        assert first.members.keys() == second.members.keys()
        assert first.completed is not None
        assert first.completed <= second.start
    assert status.progress.successful == 10


@pytest.mark.requirement("E6", "E7", "E13")
def test_one_that_fails_stops_alone() -> None:
    world = a_set(BACKUP, MONITOR, replicas=10)
    world.bad.add("backup:1.1.0")
    for key in ("acme/monitor", "acme/backup"):
        world.publish_extension(key, "1.1.0")
    world.run(timedelta(minutes=9))
    status = status_of(world)
    assert set(installed(world, "backup").values()) == {"1.0.0"}
    assert set(installed(world, "monitor").values()) == {"1.1.0"}
    outcomes = {t.name: t.outcome for t in status.extensions}
    assert outcomes == {"backup": TargetOutcome.STOPPED, "monitor": TargetOutcome.SUCCEEDED}
    assert status.code is Code.FAULTED
    assert status.error.startswith("backup 1.1.0:")
    assert [b.extension for b in status.batches] == ["backup", *["monitor"] * 5]


@pytest.mark.requirement("E5a", "O9b", "O9c")
def test_zone_by_zone_and_inside_update_domains() -> None:
    world = a_set(MONITOR, replicas=20, zones=("1", "2"))
    world.publish_extension("acme/monitor", "1.1.0").run()
    batches = status_of(world).batches
    assert [b.zone for b in batches] == ["1"] * 5 + ["2"] * 5
    for found in batches:
        assert {(world.zones[o % 2], o // 2 % 5) for o in found.members} == {(found.zone, found.update_domain)}
    assert set(installed(world).values()) == {"1.1.0"}


@pytest.mark.requirement("E5d")
def test_the_pause_is_kept_between_visits_only() -> None:
    policy = replace(QUICK, pause=timedelta(minutes=2))
    world = a_set(BACKUP, MONITOR, replicas=10, policy=policy)
    for key in ("acme/monitor", "acme/backup"):
        world.publish_extension(key, "1.1.0")
    world.run()
    batches = status_of(world).batches
    pauses = [later.start - earlier.completed for earlier, later in itertools.pairwise(batches) if earlier.completed]
    assert [p >= policy.pause for p in pauses] == [False, True] * 4 + [False]


@pytest.mark.requirement("E1", "E6")
def test_opting_one_out_drops_only_it() -> None:
    world = a_set(BACKUP, MONITOR, replicas=10)
    for key in ("acme/monitor", "acme/backup"):
        world.publish_extension(key, "1.1.0")
    world.run(until=batch(3))
    out = replace(BACKUP, enable_automatic_upgrade=False)
    world.change_model("m2", "c1", extensions=(out, MONITOR))
    world.run()
    status = status_of(world)
    assert {t.name: t.outcome for t in status.extensions} == {
        "backup": TargetOutcome.DROPPED,
        "monitor": TargetOutcome.SUCCEEDED,
    }
    assert list(installed(world, "backup").values()).count("1.1.0") == 4
    assert status.code is Code.COMPLETED


@pytest.mark.requirement("E1")
def test_opting_out_of_the_last_one_cancels() -> None:
    world = a_set(MONITOR, replicas=10)
    world.publish_extension("acme/monitor", "1.1.0")
    world.run(until=batch(2))
    world.change_model("m2", "c1", extensions=(replace(MONITOR, enable_automatic_upgrade=False),))
    world.run()
    status = status_of(world)
    assert (status.code, status.error_code) == (Code.CANCELLED, "OptedOut")
    assert status.progress.pending == 6


@pytest.mark.requirement("E13")
def test_too_many_unhealthy_hold_it_back_before_it_starts() -> None:
    world = a_set(MONITOR, replicas=10)
    for ordinal in range(3):
        world.break_instance(ordinal)
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(minutes=10))
    assert not world.upgrades
    assert world.condition("Progressing").reason == "TooManyUnhealthy"
    for ordinal in range(3):
        world.heal(ordinal)
    world.run()
    assert set(installed(world).values()) == {"1.1.0"}


@pytest.mark.requirement("E13")
def test_too_many_unhealthy_stop_it_after_the_batch() -> None:
    world = a_set(MONITOR, replicas=10)
    world.publish_extension("acme/monitor", "1.1.0")
    world.run(until=batch(2))
    for ordinal in (7, 8, 9):
        world.break_instance(ordinal)
    world.run(timedelta(minutes=9))
    status = status_of(world)
    assert status.code is Code.FAULTED
    assert status.error_code == "MaxUnhealthyInstancePercentExceededInRollingUpgrade"
    assert len(status.batches) == 2
    assert [t.outcome for t in status_of(world).extensions] == [TargetOutcome.STOPPED]
    assert world.status.last_extension_upgrades["monitor"].outcome is Code.FAULTED


@pytest.mark.requirement("E10")
def test_in_manual_mode_only_who_is_on_the_latest_model() -> None:
    world = a_set(replace(MONITOR, enable_automatic_upgrade=False), replicas=5, mode=UpgradeMode.MANUAL)
    world.change_model("m2", "c1", extensions=(MONITOR,))
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(minutes=9))
    assert set(installed(world).values()) == {"1.0.0"}
    world.start_upgrade("bring", UpgradeType.MODEL, "web-1")
    world.run()
    assert installed(world) == {0: "1.0.0", 1: "1.1.0", 2: "1.0.0", 3: "1.0.0", 4: "1.0.0"}


@pytest.mark.requirement("E6", "O5")
def test_a_user_starts_one_by_name() -> None:
    world = a_set(
        replace(MONITOR, enable_automatic_upgrade=False), replace(BACKUP, enable_automatic_upgrade=False), replicas=5
    )
    for key in ("acme/monitor", "acme/backup"):
        world.publish_extension(key, "1.1.0")
    world.upgrade_extensions("mine", "monitor")
    world.run()
    assert set(installed(world, "monitor").values()) == {"1.1.0"}
    assert set(installed(world, "backup").values()) == {"1.0.0"}
    world.upgrade_extensions("typo", "monitr")
    world.run()
    status = status_of(world, "typo")
    assert (status.code, status.error_code) == (Code.FAULTED, "ExtensionNotFound")
    assert "monitr" in status.error


@pytest.mark.requirement("E3", "O12")
def test_a_lost_member_comes_back_on_the_target() -> None:
    world = a_set(MONITOR, replicas=5)
    world.publish_extension("acme/monitor", "1.1.0")
    world.run(until=lambda w: len(w.patches) == 1)
    ordinal = world.patches[0][1]
    world.kill(ordinal)
    world.run()
    assert status_of(world).code is Code.COMPLETED
    assert set(installed(world).values()) == {"1.1.0"}


def test_an_old_kubelet_is_left_out_and_it_is_said() -> None:
    world = a_set(MONITOR, replicas=5, unpatchable={3})
    world.publish_extension("acme/monitor", "1.1.0").run()
    assert installed(world)[3] == "1.0.0"
    assert status_of(world).code is Code.COMPLETED
    assert status_of(world).skipped == {3}
    assert "1.32" in world.condition("InstancesLeftOut").message


def test_an_instance_that_was_sick_is_judged_by_the_extension_itself() -> None:
    world = a_set(MONITOR, replicas=10)
    world.break_instance(4)
    world.publish_extension("acme/monitor", "1.1.0").run()
    status = status_of(world)
    assert status.code is Code.COMPLETED
    assert set(installed(world).values()) == {"1.1.0"}
    assert not any(b.failed for b in status.batches)


@pytest.mark.requirement("E1", "O5")
def test_cancelled_by_a_user_it_waits_for_something_new() -> None:
    world = a_set(MONITOR, replicas=5)
    world.publish_extension("acme/monitor", "1.1.0")
    world.run(until=batch(2))
    world.cancel(world.only_upgrade(EXTENSION).name)
    world.run(timedelta(days=1))
    assert len(world.upgrades) == 1
    assert status_of(world).error_code == "CancelledByUser"
    world.publish_extension("acme/monitor", "1.1.1").run()
    assert set(installed(world).values()) == {"1.1.1"}


def test_a_version_that_is_withdrawn_is_brought_to_nobody_else() -> None:
    world = a_set(MONITOR, replicas=10)
    world.publish_extension("acme/monitor", "1.1.0")
    world.run(until=batch(2))
    world.withdraw_extension("acme/monitor", "1.1.0")
    world.run()
    status = status_of(world)
    assert (status.code, status.error_code) == (Code.CANCELLED, "TargetWithdrawn")
    assert list(installed(world).values()).count("1.1.0") == 4


@pytest.mark.requirement("O6")
def test_never_together_with_an_os_upgrade_and_after_it() -> None:
    world = a_set(MONITOR, replicas=10, os_policy=OSUpgradePolicy(enabled=True))
    world.publish("2.0.0").publish_extension("acme/monitor", "1.1.0").run()
    os = world.status_of(kind=UpgradeType.OS_IMAGE)
    extension = status_of(world)
    assert os.code is extension.code is Code.COMPLETED
    assert os.completed is not None
    assert os.completed <= extension.start
    assert world.versions() == {"2.0.0": 10}
    assert set(installed(world).values()) == {"1.1.0"}


def test_an_instance_that_does_not_take_the_patch_is_not_waited_for_twice() -> None:
    """A kubelet that is away: the patch comes to nothing, and so does the way back, which is no failure."""
    world = a_set(
        MONITOR,
        replicas=5,
        notice=timedelta(hours=5),
        policy=RollingPolicy(health_timeout=timedelta(seconds=30), provisioning_timeout=timedelta(minutes=2)),
    )
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(minutes=9))
    status = status_of(world)
    assert status.code is Code.FAULTED
    assert len(status.batches) == 1
    assert not status.batches[0].roll_back_failed


@pytest.mark.requirement("E3", "O21")
@pytest.mark.parametrize("renewed", [False, True])
def test_a_way_back_whose_container_can_not_be_made_either_is_left_failed(renewed: bool) -> None:
    """The Secret that its container needs is gone: the container of before has ended, its id is all that is shown."""
    world = a_set(MONITOR, replicas=5, unmade={"monitor:1.1.0", "monitor:1.0.0"})
    world.publish_extension("acme/monitor", "1.1.0").run(until=batch(1))
    world.pods[0].fails_to_start = True
    world.run(until=lambda w: any(u.status and u.status.code is Code.ROLLING_BACK for u in w.upgrades.values()))
    if renewed:
        world.unmade.clear()
        world.pods[0].fails_to_start = False
    world.run(MINUTE * 9)
    status = status_of(world)
    assert (status.code, status.batches[0].rolled_back) == (Code.FAULTED, {0})
    assert status.batches[0].roll_back_failed == (set() if renewed else {0})
    assert ("web-0 ImagePullBackOff" in status.roll_back_error) is not renewed


@pytest.mark.requirement("E4", "O21")
def test_why_it_failed_last_time_is_kept_when_the_instances_are_well_again() -> None:
    world = a_set(MONITOR, replicas=5)
    world.bad.add("monitor:1.1.0")
    world.publish_extension("acme/monitor", "1.1.0").run(until=batch(1))
    world.pods[0].fails_to_start = True
    world.run(until=lambda w: any(u.status and u.status.code is Code.ROLLING_BACK for u in w.upgrades.values()))
    assert status_of(world).extensions[0].error == "web-0: ImagePullBackOff"
    world.pods[0].fails_to_start = False
    world.run(timedelta(minutes=5))
    (target,) = status_of(world).extensions
    assert target.outcome is TargetOutcome.STOPPED
    assert target.error.endswith("; web-0: ImagePullBackOff")
    assert world.status.last_extension_upgrades["monitor"].reason == target.error


@pytest.mark.requirement("E11")
def test_what_is_installed_is_still_said_while_the_model_is_not_known() -> None:
    world = a_set(MONITOR, replicas=5)
    world.bad.add("monitor:1.1.0")
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(minutes=5))
    before = world.status
    assert before.last_extension_upgrades["monitor"].retry_delay == world.timing.extension_retry_interval
    decision = decide(replace(world.view(), model=None, model_problem=("ExtensionNotFound", "")), world.now)
    (write,) = (w for w in decision.writes if isinstance(w, WriteSetStatus))
    assert write.status.extensions == before.extensions
    assert write.status.last_extension_upgrades == before.last_extension_upgrades


@pytest.mark.requirement("E11")
def test_while_instances_differ_the_lowest_version_is_said() -> None:
    world = a_set(MONITOR, replicas=5)
    world.publish_extension("acme/monitor", "1.1.0").run(until=batch(3))
    assert set(installed(world).values()) == {"1.0.0", "1.1.0"}
    assert world.status.extensions == (("monitor", "1.0.0", "Enabled"),)
    world.run()
    assert world.status.extensions == (("monitor", "1.1.0", "Enabled"),)


@pytest.mark.requirement("E1", "O5")
def test_an_upgrade_that_is_cancelled_halfway_is_no_success_of_its_extensions() -> None:
    world = a_set(MONITOR, replicas=5)
    world.publish_extension("acme/monitor", "1.1.0").run(until=batch(2))
    (name,) = world.upgrades
    world.cancel(name)
    world.run()
    (target,) = status_of(world).extensions
    assert (target.outcome, target.error_code, target.successful) == (TargetOutcome.DROPPED, "CancelledByUser", 2)
    last = world.status.last_extension_upgrades["monitor"]
    assert (last.outcome, last.code, last.retry_delay) == (Code.CANCELLED, "CancelledByUser", None)
    assert len(world.upgrades) == 1


@pytest.mark.requirement("E3")
def test_restarts_of_a_failing_container_do_not_put_its_judgement_off() -> None:
    """Its start-up probe gives up sooner than healthTimeout, again and again."""
    world = a_set(MONITOR, replicas=5, probe_budget=timedelta(seconds=7))
    world.bad.add("monitor:1.1.0")
    world.publish_extension("acme/monitor", "1.1.0")
    began = world.now
    world.run(until=lambda w: any(b.rolled_back for u in w.upgrades.values() if u.status for b in u.status.batches))
    assert world.now - began < QUICK.health_timeout + timedelta(seconds=10)


@pytest.mark.requirement("E1", "E10")
def test_opting_in_to_what_is_due_already_is_not_held_up_by_its_own_labels() -> None:
    """The flag is a new model: pods are relabelled while the first batch is being written."""
    world = a_set(replace(MONITOR, enable_automatic_upgrade=False), replicas=10)
    world.publish_extension("acme/monitor", "1.1.0").run()
    world.change_model("m2", "c1", extensions=(MONITOR,))

    def label(model: str) -> None:
        for pod in world.pods.values():
            pod.release = replace(pod.release, model=model)

    def begun(world: World) -> bool:
        if batch(1)(world):
            return True
        label("m1")  # the patches are sent, but nobody has seen their effect
        return False

    world.run(until=begun)
    assert {former.model for former in status_of(world).batches[0].members.values()} == {"m1"}
    label("m2")
    world.run(timedelta(minutes=2))
    status = status_of(world)
    assert status.code is Code.COMPLETED
    assert not any(found.failed for found in status.batches)
    assert set(installed(world).values()) == {"1.1.0"}


def test_an_image_that_is_not_known_is_asked_for_with_back_off() -> None:
    world = a_set(MONITOR, replicas=5, unknown_images={"monitor:1.2.0"})
    world.publish_extension("acme/monitor", "1.2.0").run(MINUTE * 3)
    assert 1 < world.patches_in_vain < 10, "after 1 s, 2 s, 4 s, … up to a minute"
    assert world.condition("ImageNotFound").message == "no image is known"
    world.unknown_images.clear()
    world.run()
    assert set(installed(world).values()) == {"1.2.0"}


@pytest.mark.requirement("O15")
def test_a_users_start_of_an_extension_is_refused_by_name_while_a_secret_is_missing() -> None:
    world = a_set(
        replace(MONITOR, enable_automatic_upgrade=False), replicas=5, missing_secrets="Secret keys is missing"
    )
    world.publish_extension("acme/monitor", "1.2.0")
    world.start_upgrade("mine", EXTENSION)
    world.run(MINUTE)
    refused = status_of(world, "mine")
    assert (refused.code, refused.error_code) == (Code.FAULTED, "ExternalResourceMissing")
    assert refused.error == "Secret keys is missing" and not world.patches


@pytest.mark.requirement("E2", "E6")
@pytest.mark.parametrize("smaller", ["policy", "set"])
def test_the_second_extension_keeps_to_what_may_be_touched_by_then(smaller: str) -> None:
    """Between the batches of one visit the policy allows less, or the set shrinks."""
    world = a_set(BACKUP, MONITOR, replicas=20, update_domains=1)
    for extension in (BACKUP, MONITOR):
        world.publish_extension(extension.key, "1.1.0")
    world.run(until=batch(1))
    if smaller == "policy":
        world.policy = replace(QUICK, max_batch_percent=5)
    else:
        world.replicas = 6
    world.run()
    status = status_of(world)
    assert [len(b.members) for b in status.batches[:3]] == [4, 1, 1]
    assert status.code is Code.COMPLETED
    assert set(installed(world).values()) == set(installed(world, "backup").values()) == {"1.1.0"}


@pytest.mark.requirement("E6", "E5d")
def test_the_second_extension_stays_inside_a_zone_once_the_policy_says_so() -> None:
    cross_zone = replace(QUICK, cross_zone=True)
    world = a_set(BACKUP, MONITOR, replicas=20, update_domains=1, zones=("1", "2"), policy=cross_zone)
    for extension in (BACKUP, MONITOR):
        world.publish_extension(extension.key, "1.1.0")
    world.run(until=batch(1))
    world.policy = QUICK
    world.run()
    first, second = status_of(world).batches[:2]
    assert (first.zone, set(first.members)) == ("", {0, 1, 2, 3})
    assert (second.zone, set(second.members)) == ("1", {0, 2})
    assert set(installed(world).values()) == {"1.1.0"}


@pytest.mark.requirement("E6")
@pytest.mark.parametrize("how", ["protected", "old kubelet"])
def test_who_must_not_be_touched_any_more_is_left_alone_by_the_second_extension(how: str) -> None:
    world = a_set(BACKUP, MONITOR, replicas=5)
    for extension in (BACKUP, MONITOR):
        world.publish_extension(extension.key, "1.1.0")
    world.run(until=lambda w: w.patches)
    (world.protected if how == "protected" else world.unpatchable).add(0)
    world.run(MINUTE * 5)
    status = status_of(world)
    assert status.code is Code.COMPLETED
    assert installed(world) == {0: "1.0.0", **dict.fromkeys(range(1, 5), "1.1.0")}
    assert not any(b.failed for b in status.batches)


def with_two_majors(*, bad: bool) -> World:
    """A set of which half has another major; both majors get a newer version."""
    world = a_set(MONITOR, replicas=10)
    world.publish_extension("acme/monitor", "2.0.0")
    for ordinal in range(5):
        world.pods[ordinal].release = replace(world.pods[ordinal].release, extensions=(("monitor", "2.0.0"),))
    world.run(MINUTE)
    assert not world.upgrades
    world.bad |= {"monitor:1.1.0", "monitor:2.1.0"} if bad else set()
    world.publish_extension("acme/monitor", "1.1.0", "2.1.0")
    return world


@pytest.mark.requirement("E4")
def test_two_majors_that_failed_are_both_tried_again_after_the_retry_interval() -> None:
    world = with_two_majors(bad=True)
    world.run(MINUTE * 9)
    first = status_of(world)
    assert first.code is Code.FAULTED
    assert first.completed is not None
    world.run(MINUTE * 5)
    times = sorted(u.created for u in world.upgrades.values())
    assert len(times) == 2
    assert times[1] == first.completed + world.timing.extension_retry_interval


@pytest.mark.requirement("E1", "O5")
def test_a_user_who_cancels_an_upgrade_of_two_majors_has_cancelled_both() -> None:
    world = with_two_majors(bad=False)
    world.run(until=batch(1))
    world.cancel(world.only_upgrade(EXTENSION).name)
    world.run()
    assert status_of(world).code is Code.CANCELLED
