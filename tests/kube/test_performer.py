"""What becomes of actions that the API server refuses: nothing living is hidden, nothing spins, nobody is robbed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import kube_objects as objects
import orjson
import pytest
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.engine.decision import CreateInstance, DeleteClaims, DeleteInstance, LabelInstance, PatchExtension
from scalesets.engine.view import Release, TroubleKind
from scalesets.kube import views
from scalesets.kube.at_work import models_at_work
from scalesets.kube.client import Cluster, refusal_of
from scalesets.kube.context import Context
from scalesets.kube.fleet import utc_now
from scalesets.kube.performer import SAID_AFTER, Performer, held_back, refuses_template
from scalesets.kube.settings import Settings
from scalesets.kube.world import World

KEY = (objects.NAMESPACE, "web")
SET_PATH = f"/apis/scalesets.dev/v1alpha1/namespaces/{objects.NAMESPACE}/scalesets/web"
PODS_PATH = f"/api/v1/namespaces/{objects.NAMESPACE}/pods"
POD_PATH = f"/api/v1/namespaces/{objects.NAMESPACE}/pods/web-0"


class Scene:
    """One set, an API server that is told what to answer, and what it was asked."""

    def __init__(self) -> None:
        self.scale_set = objects.a_set(replicas=1)
        self.asked: list[str] = []
        self.sent: list[Any] = []
        self.answers: dict[str, Any] = {f"GET {SET_PATH}": self.scale_set}  # an object, or a refusal's parts
        self.looks: list[float] = []
        self.retry_after = ""
        self.world = World(Settings(), lambda *_: None)
        self.world.sets.put(self.scale_set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        what = f"{request.method} {request.path}"
        self.asked.append(what)
        if request.method == "PATCH":
            self.sent.append(orjson.loads(await request.read()))
        found = self.answers.get(what)
        if found is None:
            return status_object(404, "NotFound", "not found")
        response = json(found) if isinstance(found, dict) else status_object(*found)
        if self.retry_after:
            response.headers["Retry-After"] = self.retry_after
        return response

    def context(self) -> Context:
        now = utc_now()
        seen = self.world.see(KEY, now)
        assert seen is not None
        uid = self.scale_set["metadata"]["uid"]
        return Context(KEY, seen, views.build(seen, settings=Settings()), self.world.memory(uid))

    def performer(self, cluster: Cluster) -> Performer:
        return Performer(cluster, self.world, again=lambda _, seconds: self.looks.append(seconds))

    def troubles(self) -> dict[TroubleKind, str]:
        memory = self.world.memory(self.scale_set["metadata"]["uid"])
        return {t.kind: t.message for t in memory.troubles.all(utc_now())}


@pytest.fixture
async def scene() -> AsyncIterator[tuple[Scene, Performer]]:
    scene = Scene()
    scene.world.revisions.put(objects.a_revision(scene.scale_set))
    scene.world.images.put(objects.an_image())
    async with serving(scene.answer) as cluster:
        yield scene, scene.performer(cluster)


def an_orphan(**metadata: Any) -> objects.Obj:
    return objects.a_pod(owner="", metadata=metadata)


def owned_by(pod: objects.Obj, uid: str) -> objects.Obj:
    number = int(pod["metadata"]["resourceVersion"]) + 1000
    owners = [{"kind": "ScaleSet", "name": "web", "uid": uid, "controller": True}]
    return {**pod, "metadata": {**pod["metadata"], "ownerReferences": owners, "resourceVersion": str(number)}}


async def test_pods_without_an_owner_are_adopted(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    pod = an_orphan()
    it.world.pods.store.put(pod)
    it.answers[f"PATCH {POD_PATH}"] = owned_by(pod, "set-uid")
    assert await performer.adopt(it.context())
    assert 0 in it.context().view.instances
    assert not await performer.adopt(it.context())


async def test_a_set_that_is_being_deleted_adopts_nothing_though_the_cache_is_late(
    scene: tuple[Scene, Performer],
) -> None:
    it, performer = scene
    it.world.pods.store.put(an_orphan())
    metadata = {**it.scale_set["metadata"], "deletionTimestamp": objects.at(0), "resourceVersion": "999999"}
    it.answers[f"GET {SET_PATH}"] = {**it.scale_set, "metadata": metadata}
    assert await performer.adopt(it.context())  # look again, with what is known now
    assert it.asked == [f"GET {SET_PATH}"]
    assert it.context().view.deleting


@pytest.mark.parametrize("refusal", [(409, "Conflict", "modified"), (422, "Invalid", "no"), (403, "Forbidden", "no")])
async def test_a_pod_that_may_not_be_adopted_is_said_and_holds_nothing_else_up(
    scene: tuple[Scene, Performer], refusal: tuple[int, str, str]
) -> None:
    it, performer = scene
    pod = an_orphan()
    it.world.pods.store.put(pod)
    it.answers |= {f"PATCH {POD_PATH}": refusal, f"GET {POD_PATH}": pod}
    assert await performer.adopt(it.context())
    assert "can't be taken over" in it.troubles()[TroubleKind.NAME_CONFLICT]
    assert not await performer.adopt(it.context())  # not again before its time
    assert it.world.pods.orphans(KEY)


async def test_a_pod_that_another_controls_by_now_is_left_to_it(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    pod = an_orphan()
    it.world.pods.store.put(pod)
    it.answers |= {f"PATCH {POD_PATH}": (422, "Invalid", "one controller"), f"GET {POD_PATH}": owned_by(pod, "other")}
    assert await performer.adopt(it.context())
    assert not it.world.pods.orphans(KEY)


async def test_an_instance_waits_in_peace_for_a_dying_pod_without_an_owner(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    pod = an_orphan(deletionTimestamp=objects.at(30), deletionGracePeriodSeconds=30)
    it.answers |= {
        f"POST /api/v1/namespaces/{objects.NAMESPACE}/pods": (409, "AlreadyExists", "exists"),
        f"GET {POD_PATH}": pod,
    }
    context = it.context()
    model = context.view.model
    assert model is not None
    await performer.perform(context, CreateInstance(0, Release("1.0.0", model.name)))
    assert "is being deleted" in it.troubles()[TroubleKind.NAME_CONFLICT]
    assert it.looks
    assert all(seconds > 0.5 for seconds in it.looks)
    it.world.pods.store.gone(pod)
    assert not it.troubles()  # the name is free: at once


async def test_a_conflict_hides_no_pod_that_lives_on(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    pod = owned_by(an_orphan(), "set-uid")
    it.world.pods.store.put(pod)
    it.answers |= {f"DELETE {POD_PATH}": (409, "Conflict", "modified"), f"GET {POD_PATH}": pod}
    context = it.context()
    await performer.perform(context, DeleteInstance(0, pod["metadata"]["uid"], "Upgrade"))
    assert 0 in it.context().view.instances
    assert held_back(context, 0, utc_now())
    del it.answers[f"GET {POD_PATH}"]
    await performer.perform(context, DeleteInstance(0, pod["metadata"]["uid"], "Upgrade"))
    assert 0 not in it.context().view.instances


CLAIMS_PATH = f"/api/v1/namespaces/{objects.NAMESPACE}/persistentvolumeclaims"


def a_claim(ordinal: int, *, set_uid: str = "set-uid") -> objects.Obj:
    labels = {"scalesets.dev/scaleset": "web", "scalesets.dev/scaleset-uid": set_uid}
    metadata = {"name": f"data-web-{ordinal}", "namespace": objects.NAMESPACE, "labels": labels}
    return objects.stored({"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {}}, uid=f"claim-{ordinal}")


def that_deletes_claims(it: Scene, **fields: Any) -> None:
    """The set, as the cache and the server have it, deletes the claims of those that are scaled in."""
    metadata = {**it.scale_set["metadata"], "resourceVersion": "999998"}
    retention = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    it.scale_set = {
        **it.scale_set,
        "metadata": metadata,
        "spec": {**it.scale_set["spec"], "persistentVolumeClaimRetentionPolicy": retention, **fields},
    }
    it.answers[f"GET {SET_PATH}"] = it.scale_set


async def test_a_conflict_hides_no_claim_that_lives_on(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    that_deletes_claims(it)
    claim = a_claim(5)
    it.world.claims.store.put(claim)
    path = f"{CLAIMS_PATH}/data-web-5"
    it.answers |= {f"DELETE {path}": (409, "Conflict", "modified"), f"GET {path}": claim}
    context = it.context()
    await performer.perform(context, DeleteClaims(5))
    assert it.context().view.spare_claims == {5}
    assert held_back(context, 5, utc_now())


def with_claims_left_behind(it: Scene) -> Context:
    """The set was made again, with one instance of the two that it had."""
    metadata = {**it.scale_set["metadata"], "resourceVersion": "999999"}
    spec = {**it.scale_set["spec"], "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}
    it.scale_set = {**it.scale_set, "metadata": metadata, "spec": spec}
    it.answers[f"GET {SET_PATH}"] = it.scale_set
    it.world.sets.put(it.scale_set)
    for ordinal in (0, 1):
        claim = a_claim(ordinal, set_uid="older")
        it.world.claims.store.put(claim)
        it.answers[f"GET {CLAIMS_PATH}/data-web-{ordinal}"] = claim
    return it.context()


async def test_claims_beyond_a_set_that_was_made_again_stay_nobodys(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    context = with_claims_left_behind(it)
    it.answers[f"PATCH {CLAIMS_PATH}/data-web-0"] = a_claim(0)
    await performer.disks.follow(context)
    assert [a for a in it.asked if a.startswith("PATCH")] == [f"PATCH {CLAIMS_PATH}/data-web-0"]
    assert not it.context().view.spare_claims


async def test_a_claim_that_may_not_be_adopted_is_said_and_holds_nothing_else_up(
    scene: tuple[Scene, Performer],
) -> None:
    it, performer = scene
    context = with_claims_left_behind(it)
    it.answers[f"PATCH {CLAIMS_PATH}/data-web-0"] = (403, "Forbidden", "a policy says no")
    await performer.disks.follow(context)
    assert it.troubles() == {
        TroubleKind.CLAIM_NOT_ADOPTED: "claim data-web-0 can't be taken over: a policy says no",
    }


def with_claim_template(it: Scene, **spec: Any) -> Context:
    """The set has a data disk."""
    metadata = {**it.scale_set["metadata"], "resourceVersion": "999999"}
    template = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    it.scale_set = {
        **it.scale_set,
        "metadata": metadata,
        "spec": {**it.scale_set["spec"], "volumeClaimTemplates": [template], **spec},
    }
    it.answers[f"GET {SET_PATH}"] = it.scale_set
    it.world.sets.put(it.scale_set)
    return it.context()


def a_creation(context: Context, ordinal: int = 0) -> CreateInstance:
    model = context.view.model
    assert model is not None
    return CreateInstance(ordinal, Release("1.0.0", model.name))


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ((403, "Forbidden", "exceeded quota: q, requested: requests.storage=2Gi"), TroubleKind.QUOTA),
        ((403, "Forbidden", "a policy says no"), TroubleKind.CREATE_FAILED),
        ((422, "Invalid", "spec.accessModes: Required value"), TroubleKind.CREATE_FAILED),
    ],
)
async def test_a_claim_that_may_not_be_made_is_said_and_no_pod_is_made(
    scene: tuple[Scene, Performer], refusal: tuple[int, str, str], kind: TroubleKind
) -> None:
    it, performer = scene
    context = with_claim_template(it)
    it.answers[f"POST {CLAIMS_PATH}"] = refusal
    await performer.perform(context, a_creation(context))
    assert it.troubles() == {kind: f"claim data-web-0: {refusal[2]}"}
    assert not [asked for asked in it.asked if asked == f"POST {PODS_PATH}"]


async def test_an_instance_whose_claim_may_not_be_adopted_says_so_and_waits(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    context = with_claim_template(it)
    claim = a_claim(0, set_uid="older")
    it.world.claims.store.put(claim)
    path = f"{CLAIMS_PATH}/data-web-0"
    it.answers |= {f"GET {path}": claim, f"PATCH {path}": (403, "Forbidden", "a policy says no")}
    await performer.perform(context, a_creation(context))
    assert it.troubles() == {TroubleKind.CLAIM_NOT_ADOPTED: "claim data-web-0 can't be taken over: a policy says no"}
    assert f"POST {PODS_PATH}" not in it.asked


async def test_a_claim_that_may_not_grow_is_said_by_name(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    claim = a_claim(0)
    it.world.claims.store.put({**claim, "spec": {"resources": {"requests": {"storage": "1Gi"}}}})
    context = with_claim_template(it)
    it.answers[f"PATCH {CLAIMS_PATH}/data-web-0"] = (403, "Forbidden", "the class must support resize")
    assert await performer.disks.follow(context), "the next decision is to know"
    assert it.troubles() == {TroubleKind.CLAIM_NOT_EXPANDED: "claim data-web-0: the class must support resize"}
    assert not await performer.disks.follow(context)
    assert it.asked.count(f"PATCH {CLAIMS_PATH}/data-web-0") == 1, "not again before its time"


async def test_a_bug_in_one_action_backs_off(scene: tuple[Scene, Performer], monkeypatch: pytest.MonkeyPatch) -> None:
    it, performer = scene

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("nobody thought of it")

    monkeypatch.setattr("scalesets.kube.context.catalogues.images_of", broken)
    context = it.context()
    model = context.view.model
    assert model is not None
    for _ in range(5):
        await performer.perform(context, CreateInstance(0, Release("1.0.0", model.name)))
    until = held_back(context, 0, utc_now())
    assert until is not None
    assert until - utc_now() > timedelta(seconds=1)


def test_refused_credentials_say_nothing_about_a_template() -> None:
    unauthorized = refusal_of(401, b'{"reason": "Unauthorized", "message": "Unauthorized"}', "POST /pods")
    assert not refuses_template(unauthorized)
    assert refuses_template(refusal_of(403, b'{"message": "pods web-0 is forbidden: violates PodSecurity"}', "POST"))


def a_record(it: Scene, *models: str) -> None:
    """The set's status says that its instances run these models."""
    instances = [{"ordinals": str(o), "imageVersion": "1.0.0", "model": model} for o, model in enumerate(models)]
    metadata = {**it.scale_set["metadata"], "resourceVersion": "999999"}
    it.world.sets.put({**it.scale_set, "metadata": metadata, "status": {"instances": instances}})


