"""A model and a release as a pod: what stands where, in which order, and what sets one instance apart."""

from __future__ import annotations

import orjson
import pytest
from kube_objects import a_published_extension, a_revision, a_set, a_template, an_extension

from scalesets.engine.view import Release
from scalesets.kube import templates
from scalesets.kube.templates import Images, Template

PUBLISHED = [a_published_extension("health"), a_published_extension("monitor")]


def build(scaleset, ordinal: int = 0, *, zones_backed: bool = False, pull_secrets=()):
    """The body of one pod of the set in its own model, with every extension at 1.0.4."""
    revision = a_revision(scaleset, *PUBLISHED)
    names = [e["name"] for e in scaleset["spec"].get("extensions") or ()]
    release = Release("1.0.0", "abc", tuple((n, "1.0.4") for n in sorted(names)))
    containers = (("os", "registry/os/ubuntu:1.0.0"), *((n, f"registry/ext/{n}:1.0.4") for n in names))
    template = Template(scaleset, revision, zones_backed=zones_backed)
    return template.build(ordinal, release, Images(containers, tuple(pull_secrets)))


def container(body, name: str):
    spec = body["spec"]
    return next(c for c in (*spec.get("initContainers", ()), *spec["containers"]) if c["name"] == name)


def volume(body, name: str):
    return next(v for v in body["spec"]["volumes"] if v["name"] == name)


def environment(body, name: str):
    return {v["name"]: v.get("value") for v in container(body, name)["env"]}


# -- name, labels, owner -----------------------------------------------------------------------------------------------


