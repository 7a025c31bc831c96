"""The index over pods and claims: whose they are, which changes matter, and how often instances were lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scalesets.kube.fleet import Claims, Matter, Pods
from scalesets.kube.seen import Key

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Fleet:
    """Pods fed by hand, with a clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.woken: list[tuple[int, Matter]] = []
        self.pods = Pods(lambda pod, matter: self.woken.append((pod.instance.ordinal, matter)), now=lambda: self.now)
        self._version = 0

    def see(self, ordinal: int = 0, **given: Any) -> None:
        self._version += 1
        self.pods.store.put(a_pod(ordinal, self._version, **given))

    def gone(self, ordinal: int = 0, **given: Any) -> None:
        self._version += 1
        self.pods.store.gone(a_pod(ordinal, self._version, **given))

    def matter(self) -> list[Matter]:
        """What the changes since the last question meant."""
        said, self.woken = [m for _, m in self.woken], []
        return said


def a_pod(
    ordinal: int,
    version: int,
    *,
    uid: str = "",
    owner: str = "set-uid",
    ready: datetime | None = None,
    phase: str = "Running",
    node: str = "",
    deleted: bool = False,
    labels: dict[str, str] | None = None,
    monitor: dict[str, Any] | None = None,
    created: str = "2026-11-22T11:00:00Z",
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "namespace": "team",
        "name": f"web-{ordinal}",
        "uid": uid or f"uid-{ordinal}",
        "resourceVersion": str(version),
        "creationTimestamp": created,
        "labels": {"scalesets.dev/scaleset": "web", "scalesets.dev/instance-id": str(ordinal), **(labels or {})},
    }
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True, "kind": "ScaleSet", "name": "web"}]
    if deleted:
        metadata |= {"deletionTimestamp": "2026-11-22T12:00:30Z", "deletionGracePeriodSeconds": 30}
    conditions = []
    if ready:
        conditions.append(
            {"type": "Ready", "status": "True", "lastTransitionTime": ready.strftime("%Y-%m-%dT%H:%M:%SZ")}
        )
    spec: dict[str, Any] = {"containers": [{"name": "os", "image": "i"}]}
    if node:
        spec["nodeName"] = node
    status: dict[str, Any] = {"phase": phase, "conditions": conditions}
    if monitor:
        metadata["annotations"] = {"extension.scalesets.dev/monitor": monitor.get("version", "1.0.0")}
        status["initContainerStatuses"] = [{"name": "monitor", **monitor}]
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def test_pods_are_instances_of_the_set_that_controls_them() -> None:
    fleet = Fleet()
    fleet.see(0)
    fleet.see(1, owner="another-set")
    fleet.see(2, owner="")
    assert set(fleet.pods.instances("set-uid")) == {0}
    assert set(fleet.pods.instances("another-set")) == {1}
    assert [pod.name for pod in fleet.pods.orphans(("team", "web"))] == ["web-2"]


def test_an_adopted_pod_moves_to_its_set() -> None:
    fleet = Fleet()
    fleet.see(2, owner="")
    fleet.see(2)
    assert set(fleet.pods.instances("set-uid")) == {2}
    assert fleet.pods.orphans(("team", "web")) == ()


def test_a_successor_under_the_name_is_another_instance() -> None:
    fleet = Fleet()
    fleet.see(0, uid="a")
    fleet.see(0, uid="b")
    fleet.gone(0, uid="a")
    assert fleet.pods.instances("set-uid")[0].uid == "b"
    fleet.gone(0, uid="b")
    assert fleet.pods.instances("set-uid") == {}


def test_only_what_can_change_a_decision_asks_for_one_now() -> None:
    fleet = Fleet()
    fleet.see(0)
    assert fleet.matter() == [Matter.LATER]  # a pod appeared: it shows in counts
    fleet.see(0, node="n1")
    assert fleet.matter() == []
    fleet.see(0, node="n1", ready=NOW)
    assert fleet.matter() == [Matter.READY]
    fleet.see(0, node="n1", ready=NOW, labels={"app": "x"})
    assert fleet.matter() == []
    fleet.see(0, node="n1", ready=NOW, labels={"scalesets.dev/image-version": "2"})
    assert fleet.matter() == [Matter.NOW]
    fleet.see(0, node="n1", ready=NOW, labels={"scalesets.dev/image-version": "2"}, deleted=True)
    assert fleet.matter() == [Matter.LATER]
    fleet.gone(0)
    assert fleet.matter() == [Matter.NOW]