async def test_a_refused_model_is_not_past_while_a_missing_instance_comes_back_to_it(
    scene: tuple[Scene, Performer],
) -> None:
    it, _ = scene
    it.world.pods.store.put(objects.a_pod(0))
    a_record(it, "running", "missing")
    current = it.context().view.model
    assert current is not None
    assert models_at_work(it.context().view) == {current.name, "missing"}


async def test_a_revision_that_another_took_over_is_not_the_sets_any_more(scene: tuple[Scene, Performer]) -> None:
    it, _ = scene
    (revision,) = it.context().seen.revisions.values()
    metadata = {**revision["metadata"], "resourceVersion": "999999"}
    orphaned = {**revision, "metadata": {k: v for k, v in metadata.items() if k != "ownerReferences"}}
    it.world.revisions.put(orphaned)
    assert not it.world.see(KEY, utc_now()).revisions  # type: ignore[union-attr]


# -- what the server says no to ---------------------------------------------------------------------------------------


async def of_a_pod(scene: tuple[Scene, Performer], action: str) -> tuple[Scene, Performer, Context, Any]:
    """The set has one pod, and this is to be done to it."""
    it, performer = scene
    pod = objects.a_pod(status=objects.running())
    it.world.pods.store.put(pod)
    uid = pod["metadata"]["uid"]
    made = {"DELETE": DeleteInstance(0, uid, "Upgrade"), "PATCH": LabelInstance(0, uid, labels=(("a", "b"),))}
    return it, performer, it.context(), made[action]


