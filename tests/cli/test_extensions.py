"""``extensions``, and what the other commands say of extension upgrades (E1, E4, E6, E11)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cli import golden
from cli.scenes import (
    MODEL,
    NEW,
    NOW,
    OLD_MODEL,
    Obj,
    Scene,
    a_set,
    a_target,
    an_extension,
    an_extension_batch,
    an_image,
    an_upgrade,
    before,
)
from engine.world import FIRST_MODEL, MINUTE, World
from scalesets.cli.render import explain as explain_drawing
from scalesets.cli.render import extensions as drawing
from scalesets.cli.render import history as history_drawing
from scalesets.cli.render import instances as instances_drawing
from scalesets.cli.render import plan as plan_drawing
from scalesets.cli.render import status as status_drawing
from scalesets.cli.surroundings import Surroundings, engine_view
from scalesets.cli.views import explain, extensions, history, instances, plan, status
from scalesets.cli.views.extensions import ExtensionView
from scalesets.cli.views.findings import Finding, Weight
from scalesets.cli.views.instances import Standing
from scalesets.engine.view import ModelExtension, OSUpgradePolicy, StartedBy, UpgradeType

FAILED = "2 of 2 upgraded instances became unhealthy, more than maxUnhealthyUpgradedInstancePercent=20 allows"
STOPPED = "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"


def a_pair() -> Scene:
    """Ten instances with two extensions, both on 1.0.0."""
    return a_set(replicas=10).on(NEW).with_extensions("monitor", "logs")


def one_stopped() -> Scene:
    """The first cell is done: monitor failed there and was put back, logs went on; now logs is in the second."""
    scene = a_pair().extending(
        [a_target("monitor", "Stopped", failed=2, error=FAILED), a_target("logs", "Running", done=2)],
        [
            an_extension_batch(1, "monitor", "0,5", "RolledBack", failed="0,5", rolledBack="0,5"),
            an_extension_batch(2, "logs", "0,5"),
            an_extension_batch(3, "logs", "1,6", "Running"),
        ],
    )
    scene.installed("logs", "1.1.0", 0, 5, former="sim://logs-1.0.0", seconds=60)
    scene.installed("logs", "1.1.0", 1, former="sim://logs-1.1.0").installed("logs", "1.1.0", 6, former="x", seconds=5)
    return scene


def in_the_first_batch() -> Scene:
    batch = an_extension_batch(1, "monitor", "0,5", "Running")
    scene = a_pair().extending([a_target("monitor", "Running"), a_target("logs", "Pending")], [batch])
    return scene.installed("monitor", "1.1.0", 0, former="x", seconds=9).sidecar_down("monitor", 0)


def put_back_now() -> Scene:
    batch = an_extension_batch(1, "monitor", "0,5", "Running", failed="0", rolledBack="0")
    scene = a_pair().extending([a_target("monitor", "Running", failed=1)], [batch])
    scene.upgrades[0]["status"]["runningStatus"]["code"] = "RollingBack"
    scene.installed("monitor", "1.1.0", 5, former="x", seconds=30)
    return scene.installed("monitor", "1.0.0", 0, former="sim://bad", seconds=1).sidecar_down("monitor", 0)


def failed_yesterday(scene: Scene, *, retry: str = "", outcome: str = "Faulted", code: str = STOPPED) -> Scene:
    scene.status["extensions"][0]["lastUpgrade"] = {
        "name": "web-ext-0badcafe",
        "version": "1.1.0",
        "outcome": outcome,
        "code": code,
        "reason": FAILED,
        "completedTime": before(days=1),
        **({"retryTime": retry} if retry else {}),
    }
    return scene


def installed(scene: Scene, *published: Obj, upgrades: tuple[Obj, ...] = ()) -> tuple[ExtensionView, ...]:
    return extensions.read(scene.scale_set, published, upgrades, now=NOW)


# -- extensions --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("E11")
def test_what_is_installed_newest_and_followed() -> None:
    scene = failed_yesterday(a_pair(), retry=before(days=-2))
    scene.spec["extensions"][1]["enableAutomaticUpgrade"] = False
    scene.spec["extensions"].append(
        {
            "name": "vault",
            "publisher": "acme",
            "type": "Vault",
            "typeHandlerVersion": "2",
            "enableAutomaticUpgrade": True,
        }
    )
    published = (
        an_extension("monitor", "1.0.0", "1.1.0", "2.0.0"),
        an_extension("logs", "1.0.0", {"version": "1.2.0", "excludeFromLatest": True}),
        an_extension("vault", "2.0.1", supported=False),
    )

    view = installed(scene, *published)

    told = [(e.name, e.version, e.latest, e.newer_major, e.automatic_upgrade) for e in view]
    assert told == [
        ("monitor", "1.0.0", "1.1.0", "2.0.0", "Enabled"),
        ("logs", "1.0.0", "1.0.0", "", "Disabled"),
        ("vault", "", "2.0.1", "", "NotSupported"),
    ]
    assert view[0].versions == {"1.0.0": 10}
    golden.check("extensions", drawing.render(view, now=NOW))
    golden.check("extensions_wide", drawing.render(view, now=NOW, wide=True), width=170)


@pytest.mark.requirement("E11")
def test_an_extension_that_nobody_publishes_is_said() -> None:
    scene = a_pair()
    scene.status["extensions"] = []

    told = golden.drawn(drawing.render(installed(scene), now=NOW), width=120)

    assert {e.automatic_upgrade for e in installed(scene)} == {"NotSupported"}
    assert "monitor: no Extension acme/Monitor in this namespace or the catalog namespace" in told
    assert "no extensions" in golden.drawn(drawing.render((), now=NOW))


def test_one_that_is_being_upgraded_says_how_far() -> None:
    scene = one_stopped()

    told = golden.drawn(drawing.render(installed(scene, upgrades=tuple(scene.upgrades)), now=NOW), width=120)

    assert "Running to 1.1.0, 2 done" in told


@pytest.mark.requirement("E11")
def test_what_is_published_with_who_runs_it() -> None:
    monitor = an_extension("monitor", "1.0.0", "1.1.0", {"version": "1.2.0", "excludeFromLatest": True}, "2.0.0")
    published = (monitor, an_extension("vault", "2.0.1", supported=False))

    view = extensions.read_published(published, (a_pair().scale_set,), location="", now=NOW)

    golden.check("extensions_published", drawing.render_published(view, now=NOW), width=100)
    assert [v.version for v in view[0].versions if v.latest] == ["2.0.0", "1.1.0"]
    assert extensions.used_by(a_pair().scale_set, published) == (monitor,)
    assert "no extensions" in golden.drawn(drawing.render_published((), now=NOW))


# -- status, instances, history ----------------------------------------------------------------------------------------


@pytest.mark.requirement("E6")
@pytest.mark.parametrize("scene", [in_the_first_batch, one_stopped, put_back_now], ids=lambda scene: scene.__name__)
def test_status_of_an_extension_upgrade(scene: Any) -> None:
    view = status.read(scene().snapshot())
    golden.check(f"status_extensions_{scene.__name__}", status_drawing.render(view, width=80))


def test_progress_counts_each_instance_once() -> None:
    view = status.read(one_stopped().snapshot())

    assert view.progress == status.ProgressView(done=1, working=1, failed=2, pending=6)
    assert view.batches_to_come == 3
    assert "batch 3 of 6 (logs)" in status_drawing.line(view)


def test_readiness_of_before_is_not_shown_as_done() -> None:
    """The kubelet hasn't restarted it; it was; it has run long enough."""
    batch = an_extension_batch(1, "monitor", "0,1,2", "Running")
    scene = a_pair().extending([a_target("monitor", "Running")], [batch])
    scene.installed("monitor", "1.1.0", 0, former="sim://monitor-1.1.0")
    scene.installed("monitor", "1.1.0", 1, former="x", seconds=3).installed(
        "monitor", "1.1.0", 2, former="x", seconds=5
    )

    view = instances.read(scene.snapshot())[:3]

    assert [i.detail for i in view] == ["monitor not started anew yet", "monitor watched for a moment", ""]
    assert [i.standing for i in view] == [Standing.WORKING, Standing.WORKING, Standing.UPGRADED]


