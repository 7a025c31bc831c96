"""What the server refuses to store: said in a condition and an event, tried again with back-off, nobody robbed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import kube_objects as objects
import pytest
from looking import CORE, KEY, OURS, SET_STATUS, Looking

from scalesets.engine.decision import CreateUpgrade, Decision, DryRun, Preflight, WriteSetStatus, WriteUpgradeStatus
from scalesets.engine.view import Code, Release, SetStatus, SetView, Target, TroubleKind, UpgradeStatus, UpgradeType
from scalesets.kube import fleet, reconciler

INVALID = (422, "Invalid", 'status.batches: Invalid value: "x"')
WEBHOOK_DOWN = (500, "InternalError", 'failed calling webhook "w.example": connection refused')
NEW = "web-os-1234abcd"
UPGRADES = f"{OURS}/rollingupgrades"


@pytest.fixture
async def it(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Looking]:
    looking = Looking()
    looking.world.images.put(objects.an_image())
    looking.put(objects.a_set(replicas=0))
    async with looking.begun(monkeypatch):
        await looking.settle()
        yield looking


def decided(monkeypatch: pytest.MonkeyPatch, *writes: Any) -> None:
    """From now on every decision asks for these writes, and for the set's status as the engine makes it."""
    decide = reconciler.decide

    def also(view: SetView, now: Any) -> Decision:
        whole = decide(view, now)
        return Decision(writes=(*writes, *whole.writes), events=whole.events, look_again=whole.look_again)

    monkeypatch.setattr(reconciler, "decide", also)


def an_upgrade(name: str = NEW, *, of: str = "web", uid: str = "") -> objects.Obj:
    metadata = {"name": name, "namespace": objects.NAMESPACE}
    spec = {"scaleSet": of, "type": "OSImage", "startedBy": "Platform"}
    body = {"kind": "RollingUpgrade", "metadata": metadata, "spec": spec}
    return objects.stored(body, uid=uid or f"{name}-of-{of}")