@pytest.mark.parametrize("action", ["DELETE", "PATCH"])
@pytest.mark.parametrize("refusal", [(403, "Forbidden", "a policy says no"), (422, "Invalid", "metadata.uid: no")])
async def test_a_no_is_said_at_once_and_backed_off_from(
    scene: tuple[Scene, Performer], action: str, refusal: tuple[int, str, str]
) -> None:
    it, performer, context, wanted = await of_a_pod(scene, action)
    it.answers |= {f"{action} {POD_PATH}": refusal, f"GET {POD_PATH}": objects.a_pod()}
    await performer.perform(context, wanted)
    assert (
        f"web-0: {'delete' if action == 'DELETE' else 'label'} does not succeed: {refusal[2]}"
        in (it.troubles()[TroubleKind.ACTION_REFUSED])
    )
    assert held_back(context, 0, utc_now())
    assert 0 in it.context().view.instances, "it lives on"

    it.answers[f"{action} {POD_PATH}"] = owned_by(objects.a_pod(), "set-uid")
    await performer.perform(context, wanted)
    assert not it.troubles()
    assert held_back(context, 0, utc_now()) is None


@pytest.mark.parametrize(("action", "status"), [("DELETE", 409), ("PATCH", 409), ("PATCH", 422)])
async def test_a_pod_that_another_has_taken_the_place_of_is_left_alone(
    scene: tuple[Scene, Performer], action: str, status: int
) -> None:
    """What another UID is answered with."""
    it, performer, context, wanted = await of_a_pod(scene, action)
    other = objects.a_pod()
    other["metadata"]["uid"] = "another-pod"
    it.answers |= {f"{action} {POD_PATH}": (status, "Conflict", "uid"), f"GET {POD_PATH}": other}
    await performer.perform(context, wanted)
    assert not it.troubles()
    assert it.context().view.instances[0].uid == "another-pod"


