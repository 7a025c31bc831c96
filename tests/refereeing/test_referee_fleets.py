"""The referee of machines and availability sets: what is judged of sets is judged of them (I1, I3, I5 to I8)."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from referee import LISTED, Referee

Obj = dict[str, Any]
DOMAINS = {"a": 0, "b": 1, "c": 0}
PLACES = {"a": 0, "b": 1, "c": 2}


class Fleet:
    """Three machines with an extension on 1.0.0, in the availability set `dbs` of two domains unless they stand alone;
    1.1.0 is published, 1.2.0 is not.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self.referee = Referee()
        self.now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
        self.alone = alone
        self.pods: dict[str, Obj] = {}
        versions = [{"version": v} for v in ("1.0.0", "1.1.0")]
        self.see("Extension", LISTED, "monitor", spec={"publisher": "E", "type": "monitor", "versions": versions})
        self.machines = {name: self.machine(name) for name in PLACES}
        self.group: Obj = {}
        if not alone:
            members = [{"name": n, "ordinal": PLACES[n], "updateDomain": DOMAINS[n]} for n in PLACES]
            self.group = {"spec": {"platformUpdateDomainCount": 2}, "status": {"machines": members}}
            self.see("AvailabilitySet", LISTED, "dbs", **self.group)
        for name in PLACES:
            self.pod(name, "1.0.0", event=LISTED)
        self.now += timedelta(seconds=10)
        self.upgrade: Obj = {}

    @property
    def broken(self) -> set[str]:
        return {v.invariant for v in self.referee.violations}

    def see(self, kind: str, event: str, name: str, **parts: Any) -> None:
        self.now += timedelta(milliseconds=50)
        metadata = {"namespace": "team", "name": name, "uid": f"{kind}-{name}", **parts.pop("metadata", {})}
        self.referee.see(kind, event, copy.deepcopy({"metadata": metadata, **parts}), self.now)

    def machine(self, name: str) -> Obj:
        spec: Obj = {"extensions": [{"name": "monitor", "publisher": "E", "type": "monitor"}], "imageReference": {}}
        spec |= {} if self.alone else {"availabilitySet": "dbs"}
        status = {"currentModel": "m"} | ({} if self.alone else {"updateDomain": DOMAINS[name]})
        body = {"spec": spec, "status": status}
        self.see("VirtualMachine", LISTED, name, **body)
        return body

    def pod(self, name: str, version: str, *, uid: str = "", restarts: int = 0, **how: Any) -> None:
        labels = {"virtual-machine": name, "image-version": "1.0.0", "model": "m"}
        statuses = [
            {"name": n, "restartCount": restarts * (n == "os"), "containerID": version} for n in ("os", "monitor")
        ]
        metadata = {
            "uid": uid or f"pod-{name}",
            "labels": {f"scalesets.dev/{k}": v for k, v in labels.items()},
            "annotations": {"extension.scalesets.dev/monitor": version},
            **how.get("metadata", {}),
        }
        conditions = [{"type": "Ready", "status": "True"}]
        status = {"conditions": conditions, "containerStatuses": statuses[:1], "initContainerStatuses": statuses[1:]}
        self.see("Pod", how.get("event", "MODIFIED"), name, metadata=metadata, status=status, spec={})

    def batch(self, *names: str, domain: int = 0, to: str = "1.1.0", outcome: str = "Running", **parts: Any) -> None:
        """A batch is written, with the lock that goes along."""
        places = [0] if self.alone else sorted(PLACES[n] for n in names)
        owner = ("VirtualMachine", names[0]) if self.alone else ("AvailabilitySet", "dbs")
        body = self.machines[names[0]] if self.alone else self.group
        if body["status"].get("currentUpgrade") != "up":
            body["status"]["currentUpgrade"] = "up"
            self.see(owner[0], "MODIFIED", owner[1], **body)
        members = ",".join(map(str, places))
        origin = {"imageVersion": "1.0.0", "model": "m", "extensions": [{"name": "monitor", "version": "1.0.0"}]}
        batch = {
            "number": 1,
            "zone": "",
            "updateDomain": domain,
            "ordinals": members,
            "machines": list(names),
            "from": [{**origin, "ordinals": members}],
            "extension": "monitor",
            "outcome": outcome,
            **parts,
        }
        counts = {"inProgressInstanceCount": len(places)} if outcome == "Running" else {}
        self.upgrade = {
            "spec": {"type": "Extension", ("virtualMachine" if self.alone else "availabilitySet"): owner[1]},
            "status": {
                "runningStatus": {"code": "RollingForward"},
                "scope": members,
                "progress": counts or {"successfulInstanceCount": len(places)},
                "targetExtensions": [{"name": "monitor", "from": "1.0.0", "to": to, "outcome": "Running"}],
                "batches": [batch],
            },
        }
        self.write()

    def write(self, **status: Any) -> None:
        self.upgrade["status"] |= status
        self.see("RollingUpgrade", "MODIFIED", "up", **self.upgrade)


