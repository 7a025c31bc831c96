"""The real API server takes what is made for it, strictly, and gives back what was written."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kube_objects import NOW, a_published_extension, a_set, a_template, an_extension, an_image, revisions_of
from status_strategies import set_statuses, upgrade_statuses

from controlplane import eventually
from scalesets.engine.decision import CreateUpgrade
from scalesets.engine.view import SetStatus, UpgradeStatus, UpgradeType
from scalesets.kube import catalogues, claims, models, pods, statuses, upgrades, views
from scalesets.kube.claims import Judgement
from scalesets.kube.seen import Seen
from scalesets.kube.settings import Settings
from scalesets.kube.templates import Template
from scalesets.local.api import Api
from scalesets.local.controlplane import ControlPlane

NAMESPACE = "translation"
OURS = f"/apis/scalesets.dev/v1alpha1/namespaces/{NAMESPACE}"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
STRICT = "fieldValidation=Strict"
SETTINGS = Settings(catalog_namespace=NAMESPACE, default_location="local")
FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def written(obj: dict[str, Any]) -> dict[str, Any]:
    """An object as its author would write it, in the namespace of these tests."""
    metadata = {"name": obj["metadata"]["name"], "namespace": NAMESPACE}
    return {"apiVersion": "scalesets.dev/v1alpha1", "kind": obj["kind"], "metadata": metadata, "spec": obj["spec"]}


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    with control_plane.api() as found:
        found.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield found
        for held in found.get(f"{OURS}/rollingupgrades")["items"]:
            found.merge(f"{OURS}/rollingupgrades/{held['metadata']['name']}", {"metadata": {"finalizers": None}})
        found.delete(f"/api/v1/namespaces/{NAMESPACE}")


def full_set() -> dict[str, Any]:
    """A set that says a little of everything."""
    template = a_template(
        ports=[{"containerPort": 8080}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        env=[{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    )
    template["metadata"] = {"labels": {"app": "web"}, "annotations": {"note": "x"}}
    template["spec"]["containers"].append({"name": "log", "image": "registry/log:1"})
    template["spec"]["initContainers"] = [{"name": "migrate", "image": "registry/migrate:1"}]
    template["spec"]["volumes"] = [{"name": "cache", "emptyDir": {}}]
    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return written(
        a_set(
            "full",
            replicas=0,
            zones=["1", "2"],
            serviceName="web",
            osProfile={"customData": "echo $HOME > /data/motd\n"},
            extensions=[
                an_extension(
                    "health",
                    settings={"port": 8080, "text": "$(HOME)", "list": [], "deep": {"a": None}},
                    protectedSettingsFrom={"secretRef": {"name": "keys"}},
                    provisionAfterExtensions=["x" * 56],
                ),
                {**an_extension("monitor"), "name": "x" * 56},
            ],
            template=template,
            volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": storage}],
            persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"},
        )
    )


@pytest.fixture(scope="module")
def found(api: Api, control_plane: ControlPlane) -> Seen:
    """A stored set with its image, extensions and model, all described and stored."""
    image = api.create(f"{OURS}/galleryimages", written(an_image("1.0.0", "2.0.0")))
    published = [a_published_extension(name, "1.0.4") for name in ("health", "monitor")]
    extensions = [api.create(f"{OURS}/extensions", written(e)) for e in published]
    image, *extensions = (describe(api, obj) for obj in (image, *extensions))
    scaleset = api.create(f"{OURS}/scalesets", full_set())
    seen = Seen(scaleset, images=(image,), extensions=tuple(extensions), catalog_namespace=NAMESPACE)
    body = models.resolve(seen).create
    assert body is not None
    revision = create_revision(control_plane, body)
    return Seen(
        scaleset,
        revisions=revisions_of(revision),
        images=seen.images,
        extensions=seen.extensions,
        catalog_namespace=NAMESPACE,
    )


def create_revision(control_plane: ControlPlane, body: Any) -> dict[str, Any]:
    """Send exactly these bytes: another encoder could mend what the test is about."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions?{STRICT}"
    answer: dict[str, Any] = orjson.loads(
        control_plane.kubectl("create", "--raw", path, "-f", "-", stdin=orjson.dumps(body).decode())
    )
    return answer


def describe(api: Api, obj: dict[str, Any]) -> dict[str, Any]:
    status, _ = catalogues.describe(obj, [obj], locations=["local"], settings=SETTINGS, now=NOW)
    plural = {"GalleryImage": "galleryimages", "Extension": "extensions"}[obj["kind"]]
    path = f"{OURS}/{plural}/{obj['metadata']['name']}/status?{STRICT}"
    stored = api.replace(path, {**obj, "status": status})
    assert stored["status"] == status
    assert catalogues.describe(stored, [stored], locations=["local"], settings=SETTINGS, now=NOW)[0] is None
    return stored


def test_the_stored_model_is_found_again_and_is_that_of_the_set_as_it_was_written(found: Seen):
    resolution = models.resolve(found)

    assert resolution.create is None
    (revision,) = found.revisions.values()
    assert models.canonical_form(revision["data"]) == models.canonical_form(models.model_part(full_set()["spec"]))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(FEW, max_examples=10)