def test_an_instance_is_named_labelled_and_owned():
    template = {**a_template(), "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}}}
    body = build(a_set(zones=["1", "2"], updateDomains=3, template=template, extensions=[an_extension()]), 5)

    metadata = body["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("web-5", "team-a")
    assert metadata["labels"] == {
        "app": "web",
        "scalesets.dev/scaleset": "web",
        "scalesets.dev/instance-id": "5",
        "scalesets.dev/image-version": "1.0.0",
        "scalesets.dev/model": "abc",
        "scalesets.dev/zone": "2",
        "scalesets.dev/update-domain": "2",
    }
    assert metadata["annotations"]["note"] == "x"
    assert metadata["annotations"]["extension.scalesets.dev/health"] == "1.0.4"
    assert [(o["uid"], o["controller"], o["blockOwnerDeletion"]) for o in metadata["ownerReferences"]] == [
        ("set-uid", True, True)
    ]


def test_without_zones_there_is_no_zone_label():
    assert "scalesets.dev/zone" not in build(a_set())["metadata"]["labels"]


@pytest.mark.requirement("O9b")
@pytest.mark.parametrize(
    ("backed", "selector"), [(True, {"disk": "fast", "topology.kubernetes.io/zone": "2"}), (False, {"disk": "fast"})]
)
def test_a_zone_selects_nodes_only_where_nodes_have_zones(backed, selector):
    template = a_template()
    template["spec"]["nodeSelector"] = {"disk": "fast"}

    body = build(a_set(zones=["1", "2"], template=template), 1, zones_backed=backed)

    assert body["spec"]["nodeSelector"] == selector


@pytest.mark.parametrize(("service", "names"), [("web", ("web-4", "web")), (None, (None, None))])
def test_with_a_service_name_pods_have_host_names(service, names):
    spec = build(a_set(serviceName=service) if service else a_set(), 4)["spec"]

    assert (spec.get("hostname"), spec.get("subdomain")) == names


# -- containers --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O6", "O7")
def test_the_order_is_custom_data_extensions_own_init_containers_containers():
    template = a_template()
    template["spec"]["initContainers"] = [{"name": "migrate", "image": "registry/migrate:1"}]
    template["spec"]["containers"].append({"name": "log", "image": "registry/log:1"})
    extensions = [an_extension("health", provisionAfterExtensions=["monitor"]), an_extension("monitor")]

    spec = build(a_set(template=template, osProfile={"customData": "echo"}, extensions=extensions))["spec"]

    assert [c["name"] for c in spec["initContainers"]] == ["custom-data", "monitor", "health", "migrate"]
    assert [c["name"] for c in spec["containers"]] == ["os", "log"]
    assert [c["image"] for c in spec["containers"]] == ["registry/os/ubuntu:1.0.0", "registry/log:1"]


@pytest.mark.requirement("O6")
def test_custom_data_runs_in_the_os_image_with_its_mounts_and_variables_and_reaches_the_shell_unchanged():
    given = {
        "env": [{"name": "A", "value": "1"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"runAsNonRoot": True},
        "resources": {"limits": {"cpu": "1"}},
        "ports": [{"containerPort": 80}],
    }
    script = "echo $$ $(hostname) ${HOME}\n"

    body = build(a_set(template=a_template(**given), osProfile={"customData": script}))

    first = container(body, "custom-data")
    assert first["image"] == "registry/os/ubuntu:1.0.0"
    assert first["command"] == ["/bin/sh", "-c", "echo $$$$ $$(hostname) $${HOME}\n"]
    assert {key: first[key] for key in ("env", "volumeMounts", "securityContext", "resources")} == {
        key: given[key] for key in ("env", "volumeMounts", "securityContext", "resources")
    }
    assert "ports" not in first
    assert "readinessProbe" not in first


def test_custom_data_from_a_secret_is_a_file():
    profile = {"customDataFrom": {"secretKeyRef": {"name": "boot", "key": "script.sh"}}}

    body = build(a_set(osProfile=profile))

    first = container(body, "custom-data")
    assert first["command"] == ["/bin/sh", "/var/run/scalesets.dev/custom-data/script"]
    assert first["volumeMounts"][-1]["mountPath"] == "/var/run/scalesets.dev/custom-data"
    assert volume(body, "custom-data")["secret"] == {
        "secretName": "boot",
        "items": [{"key": "script.sh", "path": "script"}],
    }


def test_an_extension_is_a_native_sidecar_with_its_settings_as_variable_and_file():
    extension = an_extension(settings={"port": 8080, "greeting": "$(HOME) $5"})

    body = build(a_set(extensions=[extension]))

    sidecar = container(body, "health")
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["image"] == "registry/ext/health:1.0.4"
    assert sidecar["startupProbe"] == {"httpGet": {"path": "/started", "port": 8081}}
    variables = environment(body, "health")
    assert variables["EXTENSION_SETTINGS"] == '{"greeting":"$$(HOME) $$5","port":8080}'
    annotation = "settings.extension.scalesets.dev/health"
    assert orjson.loads(body["metadata"]["annotations"][annotation]) == extension["settings"]
    mount = sidecar["volumeMounts"][0]
    assert variables["EXTENSION_SETTINGS_FILE"] == f"{mount['mountPath']}/settings.json"
    (item,) = volume(body, mount["name"])["downwardAPI"]["items"]
    assert item == {"path": "settings.json", "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}


def test_protected_settings_are_mounted_and_nowhere_else():
    extension = an_extension(protectedSettingsFrom={"secretRef": {"name": "keys"}})

    body = build(a_set(extensions=[extension]))

    mount = container(body, "health")["volumeMounts"][1]
    assert environment(body, "health")["EXTENSION_PROTECTED_SETTINGS"] == mount["mountPath"]
    assert volume(body, mount["name"])["secret"] == {"secretName": "keys"}


def test_without_settings_the_contract_is_the_same():
    assert environment(build(a_set(extensions=[an_extension()])), "health")["EXTENSION_SETTINGS"] == "{}"


def test_an_extensions_own_variables_stay_but_do_not_shadow_ours():
    own = {"env": [{"name": "EXTENSION_SETTINGS", "value": "mine"}, {"name": "LEVEL", "value": "debug"}]}
    scaleset = a_set(extensions=[an_extension()])
    revision = a_revision(scaleset, a_published_extension("health", container=own))
    images = Images((("os", "o"), ("health", "h")))

    body = Template(scaleset, revision, zones_backed=False).build(
        0, Release("1.0.0", "abc", (("health", "1.0.4"),)), images
    )

    assert environment(body, "health")["EXTENSION_SETTINGS"] == "{}"
    assert [v["name"] for v in container(body, "health")["env"]].count("EXTENSION_SETTINGS") == 1
    assert environment(body, "health")["LEVEL"] == "debug"


def test_volume_names_fit_and_differ():
    longest = "x" * 56
    names = {
        templates.volume_name(p, n)
        for p in ("settings", "protected")
        for n in (longest, longest[:-1] + "y", "a", "settings-a")
    }

    assert len(names) == 8
    assert max(map(len, names)) <= 63


# -- disks and secrets -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O6")
def test_claims_become_volumes_and_take_the_place_of_a_volume_of_the_name():
    template = a_template()
    template["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}]
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}

    body = build(a_set(template=template, volumeClaimTemplates=[claim]), 3)

    assert body["spec"]["volumes"] == [
        {"name": "cache", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-3"}},
    ]


def test_a_set_that_has_only_claims_has_only_their_volumes():
    claim = {"metadata": {"name": "data"}, "spec": {}}

    assert [v["name"] for v in build(a_set(volumeClaimTemplates=[claim]))["spec"]["volumes"]] == ["data"]


def test_pull_secrets_are_joined():
    template = a_template()
    template["spec"]["imagePullSecrets"] = [{"name": "own"}]

    spec = build(a_set(template=template), pull_secrets=["registry", "own"])["spec"]

    assert spec["imagePullSecrets"] == [{"name": "own"}, {"name": "registry"}]


# -- one instance and another ------------------------------------------------------------------------------------------


def test_instances_differ_only_in_what_their_ordinal_says():
    claim = {"metadata": {"name": "data"}, "spec": {}}
    scaleset = a_set(zones=["1", "2"], serviceName="web", volumeClaimTemplates=[claim], extensions=[an_extension()])
    revision = a_revision(scaleset, *PUBLISHED)
    template = Template(scaleset, revision, zones_backed=True)
    release = Release("1.0.0", "abc", (("health", "1.0.4"),))
    images = Images((("os", "o"), ("health", "h")))
    first = orjson.dumps(template.build(0, release, images))

    template.build(1, release, images)
    template.build(3, release, images)

    assert orjson.dumps(template.build(0, release, images)) == first
    fresh = Template(scaleset, revision, zones_backed=True)
    assert template.build(3, release, images) == fresh.build(3, release, images)


def test_releases_of_one_model_differ_in_image_and_labels():
    scaleset = a_set()
    template = Template(scaleset, a_revision(scaleset), zones_backed=False)

    old = template.build(0, Release("1.0.0", "abc"), Images((("os", "image:1"),)))
    new = template.build(0, Release("2.0.0", "abc"), Images((("os", "image:2"),)))

    assert [b["spec"]["containers"][0]["image"] for b in (old, new)] == ["image:1", "image:2"]
    assert [b["metadata"]["labels"]["scalesets.dev/image-version"] for b in (old, new)] == ["1.0.0", "2.0.0"]


def test_a_dry_run_goes_under_a_name_of_its_own():
    scaleset = a_set(serviceName="web")
    template = Template(scaleset, a_revision(scaleset), zones_backed=False)
    release, images = Release("1.0.0", "abc"), Images((("os", "o"),))

    body = template.dry_run(2, release, images)

    assert body["metadata"]["name"] == "web-2-dry-run"
    assert body["spec"] == template.build(2, release, images)["spec"]
    assert template.build(2, release, images)["metadata"]["name"] == "web-2"