def test_a_member_that_was_not_patched_yet_is_at_work() -> None:
    batch = an_extension_batch(1, "monitor", "0", "Running")
    scene = a_pair().extending([a_target("monitor", "Running")], [batch])

    assert instances.read(scene.snapshot())[0].detail == "monitor not patched yet"
    batch |= {"failed": "0", "rolledBack": "0"}
    scene.installed("monitor", "1.1.0", 0)
    view = instances.read(scene.snapshot())[0]
    assert (view.status, view.detail) == ("RollingBack", "monitor not patched back yet")


def test_instances_show_versions_where_they_differ() -> None:
    drawn = instances_drawing.render(instances.read(one_stopped().snapshot()), now=NOW)
    golden.check("instances_extensions", drawn, width=160)


def test_after_a_failure_status_says_when_it_is_tried_again() -> None:
    scene = failed_yesterday(a_pair(), retry=before(days=-2))
    scene.status["extensions"][1]["automaticUpgrade"] = "NotSupported"

    told = golden.drawn(status_drawing.render(status.read(scene.snapshot()), width=100), width=100)

    assert "monitor 1.0.0   Faulted to 1.1.0 24h ago, again in 2d" in told
    assert "logs 1.0.0   automatic upgrade NotSupported" in told


def test_history_of_extension_upgrades() -> None:
    scene = a_pair()
    done = an_upgrade("web-ext-1", type_="Extension", code="Completed", progress=(10, 0, 0, 0), started=before(days=1))
    done["status"]["targetExtensions"] = [a_target("monitor", "Succeeded", done=10)]
    over = an_upgrade(
        "web-ext-2",
        type_="Extension",
        code="Faulted",
        progress=(8, 2, 0, 0),
        started=before(hours=1),
        completed=before(minutes=58),
        rolled_back=(2, 0),
        error=(STOPPED, f"monitor 1.1.0: {FAILED}"),
    )
    over["status"]["targetExtensions"] = [
        a_target("monitor", "Stopped", failed=2, error=FAILED),
        a_target("logs", "Succeeded", done=10),
    ]
    queued = an_upgrade("web-ext-x2k4p", type_="Extension", started_by="User")
    queued["spec"]["extensions"] = ["logs"]
    scene.upgrades = [done, over, queued]

    view = history.read(scene.snapshot())

    assert [u.target for u in view] == ["logs", "monitor 1.1.0 and logs 1.1.0", "monitor 1.1.0"]
    golden.check("history_extensions", history_drawing.render(view, now=NOW, width=100), width=100)
    golden.check("outcome_extensions", status_drawing.outcome(view[1], of="web"), width=120)