def test_what_becomes_of_a_patched_extension_is_looked_at_within_a_second() -> None:
    """It has to settle for longer than that, so a batch of patches isn't decided anew for each of its containers."""
    fleet = Fleet()
    monitor: dict[str, Any] = {"containerID": "1", "started": True, "ready": True}
    fleet.see(0, ready=NOW, monitor=monitor)
    fleet.matter()
    fleet.see(0, ready=NOW, monitor=monitor, labels={"app": "x"})
    assert fleet.matter() == []
    monitor = {**monitor, "version": "1.1.0"}
    fleet.see(0, ready=NOW, monitor=monitor)
    assert fleet.matter() == [Matter.LATER], "our own patch"
    for change in ({"containerID": "2"}, {"started": False}, {"ready": False}):
        monitor |= change
        fleet.see(0, ready=NOW, monitor=monitor)
        assert fleet.matter() == [Matter.LATER], change
    fleet.see(0, monitor=monitor)
    assert fleet.matter() == [Matter.NOW]


def test_losing_readiness_asks_for_a_decision_now() -> None:
    fleet = Fleet()
    fleet.see(0, ready=NOW)
    fleet.matter()
    fleet.see(0)
    assert fleet.matter() == [Matter.NOW]


def test_losses_in_a_row_are_counted_once_per_pod() -> None:
    fleet = Fleet()
    for number in range(3):
        fleet.see(0, uid=f"u{number}")
        fleet.see(0, uid=f"u{number}", phase="Failed")
        fleet.see(0, uid=f"u{number}", phase="Failed", node="seen again")
        fleet.gone(0, uid=f"u{number}")
    assert fleet.pods.losses("set-uid")[0] == (3, NOW)


def test_an_instance_that_was_ready_for_ten_minutes_begins_a_new_row() -> None:
    fleet = Fleet()
    for number in range(2):
        fleet.see(0, uid=f"u{number}", phase="Failed")
    fleet.see(0, uid="steady", ready=NOW)
    fleet.now = NOW + timedelta(minutes=10)
    fleet.see(0, uid="steady", phase="Failed")
    assert fleet.pods.losses("set-uid")[0] == (1, fleet.now)


@pytest.mark.requirement("O11")
def test_an_instance_that_ends_again_and_again_is_as_old_as_its_first_pod() -> None:
    fleet, later = Fleet(), "2026-11-22T11:50:00Z"
    fleet.see(0, uid="first")
    fleet.gone(0, uid="first")
    fleet.see(0, uid="second", created=later)
    fleet.see(1, created=later)
    ages = {o: i.created for o, i in fleet.pods.instances("set-uid").items()}
    assert ages == {0: NOW - timedelta(hours=1), 1: NOW - timedelta(minutes=10)}

    fleet.see(0, uid="second", created=later, ready=NOW)
    fleet.gone(0, uid="second")
    fleet.see(0, uid="third", created=later)
    assert fleet.pods.instances("set-uid")[0].created == NOW - timedelta(minutes=10), "it was Ready: it counts by that"


def test_an_instance_that_was_scaled_in_is_a_new_one_when_it_comes_again() -> None:
    fleet, later = Fleet(), "2026-11-22T11:50:00Z"
    fleet.see(3, uid="first")
    fleet.gone(3, uid="first")
    fleet.pods.scaled_to("set-uid", 3)
    fleet.see(3, uid="second", created=later)
    assert fleet.pods.instances("set-uid")[3].created == NOW - timedelta(minutes=10)


def a_claim(version: int, *, uid: str = "c", labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {
        "namespace": "team",
        "name": "data-web-3",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {"scalesets.dev/scaleset": "web", **(labels or {})},
    }
    spec = {"resources": {"requests": {"storage": "1Gi"}}}
    return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def test_claims_are_found_by_set_ordinal_and_template() -> None:
    woken: list[Key] = []
    claims = Claims(woken.append)
    claims.store.put(a_claim(1))
    assert claims.of_set(("team", "web"))[3]["data"].name == "data-web-3"
    assert woken == [("team", "web")]
    claims.store.put(a_claim(5, uid="d"))
    claims.store.gone(a_claim(4, uid="c"))
    assert claims.of_set(("team", "web"))[3]["data"].uid == "d"
    claims.store.gone(a_claim(6, uid="d"))
    assert claims.of_set(("team", "web")) == {}


def test_a_pod_that_can_t_be_read_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The watch would end with the exception, and the operator with the watch, again and again."""
    fleet = Fleet()
    fleet.see(1)
    fleet.see(0, ready=NOW)
    known = fleet.pods.instances("set-uid")[0]
    strange = a_pod(0, 100)
    strange["metadata"]["creationTimestamp"] = "0001-01-01T00:00:00+99:99"
    fleet.pods.store.put(strange)
    assert fleet.pods.instances("set-uid")[0] == known, "as it was read last"
    assert "pod team/web-0 can't be read" in caplog.text
    assert 1 in fleet.pods.instances("set-uid")