@pytest.fixture(params=[True, False], ids=["a machine", "an availability set"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    return Fleet(alone=request.param)


def test_what_goes_well_breaks_nothing(fleet: Fleet) -> None:
    names = ["a"] if fleet.alone else ["a", "c"]
    fleet.batch(*names)
    for name in names:
        fleet.pod(name, "1.1.0")
    fleet.batch(*names, outcome="Succeeded")
    fleet.write(runningStatus={"code": "Completed"})
    fleet.referee.at_rest(fleet.now)
    assert not fleet.referee.violations


def test_i1_all_of_an_availability_set() -> None:
    fleet = Fleet()
    fleet.batch("a", "b", "c")
    assert {"I1", "I2", "I10"} <= fleet.broken


def test_i1_a_version_that_comes_from_no_batch(fleet: Fleet) -> None:
    fleet.pod("a", "1.1.0")
    assert fleet.broken == {"I1"}


def test_i1_a_batch_without_the_lock(fleet: Fleet) -> None:
    fleet.batch("a")
    del fleet.referee.violations[:]
    fleet.upgrade["status"]["batches"].append({**fleet.upgrade["status"]["batches"][0], "number": 2})
    owner = ("VirtualMachine", "a", fleet.machines["a"]) if fleet.alone else ("AvailabilitySet", "dbs", fleet.group)
    owner[2]["status"]["currentUpgrade"] = ""
    fleet.see(owner[0], "MODIFIED", owner[1], **owner[2])
    fleet.upgrade["status"]["batches"][0]["outcome"] = "Succeeded"
    fleet.write()
    assert "I1" in fleet.broken


def test_i3_an_extension_upgrade_that_makes_another_pod(fleet: Fleet) -> None:
    fleet.batch("a")
    fleet.see("Pod", "DELETED", "a", metadata={"uid": "pod-a", "labels": {"scalesets.dev/virtual-machine": "a"}})
    fleet.pod("a", "1.1.0", uid="another", event="ADDED")
    assert fleet.broken == {"I3"}


def test_i3_an_extension_upgrade_that_restarts_another_container(fleet: Fleet) -> None:
    fleet.batch("a")
    fleet.pod("a", "1.1.0", restarts=1)
    assert fleet.broken == {"I3"}


def test_i3_a_machine_that_is_deleted_in_its_batch_takes_its_pod_along(fleet: Fleet) -> None:
    fleet.batch("a")
    fleet.see("VirtualMachine", "DELETED", "a", **fleet.machines["a"])
    fleet.see("Pod", "DELETED", "a", metadata={"uid": "pod-a", "labels": {"scalesets.dev/virtual-machine": "a"}})
    assert not fleet.broken


def test_i5_who_ends_elsewhere_than_on_the_target(fleet: Fleet) -> None:
    fleet.batch("a")
    fleet.batch("a", outcome="Succeeded")
    fleet.write(runningStatus={"code": "Completed"})
    assert fleet.broken == {"I5"}


def test_i6_counts_that_do_not_sum_to_the_scope(fleet: Fleet) -> None:
    fleet.batch("a")
    fleet.write(progress={"successfulInstanceCount": 7})
    assert fleet.broken == {"I6"}


def test_i7_an_upgrade_that_does_not_end(fleet: Fleet) -> None:
    fleet.batch("a")
    fleet.referee.at_rest(fleet.now)
    assert fleet.broken == {"I7"}


def test_i8_a_version_that_nobody_published(fleet: Fleet) -> None:
    fleet.batch("a", to="1.2.0")
    assert fleet.broken == {"I8"}