def test_history_says_what_was_dropped_on_the_way() -> None:
    scene = a_pair()
    over = an_upgrade("web-ext-3", type_="Extension", code="Completed", progress=(10, 0, 0, 0), started=before(hours=1))
    dropped = a_target("monitor", "Dropped", done=4, error="version 1.1.0 may not be used any more")
    over["status"]["targetExtensions"] = [dropped, a_target("logs", "Succeeded", done=10)]
    scene.upgrades = [over]

    told = golden.drawn(history_drawing.render(history.read(scene.snapshot()), now=NOW, width=200), width=200)

    assert "monitor Dropped, 4 done, 0 failed (version 1.1.0 may not be used any more)" in told


# -- plan --------------------------------------------------------------------------------------------------------------


def around(scene: Scene, *published: Obj, **more: Any) -> Surroundings:
    return scene.around(an_image(NEW), extensions=published, **more)


MONITOR, LOGS = an_extension("monitor", "1.0.0", "1.1.0"), an_extension("logs", "1.0.0", "1.3.0")


@pytest.mark.requirement("E2", "E6")
def test_two_extensions_share_a_visit_one_after_the_other() -> None:
    seen = engine_view(around(a_pair(), MONITOR, LOGS))

    view = plan.hypothetical(seen, UpgradeType.EXTENSION, StartedBy.PLATFORM, NOW)

    assert [b.extension for b in view.batches] == ["monitor", "logs"] * 5
    assert {len(b.instances) for b in view.batches} == {2}
    assert view.blocked == ""
    assert plan.next_type(seen, NOW) is UpgradeType.EXTENSION
    golden.check("plan_extensions", plan_drawing.render(view))


