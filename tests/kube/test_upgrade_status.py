"""RollingUpgrade: its status is read back as it was written, and its conditions say how it stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from kube_objects import NAMESPACE, NOW, a_set, at, stored
from shapes import unknown_fields
from status_strategies import upgrade_statuses

from scalesets.api.rollingupgrade import RollingUpgradeSpec, RollingUpgradeStatus
from scalesets.engine.decision import CreateUpgrade
from scalesets.engine.view import (
    Batch,
    BatchOutcome,
    Code,
    ExtensionTarget,
    Progress,
    Release,
    StartedBy,
    Target,
    TargetOutcome,
    UpgradeStatus,
    UpgradeType,
)
from scalesets.kube import statuses, times, upgrades

STARTED = UpgradeStatus(Code.ROLLING_FORWARD, Target("abc", "2.0.0", "Canonical/jammy/22_04-LTS"), NOW)


def an_upgrade(*, status=None, metadata=None, **spec):
    obj = stored(
        {
            "kind": "RollingUpgrade",
            "metadata": {"name": "web-os-1", "namespace": NAMESPACE, **(metadata or {})},
            "spec": {"scaleSet": "web", "type": "OSImage", **spec},
        }
    )
    return {**obj, "status": status} if status else obj


def write(status: UpgradeStatus, upgrade=None, now=NOW):
    return upgrades.write_status(status, upgrade or an_upgrade(), now)


def conditions(status: UpgradeStatus):
    return {c["type"]: (c["status"], c["reason"]) for c in write(status)["conditions"]}


# -- status ------------------------------------------------------------------------------------------------------------


@given(upgrade_statuses)
def test_what_is_written_is_read_back(status: UpgradeStatus):
    assert upgrades.read_status(write(status)) == status


@given(upgrade_statuses)
def test_what_is_written_fits_the_api(status: UpgradeStatus):
    body = write(status)

    assert list(unknown_fields(RollingUpgradeStatus, body)) == []
    RollingUpgradeStatus.model_validate(body)


@given(upgrade_statuses)
def test_writing_what_was_read_changes_nothing(status: UpgradeStatus):
    body = write(status)
    read = upgrades.read_status(body)
    assert read is not None

    assert statuses.same(body, write(read, an_upgrade(status=body), NOW + timedelta(hours=1)))


@pytest.mark.requirement("O22")
def test_the_status_reads_as_the_api_says():
    former = Release("1.0.0", "abc")
    batch = Batch(
        number=1,
        zone="1",
        update_domain=2,
        start=NOW,
        members=dict.fromkeys((0, 1, 2, 5), former),
        failed=frozenset({5}),
        rolled_back=frozenset({5}),
        outcome=BatchOutcome.ROLLED_BACK,
        completed=NOW,
    )
    status = replace(
        STARTED, scope=frozenset(range(20)), progress=Progress(3, 1, 0, 16), rolled_back=1, batches=(batch,)
    )

    body = write(status, an_upgrade(startedBy="Platform"))

    assert body["runningStatus"] == {
        "code": "RollingForward",
        "startTime": "2026-11-22T12:00:00Z",
        "lastAction": "Start",
    }
    assert body["startedBy"] == "Platform"
    assert body["targetImageReference"] == {
        "publisher": "Canonical",
        "offer": "jammy",
        "sku": "22_04-LTS",
        "version": "2.0.0",
    }
    assert body["progress"] == {
        "successfulInstanceCount": 3,
        "failedInstanceCount": 1,
        "inProgressInstanceCount": 0,
        "pendingInstanceCount": 16,
    }
    assert body["rollbackInfo"]["successfullyRolledbackInstanceCount"] == 1
    assert body["scope"] == "0-19"
    (written,) = body["batches"]
    assert (written["ordinals"], written["failed"], written["rolledBack"]) == ("0-2,5", "5", "5")
    assert written["from"] == [{"ordinals": "0-2,5", "imageVersion": "1.0.0", "model": "abc"}]
    assert written["outcome"] == "RolledBack"


def test_an_upgrade_that_nobody_touched_has_no_status():
    assert upgrades.read_status(None) is None
    assert upgrades.read_status({"conditions": []}) is None


def test_words_that_the_api_would_refuse_are_cut():
    status = replace(
        STARTED, error_code="E" * 999, error="x" * 9999, waiting_message="y" * 9999, roll_back_error="z" * 9999
    )

    RollingUpgradeStatus.model_validate(write(status))


# -- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "complete", "failed", "ready", "reconciling", "stalled"),
    [
        (STARTED, "False", "False", "False", "True", "False"),
        (replace(STARTED, code=Code.ROLLING_BACK), "False", "False", "False", "True", "False"),
        (replace(STARTED, code=Code.COMPLETED), "True", "False", "True", "False", "False"),
        (replace(STARTED, code=Code.FAULTED, error_code="TooMany"), "False", "True", "False", "False", "True"),
        (replace(STARTED, code=Code.CANCELLED), "False", "True", "False", "False", "True"),
    ],
    ids=["forward", "back", "completed", "faulted", "cancelled"],
)
def test_how_it_stands(status, complete, failed, ready, reconciling, stalled):
    found = {name: state for name, (state, _) in conditions(status).items()}

    assert found == {
        "Complete": complete,
        "Failed": failed,
        "Ready": ready,
        "Reconciling": reconciling,
        "Stalled": stalled,
        "Progressing": reconciling,
    }


def test_an_error_is_the_reason_and_waiting_is_said():
    faulted = replace(STARTED, code=Code.FAULTED, error_code="TooMany", error="more than 20%")
    waiting = replace(STARTED, waiting="WaitingForApproval", waiting_message="name instances")

    assert conditions(faulted)["Failed"] == ("True", "TooMany")
    assert write(faulted)["error"] == {"code": "TooMany", "message": "more than 20%"}
    assert conditions(waiting)["Progressing"] == ("True", "WaitingForApproval")
    assert write(waiting)["waitingFor"] == "name instances"


# -- the object --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O5", "O24")
def test_a_users_upgrade_is_read_with_its_wishes():
    raw = an_upgrade(
        metadata={"finalizers": ["scalesets.dev/finish-batch"], "deletionTimestamp": at(0)},
        cancel=True,
        approvedInstances=["web-1", "*"],
    )

    found = upgrades.read(raw)

    assert (found.type, found.started_by) == (UpgradeType.OS_IMAGE, StartedBy.USER)
    assert (found.held, found.deleting, found.cancel) == (True, True, True)
    assert found.approved == {"web-1", "*"}
    assert found.created == times.parse(at(-3600))
    assert found.status is None
    assert upgrades.read(an_upgrade(type="Model", instances=["web-3"])).instances == ("web-3",)


def test_the_operators_own_is_held_labelled_and_owned():
    body = upgrades.body(a_set(), CreateUpgrade("web-os-1", UpgradeType.OS_IMAGE))

    RollingUpgradeSpec.model_validate(body["spec"])
    assert body["spec"] == {"scaleSet": "web", "type": "OSImage", "startedBy": "Platform"}
    assert body["metadata"]["finalizers"] == ["scalesets.dev/finish-batch"]
    assert body["metadata"]["labels"] == {"scalesets.dev/scaleset": "web"}
    assert body["metadata"]["ownerReferences"][0]["uid"] == "set-uid"


def test_a_users_upgrade_is_held_without_losing_what_it_has():
    other = {"kind": "Job", "name": "j", "uid": "job-uid", "controller": True}
    raw = an_upgrade(metadata={"labels": {"team": "a"}, "finalizers": ["their/own"], "ownerReferences": [other]})

    patch = {op["path"]: op["value"] for op in upgrades.hold_patch(a_set(), raw)}

    assert patch["/metadata/finalizers"] == ["their/own", "scalesets.dev/finish-batch"]
    assert patch["/metadata/labels"] == {"team": "a", "scalesets.dev/scaleset": "web"}
    theirs, ours = patch["/metadata/ownerReferences"]
    assert theirs == other
    assert (ours["uid"], ours["controller"]) == ("set-uid", False)


def test_only_our_finalizer_is_taken_off():
    raw = an_upgrade(metadata={"finalizers": ["scalesets.dev/finish-batch", "their/own"]})

    assert upgrades.release_patch(raw) == [{"op": "add", "path": "/metadata/finalizers", "value": ["their/own"]}]


def test_approvals_are_cleared():
    assert upgrades.clear_approvals_patch() == [{"op": "add", "path": "/spec/approvedInstances", "value": []}]


# -- extensions --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("E6")
def test_how_each_extension_goes_reads_as_the_api_says():
    members = dict.fromkeys((0, 5), Release("1.0.0", "abc", (("monitor", "9.5.1"),)))
    status = UpgradeStatus(
        Code.ROLLING_FORWARD,
        Target("abc"),
        NOW,
        batches=(Batch(1, "", 0, NOW, members, extension="monitor"),),
        extensions=(
            ExtensionTarget("monitor", "9.6.0", "9.5.1", TargetOutcome.RUNNING, successful=2),
            ExtensionTarget(
                "agent", "1.1.0", "1.0.0", TargetOutcome.STOPPED, failed=4, error_code="Max", error="too many"
            ),
        ),
    )

    body = write(status, an_upgrade(type="Extension"))

    assert body["batches"][0]["extension"] == "monitor"
    assert "targetImageReference" not in body
    assert body["target"] == "monitor=9.6.0,agent=1.1.0"
    assert body["targetExtensions"] == [
        {
            "name": "monitor",
            "from": "9.5.1",
            "to": "9.6.0",
            "outcome": "Running",
            "successfulInstanceCount": 2,
            "failedInstanceCount": 0,
        },
        {
            "name": "agent",
            "from": "1.0.0",
            "to": "1.1.0",
            "outcome": "Stopped",
            "successfulInstanceCount": 0,
            "failedInstanceCount": 4,
            "error": {"code": "Max", "message": "too many"},
        },
    ]


def test_a_user_may_name_extensions_even_twice():
    assert upgrades.read(an_upgrade(type="Extension")).extensions == ()
    assert upgrades.read(an_upgrade(type="Extension", extensions=["b", "a", "b"])).extensions == ("b", "a")


@pytest.mark.parametrize(("type_", "words"), [("OSImage", "1.1.0"), ("Model", "abc")])
def test_the_column_target_tells_where_it_goes(type_: str, words: str):
    status = replace(STARTED, target=Target("abc", "1.1.0", "ubuntu"))

    assert write(status, an_upgrade(type=type_))["target"] == words


def test_what_other_upgrades_install_is_no_target_with_an_outcome():
    status = replace(STARTED, target=replace(STARTED.target, extensions=(("monitor", "9.6.0"),)))

    body = write(status)

    assert body["targetExtensions"] == [{"name": "monitor", "to": "9.6.0"}]
    assert upgrades.read_status(body) == status
