"""What people see: whole drawings of typical moments, each a file under golden/ that a reviewer can read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import RenderableType

from cli import golden
from cli.scenes import MODEL, NEW, NEWER, NOW, OLD, OLD_MODEL, Scene, a_set, an_upgrade, before
from scalesets.cli.render import history as history_drawing
from scalesets.cli.render import instances as instances_drawing
from scalesets.cli.render import status as status_drawing
from scalesets.cli.views import history, instances, status

THREE_ZONES = ("1", "2", "3")


def quiet() -> Scene:
    scene = a_set().on(NEW).condition("Progressing", False, "UpToDate", "nothing to do")
    scene.status["lastOSUpgrade"] = {
        "name": "web-os-7f3c2a10",
        "version": NEW,
        "outcome": "Completed",
        "completedTime": before(hours=3),
    }
    return scene


def mid_batch() -> Scene:
    return a_set().on(OLD).upgrading_to(NEW, done=3).starting(3, 8).upgraded(13).without_pods(18)


def bad_image() -> Scene:
    scene = a_set().on(OLD).upgrading_to(NEW, done=1).failing(1, 6).starting(11, seconds=40).upgraded(16)
    return scene.condition("Progressing", True, "RollingForward", f"web-os-7f3c2a10: OS image {NEW}")


def putting_back() -> Scene:
    scene = a_set().on(OLD).upgrading_to(NEW, done=1)
    batch = scene.upgrades[0]["status"]["batches"][1]
    batch |= {"failed": "1,6", "rolledBack": "1,6", "rollBackTime": before(seconds=4)}
    scene.upgrades[0]["status"]["runningStatus"]["code"] = "RollingBack"
    return scene.upgraded(11, 16).starting(1, version=OLD, seconds=2).terminating(6)


def zones_at_work() -> Scene:
    return a_set(zones=THREE_ZONES).on(OLD).upgrading_to(NEW, done=6).starting(4).unhealthy(2)


def thousand_in_zones() -> Scene:
    return a_set(replicas=1000, zones=THREE_ZONES, domains=20).on(OLD).upgrading_to(NEW, done=30)


def stopped() -> Scene:
    scene = a_set(replicas=10).on(OLD)
    scene.status["lastOSUpgrade"] = {
        "name": "web-os-7f3c2a10",
        "version": NEW,
        "outcome": "Faulted",
        "code": "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade",
        "reason": "2 of 2 upgraded instances became unhealthy, more than maxUnhealthyUpgradedInstancePercent=20 allows",
        "completedTime": before(minutes=12),
    }
    return scene.condition("Progressing", False, "AlreadyTried", f"version {NEW}: it failed here")


def awaiting_approval() -> Scene:
    scene = a_set(replicas=5).on(OLD).upgrading_to(NEW, running=False, waiting_for="name instances")
    scene.status["currentUpgrade"] = ""
    scene.upgrades[0]["status"]["conditions"] = [
        {"type": "Progressing", "status": "True", "reason": "WaitingForApproval", "message": "name instances"}
    ]
    return scene


def new_set() -> Scene:
    scene = a_set(replicas=3)
    scene.scale_set["status"] = {}
    return scene


def cancelled_with_a_queue() -> Scene:
    scene = mid_batch()
    scene.upgrades[0]["spec"]["cancel"] = True
    scene.upgrades.append(an_upgrade("web-model-x2k4p", type_="Model", started_by="User"))
    return scene


def connection_lost() -> Scene:
    scene = quiet()
    scene.lost = "can't reach the cluster at https://127.0.0.1:6443: connection refused"
    return scene


def model_upgrade() -> Scene:
    scene = a_set(replicas=10).on(NEW, OLD_MODEL)
    for ordinal in (0, 5):
        scene.pods[ordinal]["metadata"]["labels"]["scalesets.dev/model"] = MODEL
    upgrade = an_upgrade(
        "web-model-1f0e9d8c",
        type_="Model",
        code="RollingForward",
        progress=(2, 0, 0, 8),
        target=MODEL,
        started=before(seconds=70),
        batches=[
            {"number": 1, "updateDomain": 0, "startTime": before(seconds=70), "ordinals": "0,5", "outcome": "Succeeded"}
        ],
    )
    upgrade["status"] |= {"scope": "0-9", "waitingFor": "until 2026-11-22T12:00:30Z"}
    upgrade["status"]["conditions"] = [{"type": "Progressing", "status": "True", "reason": "PauseBetweenBatches"}]
    scene.upgrades.append(upgrade)
    scene.status["currentUpgrade"] = "web-model-1f0e9d8c"
    return scene


STATUS: list[Callable[[], Scene]] = [
    quiet,
    mid_batch,
    bad_image,
    putting_back,
    zones_at_work,
    thousand_in_zones,
    stopped,
    awaiting_approval,
    new_set,
    cancelled_with_a_queue,
    connection_lost,
    model_upgrade,
]


@pytest.mark.parametrize("scene", STATUS, ids=lambda scene: scene.__name__)
def test_status(scene: Callable[[], Scene]) -> None:
    view = status.read(scene().snapshot())
    golden.check(f"status_{scene.__name__}", status_drawing.render(view, width=80))


def test_status_wide_shows_every_cell() -> None:
    view = status.read(thousand_in_zones().snapshot())
    golden.check("status_thousand_in_zones_wide", status_drawing.render(view, width=80, wide=True))


@pytest.mark.parametrize("scene", [quiet, mid_batch, bad_image, new_set], ids=lambda scene: scene.__name__)
def test_status_as_a_line(scene: Callable[[], Scene]) -> None:
    golden.check(f"line_{scene.__name__}", status_drawing.line(status.read(scene().snapshot())), width=200)


def test_status_in_ascii_loses_nothing() -> None:
    view = status.read(bad_image().snapshot())

    text = golden.drawn(status_drawing.render(view, width=80), encoding="ascii")

    assert "#" in text  # upgraded
    assert "+" in text  # in progress
    assert "." in text  # to come
    assert "?" not in text


def test_that_no_instance_is_on_the_model_is_said() -> None:
    scene = a_set(replicas=3, mode="Manual").on(NEW, OLD_MODEL)
    scene.status["imageVersion"] = NEW

    drawing = status_drawing.render(status.read(scene.snapshot()), width=80)

    assert "3 on this version   0 on the model" in golden.drawn(drawing)


def test_scaling_says_which_way() -> None:
    scene = a_set(replicas=3).on(NEW).starting(2)
    for type_ in ("Reconciling", "Progressing"):
        scene = scene.condition(type_, True, "ScalingOut", "up to 3 instances")

    told = golden.drawn(status_drawing.render(status.read(scene.snapshot()), width=80))

    assert told.count("scaling out, up to 3 instances") == 1
    assert "web-2: os not ready" in told


def instances_of(scene: Scene, *, wide: bool = False) -> RenderableType:
    return instances_drawing.render(instances.read(scene.snapshot()), now=NOW, wide=wide)


def test_instances() -> None:
    scene = a_set(replicas=12, zones=THREE_ZONES).on(OLD).upgrading_to(NEW, done=2).failing(6).unhealthy(4)
    scene.pods[8]["metadata"]["annotations"]["scalesets.dev/protect-from-upgrade"] = "true"
    scene.pods[12] = scene.a_pod(12, OLD, MODEL)

    golden.check("instances", instances_of(scene))


def test_instances_wide() -> None:
    scene = a_set(replicas=3).on(NEW)
    scene.pods[1]["metadata"]["annotations"] |= {
        "extension.scalesets.dev/health": "1.0.4",
        "extension.scalesets.dev/monitor": "9.6.0",
        "scalesets.dev/pending-os-upgrade": NEWER,
    }

    golden.check("instances_wide", instances_of(scene, wide=True), width=160)


def test_an_approved_instance_awaits_no_approval() -> None:
    scene = awaiting_approval()
    scene.upgrades[0]["spec"]["approvedInstances"] = ["web-1"]
    for pod in scene.pods.values():
        pod["metadata"]["annotations"]["scalesets.dev/pending-os-upgrade"] = NEW

    told = [" ".join(instance.notes) for instance in instances.read(scene.snapshot())]

    assert ["awaits approval" in note for note in told] == [True, False, True, True, True]


def a_history() -> Scene:
    scene = a_set().on(NEW)
    scene.upgrades = [
        an_upgrade(
            "web-os-0badcafe",
            code="Faulted",
            progress=(3, 1, 0, 16),
            target=OLD,
            started=before(days=9),
            completed=before(days=9, minutes=-6),
            rolled_back=(1, 0),
            error=("MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade", "1 of 4 became unhealthy"),
        ),
        an_upgrade(
            "web-model-x2k4p",
            type_="Model",
            code="Cancelled",
            started_by="User",
            progress=(8, 0, 0, 12),
            target=MODEL,
            started=before(days=2),
            completed=before(days=2, minutes=-2),
            error=("CancelledByUser", "spec.cancel was set"),
        ),
        an_upgrade(
            "web-os-7f3c2a10",
            code="Completed",
            progress=(20, 0, 0, 0),
            started=before(hours=3),
            completed=before(hours=3, minutes=-5),
        ),
        an_upgrade("web-os-hjk2l", started_by="User"),
    ]
    return scene


@pytest.mark.requirement("O22")
def test_history() -> None:
    drawing = history_drawing.render(history.read(a_history().snapshot()), now=NOW, width=80)
    golden.check("history", drawing)


@pytest.mark.parametrize("width", [80, 30])
def test_lines_of_a_wide_table_run_on_instead_of_breaking_words(width: int) -> None:
    drawing = instances_of(mid_batch(), wide=True)

    assert golden.drawn(drawing, width=width) == golden.drawn(drawing, width=200)


def test_no_terminal_is_so_narrow_that_a_column_is_lost() -> None:
    assert "web-17    2" in golden.drawn(instances_of(mid_batch()), width=30)


def test_an_upgrade_that_had_nothing_to_do() -> None:
    scene = quiet()
    scene.upgrades = [an_upgrade("web-os-7f3c2a10", code="Completed", progress=(0, 0, 0, 0), started_by="User")]
    table = golden.drawn(history_drawing.render(history.read(scene.snapshot()), now=NOW, width=80))
    whole = golden.drawn(status_drawing.render(status.read(scene.snapshot()), width=80))

    assert "nothing to do" in table
    assert "Completed   nothing to do   3h ago" in whole


def test_history_wide() -> None:
    drawing = history_drawing.render(history.read(a_history().snapshot()), now=NOW, width=160, wide=True)
    golden.check("history_wide", drawing, width=200)


def test_empty_sets_say_so() -> None:
    scene = a_set(replicas=0)

    assert golden.drawn(instances_of(scene)) == "no instances: spec.replicas is 0\n"
    drawing = history_drawing.render(history.read(scene.snapshot()), now=NOW, width=80)
    assert golden.drawn(drawing) == "no upgrades yet\n"


def test_how_a_waited_for_upgrade_ended() -> None:
    done, stopped_one = (history.read(a_history().snapshot())[i] for i in (1, 3))

    golden.check("outcome_completed", status_drawing.outcome(done, of="web"))
    golden.check("outcome_faulted", status_drawing.outcome(stopped_one, of="web"), width=100)