def test_one_by_hand() -> None:
    seen = engine_view(around(a_pair(), MONITOR, LOGS))

    view = plan.hypothetical(seen, UpgradeType.EXTENSION, StartedBy.USER, NOW, extensions=["logs"])

    assert {b.extension for b in view.batches} == {"logs"}
    assert view.target == "logs 1.0.0 -> 1.3.0"
    assert view.rolls_back


def test_what_is_left_of_a_running_one_begins_on_the_cell_at_work() -> None:
    scene = in_the_first_batch()

    view = plan.running(engine_view(around(scene, MONITOR, LOGS)), NOW)

    assert view is not None
    assert [(b.number, b.extension, b.instances) for b in view.batches][:3] == [
        (2, "logs", ("web-0", "web-5")),
        (3, "monitor", ("web-1", "web-6")),
        (4, "logs", ("web-1", "web-6")),
    ]
    assert len(view.batches) == 9


@pytest.mark.requirement("E11")
def test_what_the_platform_leaves_as_it_is_says_how_to_begin() -> None:
    scene = a_set(replicas=10).on(NEW).with_extensions("monitor", "logs", enabled=False)
    seen = engine_view(around(scene, MONITOR, an_extension("logs", "1.0.0", "1.1.0", supported=False)))

    view = plan.hypothetical(seen, UpgradeType.EXTENSION, StartedBy.PLATFORM, NOW)

    assert not view.batches
    assert "automatic upgrade of monitor is Disabled (1.1.0 is there)" in view.blocked
    assert "automatic upgrade of logs is NotSupported" in view.blocked
    assert "scalesets start web --extension NAME" in golden.drawn(plan_drawing.render(view), width=200)


@pytest.mark.requirement("E4")
def test_what_failed_is_planned_for_when_it_is_tried_again() -> None:
    """The operator's interval, here three days, is known from the set's status."""
    scene = failed_yesterday(a_pair(), retry=before(days=-2))

    view = plan.hypothetical(engine_view(around(scene, MONITOR)), UpgradeType.EXTENSION, StartedBy.PLATFORM, NOW)

    assert not view.batches
    assert view.blocked == "extension monitor 1.1.0 starts at 2026-11-24T12:00:00Z"


# -- explain -----------------------------------------------------------------------------------------------------------


def findings(seen: Surroundings) -> dict[str, Finding]:
    return {finding.reason: finding for finding in explain.read(seen).findings}


def a_node(name: str, version: str) -> Obj:
    return {"metadata": {"name": name}, "status": {"nodeInfo": {"kubeletVersion": version}}}


@pytest.mark.requirement("E11")
def test_explain_says_why_each_extension_stays() -> None:
    scene = failed_yesterday(a_pair(), retry=before(days=-2))
    scene.spec["extensions"][1]["enableAutomaticUpgrade"] = False
    logs = an_extension("logs", "1.0.0", "1.3.0", {"version": "1.4.0", "excludeFromLatest": True}, "2.0.0")

    seen = around(scene, MONITOR, logs)

    found = findings(seen)
    assert found["ExtensionRetry"].weight is Weight.WAITS
    assert "it is tried again in 2d" in found["ExtensionRetry"].message
    assert FAILED in found["ExtensionRetry"].message
    assert "scalesets extensions web --enable logs" in found["ExtensionDisabled"].cure
    assert 'typeHandlerVersion: "2.0"' in found["OtherMajor"].cure
    golden.check("explain_extensions", explain_drawing.render(explain.read(seen)))


def test_excluded_versions_are_named() -> None:
    logs = an_extension("logs", "1.0.0", {"version": "1.4.0", "excludeFromLatest": True})

    found = findings(around(a_pair(), an_extension("monitor", "1.0.0"), logs))

    assert found["NotLatest"].message == "extension logs 1.4.0 is newer than 1.0.0, but excluded from latest"
    assert found["ExtensionsUpToDate"].weight is Weight.FINE


def test_nothing_follows_and_the_verdict_says_so() -> None:
    scene = a_set(replicas=10).on(NEW).with_extensions("monitor", enabled=False)
    seen = around(scene, MONITOR)
    assert explain.read(seen).verdict == "Extensions are behind, and are not upgraded automatically"

    unsupported = around(scene, an_extension("monitor", "1.0.0", "1.1.0", supported=False))
    assert "doesn't support automatic upgrade" in findings(unsupported)["ExtensionNotSupported"].message