@given(st.lists(json_values, min_size=8, max_size=8), st.text())
@example(values=[-0.0], script="")
def test_a_stored_model_can_be_patched_whatever_is_in_it(api: Api, control_plane: ControlPlane, values, script: str):
    """The garbage collector orphans it, and a new set adopts it, though its data is immutable byte for byte."""
    scaleset = a_set("patched", uid="patched-uid", osProfile={"customData": "a <b> & 'c' \x00\x7f\u2028 é 😀" + script})
    scaleset = {**scaleset, "metadata": {**scaleset["metadata"], "namespace": NAMESPACE}}
    # Other numbers than the API server's own reading of a ScaleSet are not to be expected.
    scaleset["spec"]["extensions"] = [an_extension("health", settings={"values": values, "more": [0.5, 1e-7, 1e21]})]
    body = models.resolve(Seen(scaleset, extensions=(a_published_extension("health"),))).create
    assert body is not None
    # Its owner isn't on the server, so the garbage collector would take it too early; and a replay makes it again.
    unowned = {key: value for key, value in body["metadata"].items() if key != "ownerReferences"}
    unowned["name"] += f"-{uuid.uuid4().hex[:8]}"
    revision = create_revision(control_plane, {**body, "metadata": unowned})
    name = revision["metadata"]["name"]

    orphan = {"metadata": {"uid": revision["metadata"]["uid"], "ownerReferences": None}}
    control_plane.kubectl(
        "patch",
        "controllerrevision",
        name,
        "-n",
        NAMESPACE,
        "--type=strategic",
        f"--patch={orjson.dumps(orphan).decode()}",
    )
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions/{name}"
    adopted = api.merge(path, models.adoption_patch(scaleset, revision))

    assert adopted["metadata"]["ownerReferences"][0]["uid"] == "patched-uid"
    assert adopted["data"] == revision["data"]


@pytest.mark.requirement("O6", "O7")
@pytest.mark.parametrize("backed", [True, False])
def test_a_pod_with_everything_is_taken(api: Api, found: Seen, backed: bool):
    view = views.build(found, settings=SETTINGS)
    assert view.model is not None
    release = pods.shared_release(
        "1.0.0", view.model.name, tuple(sorted((e.name, "1.0.4") for e in view.model.extensions))
    )
    images = catalogues.images_of(found, view.model, release)
    assert not isinstance(images, str), images
    template = Template(found.scale_set, found.revisions[view.model.name], zones_backed=backed)
    body = template.build(3, release, images)

    tried = api.create(f"{CORE}/pods?dryRun=All&{STRICT}", template.dry_run(3, release, images))
    stored = api.create(f"{CORE}/pods?dryRun=All&{STRICT}", body)

    assert tried["metadata"]["name"] == "full-3-dry-run"
    pod = pods.parse({**stored, "metadata": {**stored["metadata"], "resourceVersion": "1"}}, previous=None, now=NOW)
    assert pod is not None
    assert (pod.instance.ordinal, pod.instance.release, pod.owner_uid) == (3, release, view.uid)
    assert [c["name"] for c in stored["spec"]["initContainers"]] == ["custom-data", "x" * 56, "health", "migrate"]


def test_claims_are_taken_and_known_as_ours(api: Api, found: Seen):
    path = f"{CORE}/persistentvolumeclaims"
    (body,) = claims.bodies(found.scale_set, 3)

    stored = api.create(f"{path}?{STRICT}", body)

    assert claims.judge(found.scale_set, stored) is Judgement.OURS
    claim_path = f"{path}/data-full-3"
    eventually(lambda: api.get(claim_path)["status"]["phase"] == "Bound", what="the claim is bound: others write it")
    older = api.merge(f"{path}/data-full-3", {"metadata": {"labels": {"scalesets.dev/scaleset-uid": "older"}}})
    assert claims.judge(found.scale_set, older) is Judgement.ADOPT
    adopted = api.merge(f"{path}/data-full-3?{STRICT}", claims.adopt_patch(found.scale_set, older))
    assert claims.judge(found.scale_set, adopted) is Judgement.OURS
    claim = claims.parse(adopted)
    assert claim is not None
    assert (claim.template, claim.ordinal, claim.requested) == ("data", 3, "1Gi")
    assert [owner["uid"] for owner in claim.owners] == [found.scale_set["metadata"]["uid"]]


@FEW
@given(set_statuses)
def test_any_status_of_a_set_is_stored_as_written(api: Api, found: Seen, status: SetStatus):
    body = statuses.write_set(status, found.scale_set, NOW)
    current = api.get(f"{OURS}/scalesets/full")

    stored = api.replace(f"{OURS}/scalesets/full/status?{STRICT}", {**current, "status": body})

    assert stored["status"] == body
    assert statuses.read_set(stored["status"]) == status


@pytest.fixture(scope="module")
def upgrade(api: Api, found: Seen) -> dict[str, Any]:
    create = CreateUpgrade("full-os-1", UpgradeType.OS_IMAGE)
    return api.create(f"{OURS}/rollingupgrades?{STRICT}", upgrades.body(found.scale_set, create))


@FEW
@given(upgrade_statuses)
def test_any_status_of_an_upgrade_is_stored_as_written(api: Api, upgrade: dict[str, Any], status: UpgradeStatus):
    body = upgrades.write_status(status, upgrade, NOW)
    current = api.get(f"{OURS}/rollingupgrades/full-os-1")

    stored = api.replace(f"{OURS}/rollingupgrades/full-os-1/status?{STRICT}", {**current, "status": body})

    assert stored["status"] == body
    assert upgrades.read(stored).status == status
