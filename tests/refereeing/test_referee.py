"""The referee itself: for every invariant one history that breaks it, and one that just doesn't."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from referee import LISTED, FoulError, Referee
from refereeing.objects import ordinals, render

START = datetime(2026, 11, 1, tzinfo=UTC)
POLICY = {"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}}


class History:
    """A set `web` of twenty on 1.0.0, with 2.0.0 published; every step takes a tenth of a second unless said."""

    def __init__(self, *, replicas: int = 20, zones: tuple[str, ...] = (), **spec: Any) -> None:
        self.referee = Referee()
        self.now = START
        self._uids: Iterator[int] = iter(range(1, 10**6))
        self.set: dict[str, Any] = {
            "metadata": {"namespace": "a", "name": "web", "uid": "set", "generation": 1},
            "spec": {
                "replicas": replicas,
                "zones": list(zones),
                "updateDomains": 5,
                "location": "here",
                "imageReference": {"galleryImage": "ubuntu", "version": "latest"},
                "upgradePolicy": POLICY,
                **spec,
            },
            "status": {},
        }
        self.image: dict[str, Any] = {
            "metadata": {"namespace": "a", "name": "ubuntu", "uid": "image"},
            "spec": {"source": "Gallery", "versions": [{"version": "1.0.0"}, {"version": "2.0.0"}]},
        }
        self.pods: dict[int, dict[str, Any]] = {}
        self.upgrade: dict[str, Any] = {}
        self.see("ScaleSet", LISTED, self.set)
        self.see("GalleryImage", LISTED, self.image)
        for ordinal in range(replicas):
            self.claim(ordinal)
            self.pod(ordinal, "1.0.0")
            self.ready(ordinal)
        self.wait(60)

    # -- what happens --------------------------------------------------------------------------------------------------

    def see(self, kind: str, event: str, obj: dict[str, Any]) -> None:
        self.now += timedelta(milliseconds=100)
        self.referee.see(kind, event, copy.deepcopy(obj), self.now)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def claim(self, ordinal: int, *, event: str = "ADDED") -> None:
        labels = {"scalesets.dev/scaleset": "web", "scalesets.dev/instance-id": str(ordinal)}
        uid = f"claim-{next(self._uids)}"
        meta = {"namespace": "a", "name": f"data-web-{ordinal}", "uid": uid, "labels": labels}
        self.see("PersistentVolumeClaim", event, {"metadata": meta})

    def pod(
        self,
        ordinal: int,
        version: str,
        *,
        model: str = "m1",
        claim: str = "",
        extensions: dict[str, str] | None = None,
    ) -> None:
        sidecars = [{"name": n, "restartCount": 0, "containerID": f"{n}-0"} for n in extensions or ()]
        cells = {"scalesets.dev/update-domain": str(ordinal // max(1, len(self.set["spec"]["zones"])) % 5)}
        labels = {"scalesets.dev/scaleset": "web", "scalesets.dev/image-version": version, "scalesets.dev/model": model}
        self.pods[ordinal] = {
            "metadata": {
                "namespace": "a",
                "name": f"web-{ordinal}",
                "uid": f"pod-{next(self._uids)}",
                "creationTimestamp": self.now.isoformat(),
                "labels": labels | cells,
                "annotations": {f"extension.scalesets.dev/{n}": v for n, v in (extensions or {}).items()},
            },
            "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": claim or f"data-web-{ordinal}"}}]},
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"name": "os", "restartCount": 0}],
                "initContainerStatuses": sidecars,
            },
        }
        self.see("Pod", "ADDED", self.pods[ordinal])

    def ready(self, ordinal: int, *, status: str = "True") -> None:
        self.pods[ordinal]["status"]["conditions"] = [{"type": "Ready", "status": status}]
        self.see("Pod", "MODIFIED", self.pods[ordinal])

    def delete(self, ordinal: int) -> None:
        self.pods[ordinal]["metadata"]["deletionTimestamp"] = self.now.isoformat()
        self.see("Pod", "MODIFIED", self.pods[ordinal])
        self.see("Pod", "DELETED", self.pods.pop(ordinal))

    def recreate(self, ordinal: int, version: str, **how: Any) -> None:
        self.delete(ordinal)
        self.pod(ordinal, version, **how)
        self.ready(ordinal)

    def change_set(self, **spec: Any) -> None:
        self.set["spec"] |= spec
        self.see("ScaleSet", "MODIFIED", self.set)

    def lock(self, name: str) -> None:
        self.set["status"]["currentUpgrade"] = name
        self.see("ScaleSet", "MODIFIED", self.set)

    def start(self, *, name: str = "up", kind: str = "OSImage", by: str = "Platform", scope: str = "0-19") -> None:
        self.upgrade = {
            "metadata": {"namespace": "a", "name": name, "uid": f"upgrade-{name}"},
            "spec": {"scaleSet": "web", "type": kind, "startedBy": by},
            "status": {
                "runningStatus": {"code": "RollingForward"},
                "scope": scope,
                "targetModel": "m2" if kind == "Model" else "m1",
                "targetImageReference": {"galleryImage": "ubuntu", "version": "2.0.0"},
                "batches": [],
            },
        }
        if kind == "Model":
            del self.upgrade["status"]["targetImageReference"]
        self.lock(name)

    def count(self) -> None:
        """Bring the counts up to the batches."""
        status = self.upgrade["status"]
        scope = ordinals(status["scope"])
        touched = scope & frozenset().union(*(ordinals(b["ordinals"]) for b in status["batches"]))
        failed = scope & frozenset().union(*(ordinals(b.get("failed", "")) for b in status["batches"]))
        working = frozenset().union(*(ordinals(b["ordinals"]) for b in status["batches"] if b["outcome"] == "Running"))
        working -= failed
        status["progress"] = {
            "successfulInstanceCount": len(touched - failed - working),
            "failedInstanceCount": len(failed),
            "inProgressInstanceCount": len(working),
            "pendingInstanceCount": len(scope - touched),
        }

    def write(self) -> None:
        self.count()
        self.see("RollingUpgrade", "MODIFIED", self.upgrade)

    def batch(self, members: str, *, zone: str = "", domain: int = 0) -> dict[str, Any]:
        batches = self.upgrade["status"]["batches"]
        origin = {"imageVersion": "1.0.0", "model": "m1", "ordinals": members}
        batches.append(
            {
                "number": len(batches) + 1,
                "zone": zone,
                "updateDomain": domain,
                "ordinals": members,
                "from": [origin],
                "outcome": "Running",
            }
        )
        self.write()
        return batches[-1]

    def end_batch(self, outcome: str = "Succeeded", **fields: str) -> None:
        self.upgrade["status"]["batches"][-1] |= {"outcome": outcome, **fields}

    def finish(self, code: str = "Completed") -> None:
        self.upgrade["status"]["runningStatus"]["code"] = code
        self.write()

    # -- what the referee says -----------------------------------------------------------------------------------------

    @property
    def broken(self) -> set[str]:
        return {v.invariant for v in self.referee.violations}

    @property
    def words(self) -> str:
        return "\n".join(map(str, self.referee.violations))


def test_a_whole_upgrade_breaks_nothing() -> None:
    history = History()
    history.start()
    for domain in range(5):
        members = [domain, domain + 5, domain + 10, domain + 15]
        history.batch(render(members), domain=domain)
        for ordinal in members:
            history.recreate(ordinal, "2.0.0")
        history.end_batch()
    history.finish()
    history.lock("")
    history.referee.at_rest(history.now)
    history.referee.check()
    assert any("batch 5 in -/4 of 4,9,14,19: Succeeded" in line for line in history.referee.timeline)


# -- I1: how many are down ---------------------------------------------------------------------------------------------


def test_i1_a_batch_of_more_than_a_fifth() -> None:
    history = History()
    history.start()
    history.batch("0,5,10,15,1", domain=0)
    assert "I1" in history.broken


def test_i1_too_many_members_down_at_once() -> None:
    history = History(replicas=5, updateDomains=1)
    history.start(scope="0-4")
    history.batch("0-1")  # already too many; what counts here is that the second one is taken down as well
    del history.referee.violations[:]
    history.delete(0)
    assert not history.broken
    history.delete(1)
    assert history.broken == {"I1"}


def test_i1_the_next_member_may_go_down_when_the_first_is_back() -> None:
    history = History(replicas=5, updateDomains=1)
    history.start(scope="0-4")
    history.batch("0-1")
    del history.referee.violations[:]
    history.recreate(0, "2.0.0")
    history.delete(1)
    assert not history.broken


def test_i1_a_set_of_one_goes_down_whole() -> None:
    history = History(replicas=1)
    history.start(scope="0")
    history.batch("0")
    history.delete(0)
    assert not history.broken


def test_i1_a_batch_without_the_lock() -> None:
    history = History()
    history.start()
    history.lock("")
    history.batch("0")
    assert "lock is free" in history.words


def test_i1_two_upgrades_at_work() -> None:
    history = History()
    history.start(name="one")
    history.batch("0")
    history.start(name="two", by="User")
    history.batch("5")
    assert "while one of one runs" in history.words


def test_i1_a_version_that_no_batch_brought() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.recreate(5, "2.0.0")
    assert "web-5 went from 1.0.0 to 2.0.0 outside any batch" in history.words


def test_i1_an_evicted_instance_comes_back_as_it_was() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.recreate(5, "1.0.0")
    assert not history.broken


def test_i1_a_scaled_out_instance_is_new() -> None:
    history = History()
    history.change_set(replicas=19)
    history.delete(19)
    history.wait(5)
    history.change_set(replicas=20)
    history.pod(19, "2.0.0")
    assert not history.broken


# -- I2: zones and update domains --------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", ["0,1", "0,6"])
def test_i2_two_update_domains_in_one_batch(members: str) -> None:
    history = History()
    history.start()
    history.batch(members)
    assert history.broken == {"I2"}


def test_i2_two_zones_in_one_batch() -> None:
    history = History(zones=("1", "2", "3"))
    history.start()
    history.batch("0-1", zone="1")
    assert history.broken == {"I2"}


@pytest.mark.parametrize("how", ["spec", "annotation"])
def test_i2_a_protected_member(how: str) -> None:
    history = History()
    if how == "spec":
        history.change_set(instanceProtection=[{"instanceId": 5, "protectFromUpgrade": True}])
    else:
        history.pods[5]["metadata"]["annotations"]["scalesets.dev/protect-from-upgrade"] = "true"
        history.see("Pod", "MODIFIED", history.pods[5])
    history.wait(5)
    history.start()
    history.batch("0")
    assert not history.broken
    history.end_batch()
    history.batch("5")
    assert history.broken == {"I2"}


def test_i3_a_member_whose_claim_is_being_deleted() -> None:
    history = History()
    history.referee.excuse("PersistentVolumeClaim", "a", "data-web-5")
    labels = {"scalesets.dev/scaleset": "web", "scalesets.dev/instance-id": "5"}
    meta = {"namespace": "a", "name": "data-web-5", "uid": "claim", "labels": labels, "deletionTimestamp": "now"}
    history.see("PersistentVolumeClaim", "MODIFIED", {"metadata": meta})
    history.wait(5)
    history.start()
    history.batch("5")
    assert history.broken == {"I3"}


def test_i2_one_cell() -> None:
    history = History(zones=("1", "2", "3"))
    history.start()
    history.batch("4,19", zone="2", domain=1)
    assert not history.broken


def test_i2_cross_zone_is_allowed_only_where_the_policy_counts() -> None:
    rolling = {"enableCrossZoneUpgrade": True}
    history = History(zones=("1", "2", "3"), upgradePolicy={"rollingUpgradePolicy": rolling})
    history.start()
    history.batch("0-1")
    assert history.broken == {"I2"}
    used = {"rollingUpgradePolicy": rolling, "automaticOSUpgradePolicy": {"useRollingUpgradePolicy": True}}
    history = History(zones=("1", "2", "3"), upgradePolicy=used)
    history.start()
    history.batch("0-1")
    assert not history.broken


# -- I3: names, claims, pods -------------------------------------------------------------------------------------------


def test_i3_an_instance_comes_back_with_another_claim() -> None:
    history = History()
    history.delete(3)
    history.pod(3, "1.0.0", claim="other")
    assert history.broken == {"I3"}


def test_i3_a_claim_is_replaced() -> None:
    history = History()
    history.delete(3)
    history.claim(3)
    history.pod(3, "1.0.0")
    assert history.broken == {"I3"}


def test_i3_a_claim_is_deleted_under_its_instance() -> None:
    history = History()
    history.claim(3, event="DELETED")
    assert history.broken == {"I3"}


def test_i3_the_test_itself_deletes_a_claim() -> None:
    history = History()
    history.referee.excuse("PersistentVolumeClaim", "a", "data-web-3")
    history.claim(3, event="DELETED")
    assert not history.broken


def test_i3_a_scaled_in_claim_goes_after_its_pod_where_the_policy_says_so() -> None:
    history = History(persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"})
    history.change_set(replicas=19)
    history.delete(19)
    history.claim(19, event="DELETED")
    assert not history.broken


def test_i3_a_scaled_in_claim_goes_before_its_pod() -> None:
    history = History(persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"})
    history.change_set(replicas=19)
    history.claim(19, event="DELETED")
    assert history.broken == {"I3"}


def test_i3_a_scaled_in_claim_is_kept_by_default() -> None:
    history = History()
    history.change_set(replicas=19)
    history.delete(19)
    history.claim(19, event="DELETED")
    assert history.broken == {"I3"}


# -- I4: health before a batch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sick", "broken"), [(4, set()), (5, {"I4"})])
def test_i4_unhealthy_instances_when_a_batch_is_written(sick: int, broken: set[str]) -> None:
    history = History()
    for ordinal in range(1, sick + 1):
        history.ready(ordinal, status="False")
    history.wait(2)
    history.start()
    history.batch("0")
    assert history.broken == broken


def test_i4_what_happened_a_moment_ago_need_not_be_known() -> None:
    history = History()
    history.start()
    for ordinal in range(1, 10):
        history.ready(ordinal, status="False")
    history.batch("0")
    assert not history.broken


def test_i4_instances_that_are_still_coming_up_do_not_count() -> None:
    history = History()
    history.change_set(replicas=40)
    for ordinal in range(20, 40):
        history.pod(ordinal, "2.0.0")
    history.wait(10)
    history.start()
    history.batch("0")
    assert not history.broken


def test_i4_instances_that_never_came_up_count_in_the_end() -> None:
    history = History()
    history.change_set(replicas=40)
    for ordinal in range(20, 40):
        history.pod(ordinal, "2.0.0")
    history.wait(25 * 60)
    history.start()
    history.batch("0")
    assert history.broken == {"I4"}


def test_i4_a_lost_instance_counts() -> None:
    history = History(replicas=4)
    history.delete(3)
    history.wait(3)
    history.start(scope="0-3")
    history.batch("0")
    assert history.broken == {"I4"}


def test_i4_does_not_hold_for_model_upgrades() -> None:
    history = History(replicas=4)
    history.delete(3)
    history.wait(3)
    history.start(kind="Model", scope="0-3")
    history.batch("0")
    assert not history.broken


# -- I5: where instances end -------------------------------------------------------------------------------------------


def test_i5_a_touched_instance_ends_elsewhere() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.recreate(0, "1.0.0")
    history.end_batch()
    history.finish()
    assert history.broken == {"I5"}


def test_i5_a_failed_instance_is_put_back() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.delete(0)
    history.pod(0, "2.0.0")
    history.end_batch("Running", failed="0", rolledBack="0")
    history.write()
    history.recreate(0, "1.0.0")
    history.end_batch("RolledBack")
    history.finish("Faulted")
    assert not history.broken


def test_i5_a_failed_instance_is_left_although_it_must_be_put_back() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.delete(0)
    history.pod(0, "2.0.0")
    history.end_batch("Failed", failed="0")
    history.finish("Faulted")
    assert history.broken == {"I5"}


@pytest.mark.parametrize("disabled", [True, False])
def test_i5_without_roll_back_it_stays_on_the_target(disabled: bool) -> None:
    policy = {"automaticOSUpgradePolicy": {"disableAutomaticRollback": disabled}}
    history = History(upgradePolicy=policy)
    history.start(by="Platform" if disabled else "User")
    history.batch("0")
    history.delete(0)
    history.pod(0, "2.0.0")
    history.end_batch("Failed", failed="0")
    history.finish("Faulted")
    assert not history.broken


def test_i5_a_users_upgrade_puts_nothing_back() -> None:
    history = History()
    history.start(by="User")
    history.batch("0")
    history.delete(0)
    history.pod(0, "2.0.0")
    history.end_batch("Running", failed="0", rolledBack="0")
    history.write()
    history.recreate(0, "1.0.0")
    history.end_batch("RolledBack")
    history.finish("Faulted")
    assert history.broken == {"I5"}


@pytest.mark.parametrize(("version", "broken"), [("2.0.0", set()), ("1.0.0", {"I5"})])
def test_i5_an_instance_that_was_missing_at_the_end_comes_back_on_the_target(version: str, broken: set[str]) -> None:
    history = History()
    history.start()
    history.batch("0")
    history.recreate(0, "2.0.0")
    history.end_batch()
    history.delete(0)
    history.finish()
    history.pod(0, version)
    assert history.broken == broken


def test_i5_a_scaled_in_instance_is_excused() -> None:
    history = History()
    history.start()
    history.batch("4,9,14,19", domain=4)
    for ordinal in (4, 9, 14):
        history.recreate(ordinal, "2.0.0")
    history.change_set(replicas=19)
    history.delete(19)
    history.wait(3)
    history.end_batch()
    history.finish()
    assert not history.broken


@pytest.mark.parametrize(("version", "broken"), [("1.0.0", set()), ("2.0.0", {"I5"})])
def test_i5_a_pod_that_never_ended_comes_back_as_what_it_was(version: str, broken: set[str]) -> None:
    history = History()
    history.start(by="User")
    history.batch("0")
    history.pods[0]["metadata"]["deletionTimestamp"] = history.now.isoformat()
    history.see("Pod", "MODIFIED", history.pods[0])
    history.end_batch("Failed", failed="0")
    history.finish("Faulted")
    assert not history.broken
    history.see("Pod", "DELETED", history.pods.pop(0))
    history.pod(0, version)
    assert history.broken == broken


def test_i5_a_set_that_was_made_again_is_not_judged_by_the_upgrades_of_the_old_one() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.see("ScaleSet", "DELETED", history.set)
    history.set = {**history.set, "metadata": {**history.set["metadata"], "uid": "another"}, "status": {}}
    history.see("ScaleSet", "ADDED", history.set)
    history.end_batch("Failed", failed="0")
    history.finish("Cancelled")
    assert not history.broken


def test_i5_a_model_upgrade_ends_on_the_model() -> None:
    for model, broken in (("m2", set()), ("m1", {"I5"})):
        history = History()
        history.start(kind="Model")
        history.batch("0")
        history.recreate(0, "1.0.0", model=model)
        history.end_batch()
        history.finish()
        assert history.broken == broken


# -- I6: counts and finished upgrades ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["successful", "failed", "inProgress", "pending"])
def test_i6_a_wrong_count(name: str) -> None:
    history = History()
    history.start()
    history.batch("0")
    history.upgrade["status"]["progress"][f"{name}InstanceCount"] += 1
    history.see("RollingUpgrade", "MODIFIED", history.upgrade)
    assert history.broken == {"I6"}


def test_i6_the_status_of_a_finished_upgrade_changes() -> None:
    history = History()
    history.start()
    history.finish("Cancelled")
    history.upgrade["status"]["runningStatus"]["completedTime"] = "2026-11-01T00:00:00Z"
    history.write()
    assert history.broken == {"I6"}


def test_i6_the_spec_of_a_finished_upgrade_may_change() -> None:
    history = History()
    history.start()
    history.finish("Cancelled")
    history.upgrade["metadata"]["finalizers"] = []
    history.upgrade["spec"]["cancel"] = True
    history.write()
    assert not history.broken


def test_i6_an_ended_batch_changes() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.recreate(0, "2.0.0")
    history.end_batch()
    history.batch("1", domain=1)
    history.upgrade["status"]["batches"][0]["failed"] = "0"
    history.write()
    assert history.broken == {"I6"}


def in_mid_upgrade() -> History:
    history = History()
    history.start(scope="0-18")
    history.batch("0,5")
    return history


@pytest.mark.parametrize(
    ("scope", "skipped", "broken"),
    [
        pytest.param("0-17", "", {"I6"}, id="unnoticed"),
        pytest.param("0-17", "18", set(), id="skipped-by-name"),
        pytest.param("0-19", "", {"I6"}, id="a-new-one"),
    ],
)
def test_i6_nobody_enters_the_scope_or_leaves_it_unnoticed(scope: str, skipped: str, broken: set[str]) -> None:
    history = in_mid_upgrade()
    history.upgrade["status"] |= {"scope": scope, "skipped": skipped}
    history.write()
    assert history.broken == broken


def test_i6_who_reached_the_target_otherwise_may_leave_the_scope() -> None:
    history = in_mid_upgrade()
    history.recreate(18, "2.0.0")
    history.upgrade["status"]["scope"] = "0-17"
    history.write()
    assert "left its scope" not in history.words


def test_i6_who_was_scaled_in_leaves_the_scope() -> None:
    history = in_mid_upgrade()
    history.change_set(replicas=18)
    history.upgrade["status"]["scope"] = "0-17"
    history.write()
    assert not history.broken


def test_i6_a_finished_upgrade_with_a_batch_at_work() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.recreate(0, "2.0.0")
    history.finish()
    assert history.broken == {"I6"}


# -- I7: everything ends -----------------------------------------------------------------------------------------------


def test_i7_an_upgrade_that_does_not_end() -> None:
    history = History()
    history.start()
    history.batch("0")
    history.referee.at_rest(history.now)
    assert history.broken == {"I7"}


def test_i7_an_upgrade_that_waits_for_approval_need_not_end() -> None:
    history = History()
    history.start()
    history.upgrade["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "WaitingForApproval"}
    ]
    history.write()
    history.referee.at_rest(history.now)
    assert not history.broken


# -- I8: the target ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version",
    [
        {"version": "2.0.0", "excludeFromLatest": True},
        {"version": "2.0.0", "publishedDate": "2027-01-01T00:00:00Z"},
        {"version": "2.0.0", "targetRegions": ["there"]},
        {"version": "2.1.0"},
    ],
    ids=["excluded", "unpublished", "unreplicated", "removed"],
)
def test_i8_a_target_that_may_not_be_used(version: dict[str, Any]) -> None:
    def history_with(**spec: Any) -> History:
        history = History(**spec)
        history.image["spec"]["versions"] = [version]
        history.see("GalleryImage", "MODIFIED", history.image)
        return history

    late = history_with()
    late.wait(2)
    late.start()
    late.batch("0")
    assert late.broken == {"I8"}

    at_once = history_with()
    at_once.start()
    at_once.batch("0")
    assert not at_once.broken, "within the lag the operator need not know"

    named = history_with(imageReference={"galleryImage": "ubuntu", "version": "2.0.0"})
    named.wait(2)
    named.start()
    named.batch("0")
    assert not named.broken, "the model names it exactly"


def test_i8_a_version_that_is_still_replicating() -> None:
    history = History()
    regions = [{"name": "here", "state": "Replicating"}]
    history.image["status"] = {"versions": [{"version": "2.0.0", "regions": regions}]}
    history.see("GalleryImage", "MODIFIED", history.image)
    history.wait(2)
    history.start()
    history.batch("0")
    assert history.broken == {"I8"}


def test_i8_the_image_is_deleted() -> None:
    history = History()
    history.see("GalleryImage", "DELETED", history.image)
    history.wait(2)
    history.start()
    history.batch("0")
    assert history.broken == {"I8"}


# -- I9: quiet ---------------------------------------------------------------------------------------------------------


def test_i9_a_change_in_a_quiet_cluster() -> None:
    history = History()
    since = history.now
    history.wait(30)
    history.referee.quiet_between(since, history.now)
    assert not history.broken
    history.lock("")
    history.referee.quiet_between(since, history.now)
    assert history.broken == {"I9"}


@pytest.mark.parametrize(("reporter", "broken"), [("scalesets.dev/scaleset-operator", {"I9"}), ("scheduler", set())])
def test_i9_counts_the_events_of_the_operator_only(reporter: str, broken: set[str]) -> None:
    history = History()
    since = history.now
    event = {"metadata": {"namespace": "apps", "name": "web.1"}, "reportingComponent": reporter}
    history.referee.see("Event", "ADDED", event, history.now)
    history.referee.quiet_between(since, history.now)
    assert history.broken == broken


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_tells_what_happened() -> None:
    history = History(replicas=5)
    history.start(scope="0-4")
    history.batch("0,1")
    with pytest.raises(FoulError) as foul:
        history.referee.check()
    text = str(foul.value)
    assert "batch 1 has 2 of 5, more than 1" in text
    assert "pod web-0 on 1.0.0 is ready" in text
    assert "batch 1 in -/0 of 0-1: Running" in text


def test_another_sets_pods_and_strangers_are_nobodys() -> None:
    history = History()
    stranger = copy.deepcopy(history.pods[0])
    stranger["metadata"] |= {"uid": "x", "ownerReferences": [{"controller": True, "kind": "Job", "name": "web"}]}
    history.see("Pod", "ADDED", stranger)
    unlabelled = {"metadata": {"namespace": "a", "name": "web-7", "uid": "y"}}
    history.see("Pod", "ADDED", unlabelled)
    assert not history.broken


def test_ordinals_round_trip() -> None:
    assert render(ordinals("0-3,7,9-10")) == "0-3,7,9-10"
    assert ordinals("") == frozenset()
