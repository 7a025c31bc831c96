"""``explain``: for each thing that can hold an upgrade up, the finding that names it and its cure."""

from __future__ import annotations

import pytest

from cli import golden
from cli.scenes import NEW, NEWER, NOW, OLD, OLD_MODEL, a_budget, a_set, an_image, an_upgrade, before
from scalesets.cli.render import explain as drawing
from scalesets.cli.surroundings import Surroundings
from scalesets.cli.views import explain
from scalesets.cli.views.findings import Finding, Weight


def findings(around: Surroundings) -> dict[str, Finding]:
    return {finding.reason: finding for finding in explain.read(around).findings}


def blocking(around: Surroundings) -> dict[str, Finding]:
    return {reason: found for reason, found in findings(around).items() if found.weight is Weight.BLOCKS}


def test_nothing_is_due() -> None:
    around = a_set().on(NEW).around(an_image(OLD, NEW))

    golden.check("explain_nothing_due", drawing.render(explain.read(around)))
    assert not blocking(around)


def test_instances_are_on_a_version_that_was_withdrawn() -> None:
    found = explain.read(a_set().on(NEWER).around(an_image(OLD, NEW)))

    fine = [finding.message for finding in found.findings if finding.reason == "UpToDate"]
    assert fine == [
        f"20 of 20 instances (100%) are on {NEWER}, newer than {NEW}, the latest in westeurope: "
        "none goes back by itself"
    ]


def test_many_things_at_once() -> None:
    scene = a_set().on(OLD).unhealthy(1, 3, 6, 9, 12).condition("TemplateRefused", True, "", "spec.x: Invalid value")
    scene.spec["instanceProtection"] = [{"instanceId": 7, "protectFromUpgrade": True}]
    scene.status["lastOSUpgrade"] = {
        "name": "web-os-0badcafe",
        "version": NEW,
        "outcome": "Faulted",
        "code": "MaxUnhealthyInstancePercentExceededInRollingUpgrade",
        "reason": "5 of 20 instances are unhealthy, more than maxUnhealthyInstancePercent=20 allows",
        "completedTime": before(minutes=12),
    }
    around = scene.around(an_image(OLD, NEW, {"version": NEWER, "excludeFromLatest": True}), budgets=(a_budget("web"),))

    golden.check("explain_many_things", drawing.render(explain.read(around)))


def test_an_upgrade_at_work() -> None:
    scene = a_set().on(OLD).upgrading_to(NEW, done=2).starting(2, 7).without_pods(12, 17)
    around = scene.around(an_image(OLD, NEW))

    golden.check("explain_at_work", drawing.render(explain.read(around)))
    assert not blocking(around)


def test_no_operator_has_ever_run() -> None:
    scene = a_set(replicas=3)
    scene.scale_set["status"] = {}

    found = blocking(scene.around(an_image(NEW), lease=None))["NoOperator"]

    assert "no operator has ever led here" in found.message
    assert "UpToDate" not in findings(scene.around(an_image(NEW), lease=None))  # there is no instance yet
    assert "scalesets operator" in found.cure


def test_the_operator_went_silent() -> None:
    lease = {"spec": {"holderIdentity": "operator-1", "renewTime": before(minutes=5)}}

    found = blocking(a_set().on(NEW).around(an_image(NEW), lease=lease))["NoOperator"]

    assert "heard of 5m ago" in found.message


def test_the_operator_stopped_in_order() -> None:
    lease = {"spec": {"holderIdentity": "", "renewTime": before(seconds=5)}}

    assert "NoOperator" in blocking(a_set().on(NEW).around(an_image(NEW), lease=lease))


def test_a_change_that_the_operator_has_not_seen_yet() -> None:
    scene = a_set().on(NEW)
    scene.scale_set["metadata"]["generation"] = 4

    assert findings(scene.around(an_image(NEW)))["NotObserved"].weight is Weight.WAITS


def test_not_opted_in() -> None:
    scene = a_set().on(OLD)
    scene.spec["upgradePolicy"]["automaticOSUpgradePolicy"]["enableAutomaticOSUpgrade"] = False
    around = scene.around(an_image(OLD, NEW))

    found = findings(around)

    assert "enableAutomaticOSUpgrade: true" in found["Disabled"].cure
    assert "scalesets start web" in found["Disabled"].cure
    assert explain.read(around).verdict == "Instances are behind, and automatic upgrades are off"


