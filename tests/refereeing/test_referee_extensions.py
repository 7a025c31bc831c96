"""The referee of extension upgrades: for every invariant one history that breaks it, and one that just doesn't."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from referee import LISTED
from refereeing.test_referee import History

MONITOR, AGENT = "monitor", "agent"
ANNOTATION = "extension.scalesets.dev/"


class Extended(History):
    """A set of ten whose instances carry two extensions on 1.0.0; 1.1.0 and 2.0.0 of both are published."""

    def __init__(self, **spec: Any) -> None:
        named = [{"name": name, "publisher": "Example", "type": name} for name in (AGENT, MONITOR)]
        self.published: dict[str, dict[str, Any]] = {}
        super().__init__(replicas=10, extensions=named, **spec)
        for name in (AGENT, MONITOR):
            versions = [{"version": v} for v in ("1.0.0", "1.1.0", "2.0.0")]
            self.published[name] = {
                "metadata": {"namespace": "a", "name": name, "uid": name},
                "spec": {"publisher": "Example", "type": name, "versions": versions},
            }
            self.see("Extension", LISTED, self.published[name])

    def pod(self, ordinal: int, version: str, *, installed: str = "1.0.0", **how: Any) -> None:
        super().pod(ordinal, version, extensions={AGENT: "1.0.0", MONITOR: installed}, **how)

    def upgrades(self, *names: str, to: str = "1.1.0", scope: str = "0-9") -> None:
        self.start(kind="Extension", scope=scope)
        status = self.upgrade["status"]
        del status["targetImageReference"]
        status["targetExtensions"] = [{"name": n, "from": "1.0.0", "to": to, "outcome": "Running"} for n in names]

    def visit(self, members: str, name: str = MONITOR, *, domain: int = 0, origin: str = "1.0.0") -> None:
        batch = self.batch(members, domain=domain)
        batch["extension"] = name
        versions = {AGENT: "1.0.0", MONITOR: "1.0.0"} | {name: origin}
        batch["from"][0]["extensions"] = [{"name": n, "version": v} for n, v in versions.items()]
        self.upgrade["status"]["batches"][-1] = batch
        self.write()

    def batch(self, members: str, *, zone: str = "", domain: int = 0) -> dict[str, Any]:
        """Not written before its extension is in it."""
        write, self.write = self.write, lambda: None  # type: ignore[method-assign]
        found = super().batch(members, zone=zone, domain=domain)
        self.write = write  # type: ignore[method-assign]
        return found

    def patch(self, ordinal: int, name: str = MONITOR, version: str = "1.1.0") -> None:
        """One write: the version, and the container that it had."""
        pod = self.pods[ordinal]
        former = next(s["containerID"] for s in pod["status"]["initContainerStatuses"] if s["name"] == name)
        pod["metadata"]["annotations"] |= {ANNOTATION + name: version, f"{ANNOTATION}{name}.before": former}
        self.see("Pod", "MODIFIED", pod)

    def restart(self, ordinal: int, *names: str) -> None:
        status = self.pods[ordinal]["status"]
        for container in (*status["initContainerStatuses"], *status["containerStatuses"]):
            if container["name"] in names:
                container["restartCount"] += 1
                container["containerID"] = f"{container['name']}-{container['restartCount']}"
        self.see("Pod", "MODIFIED", self.pods[ordinal])

    def bring(self, *some: int, name: str = MONITOR, version: str = "1.1.0") -> None:
        for ordinal in some:
            self.patch(ordinal, name, version)
        for ordinal in some:
            self.restart(ordinal, name)


def test_a_whole_upgrade_of_two_extensions_breaks_nothing() -> None:
    history = Extended()
    history.upgrades(AGENT, MONITOR)
    for domain in range(5):
        for name in (AGENT, MONITOR):
            history.visit(f"{domain},{domain + 5}", name, domain=domain)
            history.bring(domain, domain + 5, name=name)
            history.end_batch()
    history.finish()
    history.lock("")
    history.referee.at_rest(history.now)
    history.referee.check()
    assert any("batch 10 (monitor) in -/4 of 4,9: Succeeded" in line for line in history.referee.timeline)


def test_i1_more_members_patched_than_a_fifth() -> None:
    history = Extended(updateDomains=1)
    history.upgrades(MONITOR)
    history.visit("0-2")
    assert "I1" in history.broken, "the batch is too big already"
    del history.referee.violations[:]
    history.patch(0)
    history.patch(1)
    assert not history.broken
    history.ready(0)  # the status of before: its container hasn't been replaced yet
    history.patch(2)
    assert history.broken == {"I1"}


def test_i1_who_is_back_with_another_container_makes_room() -> None:
    history = Extended(updateDomains=1)
    history.upgrades(MONITOR)
    history.visit("0-2")
    del history.referee.violations[:]
    history.bring(0, 1)
    history.patch(2)
    assert not history.broken


def test_i1_an_extension_is_upgraded_outside_any_batch() -> None:
    history = Extended()
    history.upgrades(MONITOR)
    history.visit("0,5")
    history.patch(0)
    assert not history.broken
    history.patch(1)
    assert history.broken == {"I1"}
    assert "web-1 went from monitor 1.0.0 to 1.1.0" in history.words


def test_i1_the_batch_of_one_extension_is_none_of_another() -> None:
    history = Extended()
    history.upgrades(AGENT, MONITOR)
    history.visit("0,5", AGENT)
    history.patch(0, MONITOR)
    assert history.broken == {"I1"}


@pytest.mark.parametrize(("installed", "broken"), [("1.0.0", set()), ("1.1.0", {"I1"})])
def test_i1_a_lost_instance_comes_back_with_its_own_version(installed: str, broken: set[str]) -> None:
    history = Extended()
    history.delete(3)
    history.pod(3, "1.0.0", installed=installed)
    assert history.broken == broken


def test_i3_an_extension_upgrade_replaces_the_pod() -> None:
    history = Extended()
    history.upgrades(MONITOR)
    history.visit("0,5")
    history.recreate(0, "1.0.0")
    assert history.broken == {"I3"}


def test_i3_a_pod_that_was_going_before_the_batch_is_not_its_doing() -> None:
    history = Extended()
    history.upgrades(MONITOR)
    pod = history.pods[0]
    pod["metadata"]["deletionTimestamp"] = history.now.isoformat()
    history.see("Pod", "MODIFIED", pod)
    history.visit("0,5")
    history.see("Pod", "DELETED", history.pods.pop(0))
    history.pod(0, "1.0.0", installed="1.1.0")
    assert not history.broken
    history.delete(0)
    assert history.broken == {"I3"}, "the one that came instead is kept as any other"


@pytest.mark.parametrize(("container", "broken"), [("os", {"I3"}), (AGENT, {"I3"}), (MONITOR, set())])
def test_i3_an_extension_upgrade_restarts_its_own_container_only(container: str, broken: set[str]) -> None:
    history = Extended()
    history.upgrades(AGENT, MONITOR)
    history.visit("0,5")
    history.patch(0)
    history.restart(0, container)
    assert history.broken == broken


def test_i3_one_that_failed_before_may_go_on_restarting() -> None:
    history = Extended()
    history.upgrades(AGENT, MONITOR)
    history.visit("0,5", AGENT)
    history.end_batch("RolledBack", failed="0,5", rolledBack="0,5", rollBackFailed="0,5")
    history.visit("0,5", MONITOR)
    history.restart(0, AGENT)
    assert not history.broken


def test_i3_what_the_test_itself_broke_is_excused() -> None:
    history = Extended()
    history.referee.excuse("Pod", "a", "web-0")
    history.upgrades(MONITOR)
    history.visit("0,5")
    history.recreate(0, "1.0.0")
    assert not history.broken


@pytest.mark.parametrize(("version", "broken"), [("1.1.0", set()), ("1.0.0", {"I5"})])
def test_i5_who_succeeded_is_on_the_target(version: str, broken: set[str]) -> None:
    history = Extended()
    history.upgrades(MONITOR, scope="0,5")
    history.visit("0,5")
    history.bring(0)
    history.bring(5, version=version)
    history.end_batch()
    history.finish()
    assert history.broken == broken


@pytest.mark.parametrize(("back", "broken"), [("5", set()), ("", {"I5"})])
def test_i5_who_failed_is_put_back(back: str, broken: set[str]) -> None:
    history = Extended()
    history.upgrades(MONITOR, scope="0,5")
    history.visit("0,5")
    history.bring(0, 5)
    history.end_batch("Running", failed="5", rolledBack=back)
    if back:
        history.bring(5, version="1.0.0")
    history.end_batch("RolledBack")
    history.finish("Faulted")
    assert history.broken == broken


def test_i6_who_is_still_behind_leaves_the_scope_unnoticed() -> None:
    history = Extended()
    history.upgrades(MONITOR)
    history.visit("0,5")
    history.bring(0, 5)
    history.end_batch()
    history.upgrade["status"]["scope"] = "0-8"
    history.write()
    assert history.broken == {"I6"}


def test_i6_who_was_only_about_a_dropped_extension_may_leave_it() -> None:
    history = Extended()
    history.upgrades(MONITOR)
    history.visit("0,5")
    history.bring(0, 5)
    history.end_batch()
    history.upgrade["status"]["scope"] = "0,5"
    history.upgrade["status"]["targetExtensions"][0]["outcome"] = "Dropped"
    history.write()
    assert not history.broken


def test_i8_another_major_is_never_a_target() -> None:
    history = Extended()
    history.upgrades(MONITOR, to="2.0.0")
    history.visit("0,5")
    assert history.broken == {"I8"}
    assert "whose monitor 1.0.0 has nowhere to go" in history.words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"excludeFromLatest": True}, "excluded"),
        ({"targetRegions": ["elsewhere"]}, "not for here"),
        ({"publishedDate": "2027-01-01T00:00:00Z"}, "published only at"),
        (None, "not published"),
    ],
)
def test_i8_a_version_that_may_not_be_used(change: dict[str, Any] | None, words: str) -> None:
    history = Extended()
    history.upgrades(MONITOR)
    obj = copy.deepcopy(history.published[MONITOR])
    versions = obj["spec"]["versions"]
    obj["spec"]["versions"] = [{**v, **(change or {})} for v in versions if change or v["version"] != "1.1.0"]
    history.see("Extension", "MODIFIED", obj)
    history.wait(5)
    history.visit("0,5")
    assert history.broken == {"I8"}
    assert words in history.words


def test_i8_who_could_not_know_yet_is_not_blamed() -> None:
    history = Extended()
    history.upgrades(MONITOR)
    obj = copy.deepcopy(history.published[MONITOR])
    obj["spec"]["versions"] = obj["spec"]["versions"][:1]
    history.see("Extension", "MODIFIED", obj)
    history.visit("0,5")
    assert not history.broken