def test_one_that_is_due_should_begin() -> None:
    assert explain.read(around(a_pair(), MONITOR, LOGS)).verdict == "An upgrade should begin soon"


@pytest.mark.requirement("E4")
def test_one_that_a_user_cancelled_waits_for_the_user() -> None:
    scene = failed_yesterday(a_pair(), outcome="Cancelled", code="CancelledByUser")

    found = findings(around(scene, MONITOR, LOGS))["ExtensionCancelled"]

    assert found.weight is Weight.BLOCKS
    assert "scalesets start web --extension monitor" in found.cure


def test_a_trigger_delay_is_told_in_the_operators_words() -> None:
    words = "extension monitor 1.1.0 starts at 2026-11-22T13:00:00Z"
    scene = a_pair().condition("Progressing", False, "WaitingForTrigger", words)

    found = findings(around(scene, MONITOR, LOGS))

    assert words in found["WaitingForTrigger"].message
    assert found["UpToDate"].weight is Weight.FINE  # the image


@pytest.mark.requirement("E13")
def test_the_sets_own_limit_counts_for_extensions() -> None:
    scene = a_pair().unhealthy(3)
    scene.spec["upgradePolicy"]["rollingUpgradePolicy"] = {"maxUnhealthyInstancePercent": 5}

    found = findings(around(scene, MONITOR, LOGS))["TooManyUnhealthy"]

    assert found.weight is Weight.BLOCKS
    assert "extension upgrades don't begin: 1 of 10 instances are unhealthy" in found.message


def test_nodes_that_do_not_restart_a_patched_sidecar() -> None:
    nodes = (a_node("node-0", "v1.31.4"), a_node("node-1", "v1.36.3"))

    seen = around(a_set(replicas=6).on(NEW).with_extensions("monitor"), MONITOR, nodes=nodes)

    assert "web-0 and web-3" in findings(seen)["NodeTooOld"].message
    view = plan.hypothetical(engine_view(seen), UpgradeType.EXTENSION, StartedBy.PLATFORM, NOW)
    assert {(left.instance, left.reason) for left in view.left_out} == {
        (f"web-{o}", "its node's kubelet is older than 1.32") for o in (0, 3)
    }


@pytest.mark.requirement("E10")
def test_in_manual_mode_instances_must_be_on_the_model_first() -> None:
    scene = a_set(replicas=5, mode="Manual").on(NEW, OLD_MODEL).with_extensions("monitor")
    scene.pods[4]["metadata"]["labels"]["scalesets.dev/model"] = MODEL
    old = {"extensions": [{**scene.spec["extensions"][0], "enableAutomaticUpgrade": False}]}

    found = findings(around(scene, MONITOR, old_model=old))

    assert "update-instances web --all" in found["NotOnLatestModel"].cure


# -- plan and engine ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("E2", "E6")
@pytest.mark.parametrize("begun", [0, 1, 2, 5])
def test_what_is_planned_is_what_is_done(begun: int) -> None:
    """Also from the middle, where one of the two may have been at work on the cell last."""
    parts = [ModelExtension(name, f"acme/{name}", "1.0", enable_automatic_upgrade=True) for name in ("one", "two")]
    world = World(replicas=13, model=replace(FIRST_MODEL, extensions=tuple(parts)), os_policy=OSUpgradePolicy())
    world.publish("1.0.0")
    for extension in parts:
        world.publish_extension(extension.key, "1.0.0")
    world.run(MINUTE)
    for extension in parts:
        world.publish_extension(extension.key, "1.1.0")

    if begun:
        world.run(until=lambda w: any(u.status and len(u.status.batches) == begun for u in w.upgrades.values()))
        planned = plan.running(world.view(), world.now)
    else:
        planned = plan.hypothetical(world.view(), UpgradeType.EXTENSION, StartedBy.PLATFORM, world.now)
    world.run()

    assert planned is not None
    done = world.status_of("", UpgradeType.EXTENSION).batches[begun:]
    assert [(b.number, b.extension, b.instances) for b in planned.batches] == [
        (b.number, b.extension, tuple(world.view().instance_name(o) for o in sorted(b.members))) for b in done
    ]