@pytest.mark.requirement("O15")
def test_what_eligibility_needs_is_named_with_its_cure() -> None:
    scene = a_set().on(OLD)
    scene.spec["imageReference"]["version"] = OLD
    scene.spec["template"]["spec"]["containers"][0].pop("readinessProbe")

    found = blocking(scene.around(an_image(OLD, NEW)))

    assert found["VersionPinned"].cure == "set spec.imageReference.version: latest"
    assert "readinessProbe" in found["NoHealthSignal"].cure


@pytest.mark.requirement("O15")
def test_a_missing_image() -> None:
    assert "scalesets images" in blocking(a_set().on(OLD).around())["ImageNotFound"].cure


@pytest.mark.requirement("O15")
def test_a_missing_secret_that_only_the_operator_sees() -> None:
    scene = a_set().on(NEW)
    scene.condition("AutomaticOSUpgradeEligible", False, "ExternalResourceMissing", "Secret web-keys is missing")

    assert "web-keys" in blocking(scene.around(an_image(NEW)))["ExternalResourceMissing"].message


def test_too_many_unhealthy_names_them_and_the_way_out() -> None:
    found = blocking(a_set().on(OLD).unhealthy(1, 3, 5, 7, 9).around(an_image(OLD, NEW)))["TooManyUnhealthy"]

    assert "5 of 20 instances (25%) are unhealthy, the limit is 20%" in found.message
    assert "web-1, web-3, web-5, web-7 and web-9" in found.message
    assert "scalesets update-instances web 1,3,5,7,9" in found.cure


def test_the_sick_that_are_on_the_newest_version_need_another() -> None:
    """`update-instances` would do nothing to them."""
    cure = blocking(a_set().on(NEW).unhealthy(1, 3, 5, 7, 9).around(an_image(OLD, NEW)))["TooManyUnhealthy"].cure

    assert "publish a newer version" in cure
    assert "update-instances" not in cure


def test_new_instances_that_do_not_come_up_are_named() -> None:
    scene = a_set(replicas=3).on(NEW).starting(0, 1, 2, version=NEW)
    scene.status.pop("instances", None)  # the record names only those that were Ready once

    view = explain.read(scene.around(an_image(OLD, NEW)))

    found = next(finding for finding in view.findings if finding.reason == "NewInstances")
    assert "3 of 3 instances (100%) have not been Ready yet: web-0, web-1 and web-2: os not ready" in found.message
    assert "scalesets instances web -o wide" in found.cure
    assert view.verdict != "Nothing is due"


def test_as_many_as_the_limit_allows_block_nothing() -> None:
    assert not blocking(a_set().on(OLD).unhealthy(1, 3, 5, 7).around(an_image(OLD, NEW)))


def test_the_time_of_the_next_trigger() -> None:
    scene = a_set().on(OLD)
    scene.condition("Progressing", False, "WaitingForTrigger", f"version {NEW} starts at 2026-11-22T12:41:00Z")
    around = scene.around(an_image(OLD, NEW))

    found = findings(around)["WaitingForTrigger"]

    assert found.weight is Weight.WAITS
    assert "2026-11-22T12:41:00Z" in found.message
    assert explain.read(around).verdict == "It waits, and goes on by itself"


def test_a_version_that_failed_here_is_not_tried_again() -> None:
    scene = a_set().on(OLD)
    scene.condition("Progressing", False, "AlreadyTried", f"version {NEW}: it failed here")

    found = blocking(scene.around(an_image(OLD, NEW)))["AlreadyTried"]

    assert "it failed here" in found.message
    assert "scalesets start web" in found.cure


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ({"excludeFromLatest": True}, "excluded from latest"),
        ({"publishedDate": "2026-12-01T00:00:00Z"}, "not published before 2026-12-01"),
        ({"endOfLifeDate": "2026-11-01T00:00:00Z"}, "past its end of life"),
        ({"state": "Replicating"}, "still replicating to westeurope"),
    ],
)
def test_why_a_newer_version_is_not_the_latest(version: dict[str, object], words: str) -> None:
    around = a_set().on(NEW).around(an_image(NEW, {"version": NEWER, **version}))

    assert findings(around)["NotLatest"].message.startswith(f"version {NEWER} is newer, but {words}")