async def test_the_sets_own_status_is_refused(it: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good status carries the condition."""
    good = {k: v for k, v in it.scale_set["status"].items() if k != "conditions"}
    before = it.asked[f"PATCH {SET_STATUS}"]
    decided(monkeypatch, WriteSetStatus(SetStatus(image_version="9.9.9")))
    it.refuses_body = lambda what, body: INVALID if what == f"PATCH {SET_STATUS}" and "9.9.9" in str(body) else None
    for _ in range(3):
        assert (await it.look()).failed
    assert "status was not stored" in it.condition("WriteRefused")["message"]
    assert INVALID[2] in it.condition("WriteRefused")["message"]
    assert {k: v for k, v in it.scale_set["status"].items() if k != "conditions"} == good
    assert it.events().count("WriteRefused") == 1
    assert it.asked[f"PATCH {SET_STATUS}"] == before + 3 + 1, "thrice refused, and said once"


async def test_an_upgrades_status_is_refused_and_the_set_says_so(it: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = an_upgrade()
    it.there[f"{UPGRADES}/{NEW}"] = upgrade
    it.world.upgrades.put(upgrade)
    status = UpgradeStatus(Code.COMPLETED, Target("m"), objects.NOW)
    decided(monkeypatch, WriteUpgradeStatus(NEW, upgrade["metadata"]["uid"], status))
    path = f"PATCH {UPGRADES}/{NEW}/status"
    it.refuses[path] = INVALID
    assert (await it.look()).failed
    assert (await it.look()).failed
    found = it.condition("WriteRefused")
    assert found["message"] == f"the status of RollingUpgrade {NEW} was not stored: {INVALID[2]}"
    assert "WriteRefused" in it.events()
    assert it.asked[path] == 2

    del it.refuses[path]
    await it.settle()
    assert not it.condition("WriteRefused")


@pytest.mark.parametrize(
    ("write", "path", "words"),
    [
        (CreateUpgrade(NEW, UpgradeType.OS_IMAGE), f"POST {UPGRADES}", f"RollingUpgrade {NEW} was not created"),
        (DryRun(3, Release("1.0.0", "MODEL")), f"POST {CORE}/pods", "instance 3 could not be tried by a dry run"),
    ],
    ids=["a new upgrade", "a dry run"],
)
async def test_a_webhook_that_stays_down_is_said_though_the_decision_gets_no_further(
    it: Looking, monkeypatch: pytest.MonkeyPatch, write: Any, path: str, words: str
) -> None:
    if isinstance(write, DryRun):
        write = DryRun(3, Release("1.0.0", it.scale_set["status"]["currentModel"]))
    decided(monkeypatch, write)
    it.refuses[path] = WEBHOOK_DOWN
    assert (await it.look()).failed
    assert not it.condition("WriteRefused"), "it may pass"
    it.clock += timedelta(seconds=11)
    assert (await it.look()).failed
    assert it.condition("WriteRefused")["message"] == f"{words}: {WEBHOOK_DOWN[2]}"
    assert it.events() == ["WriteRefused"]
    assert it.asked[path] == 2, "no loop: the queue backs off"


async def test_the_secrets_that_pull_the_images_are_looked_at_before_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Looking()
    it.world.images.put(objects.an_image(imagePullSecrets=[{"name": "registry"}]))
    it.world.extensions.put(objects.a_published_extension("health", imagePullSecrets=[{"name": "extensions"}]))
    it.put(objects.a_set(replicas=0, extensions=[objects.an_extension("health")]))
    it.there[f"{CORE}/secrets/extensions"] = objects.stored({"metadata": {"name": "extensions"}})
    async with it.begun(monkeypatch):
        await it.settle()
        decided(monkeypatch, Preflight(it.scale_set["status"]["currentModel"]))
        await it.look()
    found = it.world.memory("set-uid").troubles.first(TroubleKind.PREFLIGHT)
    assert found is not None
    assert found[1] == "Secret registry is missing (imagePullSecrets of GalleryImage ubuntu)"


@pytest.mark.requirement("O15", "O21")
async def test_what_instances_wait_for_that_do_not_come_up_is_said_and_looked_at_again_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Looking()
    secret = f"GET {CORE}/secrets/keys"
    container = {"envFrom": [{"secretRef": {"name": "keys"}}]}
    it.world.images.put(objects.an_image())
    it.put(objects.a_set(replicas=0, template=objects.a_template(**container)))
    async with it.begun(monkeypatch):
        decided(monkeypatch)
        await it.settle()
        assert secret not in it.asked, "there is nobody who waits"
        it.world.pods.store.put(objects.a_pod(0))
        await it.settle()
        assert it.asked[secret] == 1
        found = it.world.memory("set-uid").troubles.first(TroubleKind.PREFLIGHT)
        assert found is not None and found[1] == "Secret keys is missing (container os)"
        await it.settle()
        assert it.asked[secret] == 1, "not again before it is due"
    it.there[f"{CORE}/secrets/keys"] = objects.stored({"metadata": {"name": "keys"}})
    it.world.memory("set-uid").troubles.try_anew(fleet.utc_now())
    async with it.begun(monkeypatch):
        await it.settle()
        assert it.asked[secret] == 2
        assert not it.world.memory("set-uid").troubles
        again = await it.settle()
    assert it.asked[secret] == 2 and again.after is not None and again.after > 10


async def test_a_foreign_upgrade_of_the_name_is_not_taken_for_ours(
    it: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = an_upgrade(of="another")
    it.there[f"{UPGRADES}/{NEW}"] = foreign
    it.refuses[f"POST {UPGRADES}"] = (409, "AlreadyExists", "exists")
    decided(monkeypatch, CreateUpgrade(NEW, UpgradeType.OS_IMAGE))
    for _ in range(2):
        await it.settle()
    assert (
        f"RollingUpgrade {NEW} is not of this set but of scaleSet another"
        in (it.condition("UpgradeNameConflict")["message"])
    )
    assert "UpgradeNameConflict" in it.events()
    assert it.asked[f"POST {UPGRADES}"] == 1, "it backs off"
    assert not it.world.upgrades_of(KEY)
    assert it.there[f"{UPGRADES}/{NEW}"] == foreign, "it is left as it is"

    del it.refuses[f"POST {UPGRADES}"]
    it.world.upgrades.gone(foreign)
    await it.look()
    assert it.asked[f"POST {UPGRADES}"] == 2, "at once when it is gone"
    assert [u["metadata"]["name"] for u in it.world.upgrades_of(KEY)] == [NEW]


async def test_our_own_upgrade_that_is_there_already_is_ours(it: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    it.there[f"{UPGRADES}/{NEW}"] = an_upgrade()
    it.refuses[f"POST {UPGRADES}"] = (409, "AlreadyExists", "exists")
    decided(monkeypatch, CreateUpgrade(NEW, UpgradeType.OS_IMAGE))
    await it.look()
    assert [u["metadata"]["name"] for u in it.world.upgrades_of(KEY)] == [NEW]
    assert not it.condition("UpgradeNameConflict")