@pytest.mark.parametrize("action", ["DELETE", "PATCH"])
async def test_a_pod_that_is_gone_already_is_no_trouble(scene: tuple[Scene, Performer], action: str) -> None:
    it, performer, context, wanted = await of_a_pod(scene, action)
    await performer.perform(context, wanted)
    assert not it.troubles()
    assert 0 not in it.context().view.instances
    assert held_back(context, 0, utc_now()) is None


async def test_a_busy_server_is_asked_again_when_it_says_and_spoken_of_when_it_stays_busy(
    scene: tuple[Scene, Performer],
) -> None:
    it, performer, context, wanted = await of_a_pod(scene, "DELETE")
    it.answers[f"DELETE {POD_PATH}"] = (429, "TooManyRequests", "slow down")
    it.retry_after = "7"
    await performer.perform(context, wanted)
    until = held_back(context, 0, utc_now())
    assert until is not None
    assert timedelta(seconds=6) < until - utc_now() <= timedelta(seconds=7)
    assert not it.troubles()
    it.retry_after = ""
    for _ in range(SAID_AFTER - 1):
        await performer.perform(context, wanted)
    assert "slow down" in it.troubles()[TroubleKind.ACTION_REFUSED]


async def test_a_busy_server_is_asked_for_a_pod_again_when_it_says(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    it.answers[f"POST {PODS_PATH}"] = (429, "TooManyRequests", "slow down")
    it.retry_after = "7"
    await performer.perform(it.context(), a_creation(it.context()))
    (trouble,) = it.context().view.troubles
    assert trouble.kind is TroubleKind.CREATE_FAILED
    assert trouble.until is not None
    assert trouble.until - utc_now() > timedelta(seconds=6)


async def test_a_quota_that_nobody_has_counted_yet_is_no_word_on_the_template(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    it.answers[f"POST {PODS_PATH}"] = (403, "Forbidden", "status unknown for quota: q, resources: pods")
    await performer.perform(it.context(), a_creation(it.context()))
    (trouble,) = it.context().view.troubles
    assert trouble.kind is TroubleKind.CREATE_FAILED
    assert trouble.until is not None
    assert trouble.until - utc_now() < timedelta(seconds=1), "it passes soon"


async def test_a_pod_of_ours_that_the_watch_has_not_shown_is_taken_for_what_it_is(
    scene: tuple[Scene, Performer],
) -> None:
    it, performer = scene
    it.answers |= {f"POST {PODS_PATH}": (409, "AlreadyExists", "exists"), f"GET {POD_PATH}": objects.a_pod()}
    await performer.perform(it.context(), a_creation(it.context()))
    assert not it.troubles()
    assert 0 in it.context().view.instances
    assert it.looks == [0.0]


@pytest.mark.parametrize(
    "pod", [objects.a_pod(owner="another-uid"), objects.a_pod(labels={"scalesets.dev/scaleset": "other"})]
)
async def test_a_foreign_pod_of_the_name_is_said_and_left_alone(
    scene: tuple[Scene, Performer], pod: objects.Obj
) -> None:
    it, performer = scene
    it.answers |= {f"POST {PODS_PATH}": (409, "AlreadyExists", "exists"), f"GET {POD_PATH}": pod}
    await performer.perform(it.context(), a_creation(it.context()))
    assert "delete it, and the instance is made" in it.troubles()[TroubleKind.NAME_CONFLICT]
    assert [a for a in it.asked if not a.startswith(("GET", "POST"))] == []


async def test_a_pod_of_the_name_that_went_meanwhile_is_made_at_the_next_look(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    it.answers[f"POST {PODS_PATH}"] = (409, "AlreadyExists", "exists")
    await performer.perform(it.context(), a_creation(it.context()))
    assert not it.troubles()
    assert it.looks == [0.0]


async def test_no_claim_is_made_for_a_set_that_is_gone(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    context = with_claim_template(it)
    del it.answers[f"GET {SET_PATH}"]
    await performer.perform(context, a_creation(context))
    assert it.asked == [f"GET {SET_PATH}"]
    assert KEY not in it.world.sets


async def test_a_claim_that_is_gone_already_needs_no_delete(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    that_deletes_claims(it)
    it.world.claims.store.put(a_claim(5))
    await performer.perform(it.context(), DeleteClaims(5))
    assert not it.context().view.spare_claims
    assert not it.troubles()


@pytest.mark.parametrize("now", [{"replicas": 6}, {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain"}}])
async def test_no_claim_is_deleted_that_is_wanted_again(scene: tuple[Scene, Performer], now: dict[str, Any]) -> None:
    """The set was scaled out again, or keeps its claims, since the decision was made."""
    it, performer = scene
    that_deletes_claims(it)
    it.world.claims.store.put(a_claim(5))
    context = it.context()
    metadata = {**it.scale_set["metadata"], "resourceVersion": "999999"}
    it.answers[f"GET {SET_PATH}"] = {**it.scale_set, "metadata": metadata, "spec": {**it.scale_set["spec"], **now}}
    await performer.perform(context, DeleteClaims(5))
    assert it.asked == [f"GET {SET_PATH}"]
    assert it.world.sets.get(KEY)["metadata"]["resourceVersion"] == "999999"


async def test_nothing_is_sent_once_another_leads(scene: tuple[Scene, Performer]) -> None:
    it, performer, context, wanted = await of_a_pod(scene, "DELETE")
    performer._cluster.may_write = lambda: False
    await performer.perform(context, wanted)
    await performer.perform(context, a_creation(context, 1))
    assert not it.asked
    assert not it.troubles()
    assert all(seconds > 10 for seconds in it.looks), "it ends soon, or may write again"


# -- extensions --------------------------------------------------------------------------------------------------------


def with_an_extension(it: Scene, *versions: str, **status: Any) -> tuple[Context, objects.Obj]:
    """The set carries an extension, and its one pod runs 1.0.0 of it."""
    published = objects.a_published_extension("monitor", *versions)
    it.world.extensions.put({**published, "status": status})
    metadata = {**it.scale_set["metadata"], "resourceVersion": "999999", "generation": 2}
    it.scale_set = {
        **it.scale_set,
        "metadata": metadata,
        "spec": {**it.scale_set["spec"], "extensions": [objects.an_extension("monitor")]},
    }
    it.world.sets.put(it.scale_set)
    revision = objects.a_revision(it.scale_set, published)
    it.world.revisions.put(revision)
    labels = {"scalesets.dev/model": revision["metadata"]["labels"]["scalesets.dev/model"]}
    pod = objects.a_pod(labels=labels, annotations={"extension.scalesets.dev/monitor": "1.0.0"})
    it.world.pods.store.put(pod)
    return it.context(), pod


def a_patch(pod: objects.Obj, version: str = "1.1.0") -> PatchExtension:
    return PatchExtension(0, pod["metadata"]["uid"], "monitor", version, "containerd://1")


@pytest.mark.requirement("E9")
async def test_an_extension_is_patched_once_and_known_at_once(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    context, pod = with_an_extension(it, "1.0.0", "1.1.0")
    annotations = {
        "extension.scalesets.dev/monitor": "1.1.0",
        "extension.scalesets.dev/monitor.before": "containerd://1",
    }
    patched = {**pod, "metadata": {**pod["metadata"], "annotations": annotations, "resourceVersion": "999999"}}
    it.answers[f"PATCH {POD_PATH}"] = patched
    await performer.perform(context, a_patch(pod))
    assert it.asked == [f"PATCH {POD_PATH}"]
    instance = it.context().view.instances[0]
    assert instance.release.extensions == (("monitor", "1.1.0"),)
    assert instance.sidecar("monitor").before == "containerd://1"
    assert not it.troubles()


@pytest.mark.requirement("E3")
async def test_a_put_back_finds_the_image_of_a_version_that_is_published_no_more(
    scene: tuple[Scene, Performer],
) -> None:
    it, performer = scene
    seen = [{"version": "1.0.0", "image": "registry/ext/monitor:former", "firstSeenTime": objects.at(-60)}]
    context, pod = with_an_extension(it, "1.1.0", versions=seen)
    it.answers[f"PATCH {POD_PATH}"] = pod
    await performer.perform(context, a_patch(pod, "1.0.0"))
    assert it.asked == [f"PATCH {POD_PATH}"]
    assert it.sent[0]["spec"] == {"initContainers": [{"name": "monitor", "image": "registry/ext/monitor:former"}]}


async def test_one_image_under_two_numbers_starts_nothing_anew(scene: tuple[Scene, Performer]) -> None:
    """Waiting for another container would be in vain."""
    it, performer = scene
    one = [
        {"version": v, "image": "registry/ext/monitor:one", "firstSeenTime": objects.at(-60)}
        for v in ("1.0.0", "1.1.0")
    ]
    context, pod = with_an_extension(it, "1.0.0", "1.1.0", versions=one)
    it.answers[f"PATCH {POD_PATH}"] = pod
    await performer.perform(context, a_patch(pod))
    annotations = it.sent[0]["metadata"]["annotations"]
    assert annotations == {"extension.scalesets.dev/monitor": "1.1.0", "extension.scalesets.dev/monitor.before": None}


async def test_a_version_without_an_image_is_said_and_nothing_is_patched(scene: tuple[Scene, Performer]) -> None:
    it, performer = scene
    context, pod = with_an_extension(it, "1.0.0")
    await performer.perform(context, a_patch(pod))
    assert not it.asked
    (said,) = it.troubles().items()
    assert said == (
        TroubleKind.IMAGE_MISSING,
        "extension monitor: monitor has no version 1.1.0: publish it, or name another version",
    )
    assert it.looks
    await performer.perform(context, PatchExtension(0, "uid", "unknown", "1.1.0", ""))
    assert "not in the model" in it.troubles()[TroubleKind.IMAGE_MISSING]


@pytest.mark.parametrize("refusal", [(409, "Conflict", "uid"), (422, "Invalid", "uid"), (404, "NotFound", "gone")])
async def test_a_pod_that_was_made_anew_is_not_patched(
    scene: tuple[Scene, Performer], refusal: tuple[int, str, str]
) -> None:
    it, performer = scene
    context, pod = with_an_extension(it, "1.0.0", "1.1.0")
    it.answers[f"PATCH {POD_PATH}"] = refusal
    await performer.perform(context, a_patch(pod))
    assert 0 not in it.context().view.instances
    assert not held_back(context, 0, utc_now())


@pytest.mark.parametrize("refusal", [(422, "Invalid", "spec: Forbidden"), (403, "Forbidden", "a policy says no")])
async def test_a_patch_that_is_refused_is_said_by_name_and_backs_off(
    scene: tuple[Scene, Performer], refusal: tuple[int, str, str]
) -> None:
    it, performer = scene
    context, pod = with_an_extension(it, "1.0.0", "1.1.0")
    it.answers |= {f"PATCH {POD_PATH}": refusal, f"GET {POD_PATH}": pod}
    await performer.perform(context, a_patch(pod))
    assert 0 in it.context().view.instances
    assert it.troubles() == {
        TroubleKind.ACTION_REFUSED: f"instance web-0: patch does not succeed: {refusal[2]}",
    }
    assert held_back(context, 0, utc_now())