def test_a_registry_that_does_not_answer_is_named() -> None:
    image = an_image(NEW)
    said = {"type": "Discovered", "status": "False", "reason": "RegistryUnreachable", "message": "r:1 is away"}
    image["status"]["conditions"] = [said]
    around = a_set().on(NEW).around(image)

    found = findings(around)["NotDiscovered"]
    assert "r:1 is away" in found.message
    assert image["metadata"]["name"] in found.cure
    assert not blocking(around), "the versions that are known go on"
    said["status"] = "True"
    assert "NotDiscovered" not in findings(around)


def test_manual_mode_names_who_is_left_out() -> None:
    scene = a_set(replicas=3, mode="Manual").on(OLD)
    scene.pods[1]["metadata"]["labels"]["scalesets.dev/model"] = OLD_MODEL

    found = blocking(scene.around(an_image(OLD, NEW)))["NotOnLatestModel"]

    assert "web-1" in found.message
    assert "scalesets update-instances web" in found.cure


def test_a_deferred_upgrade_needs_approval() -> None:
    scene = a_set().on(OLD).upgrading_to(NEW, running=False, waiting_for="name instances")
    scene.status["currentUpgrade"] = ""
    scene.upgrades[0]["status"]["conditions"] = [
        {"type": "Progressing", "status": "True", "reason": "WaitingForApproval", "message": "name instances"}
    ]

    assert "scalesets approve web --all" in blocking(scene.around(an_image(OLD, NEW)))["WaitingForApproval"].cure


def test_upgrades_in_line() -> None:
    scene = a_set().on(OLD).upgrading_to(NEW, done=1)
    scene.upgrades.append(an_upgrade("web-os-mine", started_by="User"))

    assert "its turn comes after web-os-7f3c2a10" in findings(scene.around(an_image(OLD, NEW)))["Queued"].message


def test_stalled() -> None:
    scene = a_set().on(NEW).condition("Stalled", True, "ModelUpgradeFaulted", "web-model-1: stopped; change the model")

    assert "scalesets update-instances web --all" in blocking(scene.around(an_image(NEW)))["ModelUpgradeFaulted"].cure


def test_a_claim_that_is_being_deleted() -> None:
    claim = {
        "metadata": {
            "name": "data-web-2",
            "namespace": "team-a",
            "uid": "claim-uid",
            "resourceVersion": "1",
            "labels": {"scalesets.dev/scaleset": "web", "scalesets.dev/scaleset-uid": "set-uid"},
            "deletionTimestamp": before(minutes=1),
        },
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
    }
    scene = a_set().on(OLD)
    scene.spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]

    assert "web-2" in blocking(scene.around(an_image(OLD, NEW), claims=(claim,)))["ClaimDeleting"].message


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"maxUnavailable": 0}, "BudgetForbidsAll"),
        ({"minAvailable": "100%"}, "BudgetForbidsAll"),
        ({"maxUnavailable": "20%"}, "BudgetNotConsulted"),
    ],
)
def test_disruption_budgets(spec: dict[str, object], reason: str) -> None:
    found = findings(a_set().on(NEW).around(an_image(NEW), budgets=(a_budget("web", **spec),)))

    assert reason in found
    assert all(f.weight is not Weight.BLOCKS for f in found.values())


def test_a_budget_that_can_not_be_computed() -> None:
    budget = a_budget("web", maxUnavailable="20%")
    condition = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}
    budget["status"] = {"conditions": [condition]}

    assert findings(a_set().on(NEW).around(an_image(NEW), budgets=(budget,)))["BudgetFails"].cure.startswith("use min")


def test_overlapping_and_foreign_budgets() -> None:
    foreign = {"metadata": {"name": "db"}, "spec": {"selector": {"matchLabels": {"app": "db"}}}}
    both = (a_budget("one"), a_budget("two"), foreign)

    found = findings(a_set().on(NEW).around(an_image(NEW), budgets=both))

    assert "one and two" in found["BudgetsOverlap"].message
    assert "BudgetNotConsulted" not in findings(a_set().on(NEW).around(an_image(NEW), budgets=(foreign,)))


def test_what_may_not_be_read_is_said() -> None:
    view = explain.read(a_set().on(NEW).around(an_image(NEW), lease=None, unread=("leases",)))

    assert "leases" in golden.drawn(drawing.render(view))
    assert "NoOperator" not in {f.reason for f in view.findings}


def test_now_is_the_time_of_the_snapshot() -> None:
    assert a_set().around().now == NOW
