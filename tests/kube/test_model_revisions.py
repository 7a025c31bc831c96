"""When a set gets a new model, what one is compared by, and which are kept."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_objects import (
    NOW,
    a_published_extension,
    a_revision,
    a_set,
    a_template,
    an_extension,
    revisions_of,
    seen,
    sent,
    stored,
)

from scalesets.engine.view import (
    Batch,
    Code,
    Instance,
    Release,
    SetStatus,
    SetView,
    StartedBy,
    Target,
    Upgrade,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)
from scalesets.kube import models, times
from scalesets.kube.names import LABEL_MODEL

HEALTH, MONITOR = a_published_extension("health", reportsApplicationHealth=True), a_published_extension("monitor")


def settled(scaleset, revision):
    """The set once its status tells of the revision."""
    model = revision["metadata"]["labels"][LABEL_MODEL]
    status = {"observedGeneration": scaleset["metadata"]["generation"], "currentModel": model, "conditions": []}
    return {**scaleset, "status": status}


def edited(scaleset, **spec):
    """The set after an edit."""
    metadata = {**scaleset["metadata"], "generation": scaleset["metadata"]["generation"] + 1}
    return {**scaleset, "metadata": metadata, "spec": {**scaleset["spec"], **spec}}


def resolve(scaleset, *revisions, extensions=(HEALTH, MONITOR)):
    return models.resolve(seen(scaleset, revisions=revisions_of(*revisions), extensions=extensions))


# -- when there is a new one -------------------------------------------------------------------------------------------


def test_a_new_set_gets_a_revision_of_its_own():
    found = resolve(a_set(extensions=[an_extension("health")]))

    body = sent(found.create)
    assert body["metadata"]["name"] == f"web-{found.name}"
    assert body["metadata"]["labels"] == {"scalesets.dev/scaleset": "web", "scalesets.dev/model": found.name}
    assert body["metadata"]["ownerReferences"][0]["uid"] == "set-uid"
    assert body["revision"] == 1
    assert body["data"]["resolved"]["health"]["container"] == HEALTH["spec"]["container"]
    assert found.model.name == found.name
    assert found.problem is None


def test_once_stored_it_is_found():
    scaleset = a_set()
    revision = a_revision(scaleset)

    found = resolve(scaleset, revision)

    assert found.create is None
    assert found.model == models.to_engine(revision)


def test_an_unchanged_generation_keeps_the_model_whatever_the_spec_seems_to_say():
    """A newer CRD may fill in fields that this code has never heard of."""
    before = a_set()
    revision = a_revision(before)
    template = a_template(newDefault=True)

    found = resolve(settled({**before, "spec": {**before["spec"], "template": template}}, revision), revision)

    assert (found.create, found.name) == (None, models.model_name(revision))


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 3},
        {"upgradePolicy": {"mode": "Manual", "rollingUpgradePolicy": {"maxBatchInstancePercent": 5}}},
        {"instanceProtection": [{"instanceId": 3, "protectFromUpgrade": True}]},
        {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]},
        {"osProfile": {"windowsConfiguration": {"enableAutomaticUpdates": False}}},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_an_edit_of_anything_else_makes_no_model(spec):
    before = a_set()
    revision = a_revision(before)

    assert resolve(edited(settled(before, revision), **spec), revision).create is None


@pytest.mark.requirement("O14", "O20")
@pytest.mark.parametrize(
    "spec",
    [
        {"template": a_template(env=[{"name": "A", "value": "1"}])},
        {"osProfile": {"customData": "echo"}},
        {"osProfile": {"customDataFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}},
        {"imageReference": {"publisher": "Canonical", "offer": "jammy", "sku": "24_04-LTS", "version": "latest"}},
        {"imageReference": {"publisher": "Canonical", "offer": "jammy", "sku": "22_04-LTS", "version": "1.0.0"}},
        {"extensions": [an_extension("monitor")]},
        {"upgradePolicy": {"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}}},
    ],
    ids=["template", "custom data", "custom data from", "sku", "version", "extension", "flag"],
)
def test_an_edit_of_the_model_makes_a_new_one(spec):
    before = a_set()
    revision = a_revision(before)

    found = resolve(edited(settled(before, revision), **spec), revision)

    assert found.create is not None
    assert found.create["revision"] == 2
    assert found.name != models.model_name(revision)


def test_going_back_finds_the_older_model_again():
    first = a_set()
    one = a_revision(first)
    second = edited(settled(first, one), template=a_template(args=["x"]))
    two = stored(sent(resolve(second, one).create))

    found = resolve(edited(settled(second, two), template=a_template()), one, two)

    assert (found.create, found.name) == (None, models.model_name(one))


def test_a_difference_in_flags_only_has_the_same_content():
    plain = a_set(extensions=[an_extension("health")])
    flags = a_set(
        extensions=[an_extension("health", enableAutomaticUpgrade=True)],
        upgradePolicy={"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}},
        osProfile={"windowsConfiguration": {"enableAutomaticUpdates": False}},
    )

    one, other = resolve(plain).model, resolve(flags).model

    assert one.name != other.name
    assert one.content == other.content
    assert (one.automatic_os_upgrade, other.automatic_os_upgrade) == (False, True)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"port": 1}},
        {"settings": {"list": []}},
        {"typeHandlerVersion": "2.0"},
        {"autoUpgradeMinorVersion": True},
        {"protectedSettingsFrom": {"secretRef": {"name": "keys"}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_extensions_settings_are_content(change):
    one = resolve(a_set(extensions=[an_extension("health")])).model
    other = resolve(a_set(extensions=[an_extension("health", **change)])).model

    assert one.content != other.content


def test_another_model_with_the_same_hash_gets_another_name():
    scaleset = a_set()
    name = resolve(scaleset).name
    squatter = copy.deepcopy(a_revision(a_set(template=a_template(args=["other"]))))
    squatter["metadata"]["labels"][LABEL_MODEL] = name

    found = resolve(scaleset, squatter)

    assert found.create is not None
    assert found.name != name


# -- what it is compared by --------------------------------------------------------------------------------------------

WRITTEN = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "os",
                "ports": [{"containerPort": 80}],
                "readinessProbe": {"httpGet": {"port": 80}},
                "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}}],
    },
}
FILLED = [
    (("spec",), {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "nodeSelector": {}, "securityContext": {}}),
    (("spec",), {"terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "imagePullSecrets": []}),
    (
        ("spec", "containers", 0),
        {"resources": {}, "volumeMounts": [], "terminationMessagePolicy": "File", "args": None},
    ),
    (("spec", "containers", 0, "ports", 0), {"protocol": "TCP"}),
    (("spec", "containers", 0, "readinessProbe"), {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}),
    (("spec", "containers", 0, "readinessProbe", "httpGet"), {"scheme": "HTTP"}),
    (("spec", "containers", 0, "env", 0, "valueFrom", "fieldRef"), {"apiVersion": "v1"}),
    (("spec", "volumes", 1, "secret"), {"defaultMode": 420}),
    (("metadata",), {"annotations": {}}),
]


@given(st.lists(st.sampled_from(range(len(FILLED)))))
def test_defaults_that_somebody_fills_in_make_no_difference(chosen):
    template = copy.deepcopy(WRITTEN)
    for number in chosen:
        path, fields = FILLED[number]
        where = template
        for part in path:
            where = where[part]
        where.update(copy.deepcopy(fields))

    one, other = a_set(template=WRITTEN), a_set(template=template)

    assert models.canonical_form(models.model_part(one["spec"])) == models.canonical_form(
        models.model_part(other["spec"])
    )


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (("spec",), {"terminationGracePeriodSeconds": 31}),
        (("spec", "containers", 0, "ports", 0), {"protocol": "UDP"}),
        (("spec", "containers", 0, "readinessProbe"), {"periodSeconds": 11}),
        (("spec", "volumes", 0), {"emptyDir": {"medium": "Memory"}}),
        (("spec",), {"affinity": {"podAffinity": {"x": [{"namespaceSelector": {}}]}}}),
    ],
)
def test_what_means_something_makes_a_difference(path, fields):
    template = copy.deepcopy(WRITTEN)
    where = template
    for part in path:
        where = where[part]
    where.update(fields)

    assert resolve(a_set(template=template)).name != resolve(a_set(template=WRITTEN)).name


# -- what the engine learns --------------------------------------------------------------------------------------------


@pytest.mark.requirement("O3")
def test_the_engine_learns_of_probes_and_extensions():
    probe = {"httpGet": {"port": 80}, "initialDelaySeconds": 30, "periodSeconds": 20, "successThreshold": 3}
    scaleset = a_set(
        template=a_template(readinessProbe=probe),
        extensions=[an_extension("health", typeHandlerVersion="1", autoUpgradeMinorVersion=True)],
        upgradePolicy={"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}},
    )

    model = resolve(scaleset).model

    assert (model.image, model.version) == ("Canonical/jammy/22_04-LTS", "latest")
    assert model.automatic_os_upgrade
    assert model.probed
    assert model.probe_delay == timedelta(seconds=90)
    assert not model.slow_probe
    (extension,) = model.extensions
    assert (extension.key, extension.type_handler_version) == ("Contoso/Health", "1")
    assert extension.reports_application_health
    assert extension.auto_upgrade_minor_version


@pytest.mark.requirement("E3")
@pytest.mark.parametrize(
    ("container", "settle", "needed"),
    [
        ({}, 10, 0),
        ({"startupProbe": {"tcpSocket": {"port": 80}}}, 12, 10),
        ({"startupProbe": {"periodSeconds": 1}, "readinessProbe": {"periodSeconds": 5}}, 7, 5),
        ({"readinessProbe": {"initialDelaySeconds": 30, "periodSeconds": 3, "successThreshold": 2}}, 5, 36),
        ({"livenessProbe": {"periodSeconds": 60}}, 10, 0),
        ({"startupProbe": None, "readinessProbe": None}, 10, 0),
    ],
    ids=["no probe", "defaults", "both", "slow", "liveness", "nothing"],
)
def test_how_long_a_patched_extension_is_not_believed(container, settle, needed):
    """The larger period of its probes and two seconds, or ten seconds."""
    published = a_published_extension("health", container=container)
    model = resolve(a_set(extensions=[an_extension("health")]), extensions=(published,)).model

    (extension,) = model.extensions
    assert extension.settle == timedelta(seconds=settle)
    assert extension.probe_delay == timedelta(seconds=needed)


@pytest.mark.requirement("E3")
def test_a_period_beyond_all_times_settles_some_time():
    published = a_published_extension("health", container={"startupProbe": {"periodSeconds": 2**62}})
    model = resolve(a_set(extensions=[an_extension("health")]), extensions=(published,)).model

    assert model.extensions[0].settle > timedelta(days=3650)


@pytest.mark.requirement("O3", "O15")
def test_a_set_without_a_probe_and_one_that_probes_too_seldom_are_told_apart():
    unprobed = resolve(a_set(template={"spec": {"containers": [{"name": "os"}]}})).model
    slow = resolve(a_set(template=a_template(readinessProbe={"periodSeconds": 121}))).model

    assert (unprobed.probed, unprobed.has_health_signal, unprobed.probe_delay) == (False, False, timedelta(0))
    assert slow.slow_probe


def test_a_gallery_image_is_known_by_its_name():
    assert resolve(a_set(imageReference={"galleryImage": "mine"})).model.image == "mine"


# -- no model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"extensions": [an_extension("nobody")]}, "ExtensionNotFound", "nobody: no Extension Contoso/Nobody"),
        ({"template": {"spec": {"containers": [{"name": "main"}]}}}, "NoOSContainer", "none is named os"),
        (
            {
                "template": a_template(),
                "extensions": [an_extension("health"), {**an_extension("monitor"), "name": "os"}],
            },
            "NameTaken",
            "a container of the pod is named os",
        ),
        (
            {"extensions": [an_extension("health", provisionAfterExtensions=["gone"])]},
            "ExtensionOrder",
            "health is to come after gone",
        ),
        (
            {
                "extensions": [
                    an_extension("health", provisionAfterExtensions=["monitor"]),
                    an_extension("monitor", provisionAfterExtensions=["health"]),
                ]
            },
            "ExtensionOrder",
            "health after monitor after health",
        ),
    ],
    ids=["no such extension", "no os", "name taken", "unknown before", "circle"],
)
def test_what_makes_a_model_impossible_is_said(spec, reason, words):
    found = resolve(a_set(**spec))

    assert (found.model, found.create) == (None, None)
    assert found.problem[0] == reason
    assert words in found.problem[1]
    assert reason in models.PROBLEMS


@pytest.mark.parametrize("told", ["Ready", "Reconciling", "Stalled"])
def test_a_model_that_was_impossible_when_its_generation_was_observed_is_made_later(told):
    before = a_set()
    revision = a_revision(before)
    after = edited(before, extensions=[an_extension("late")])
    problem = [{"type": told, "status": "True", "reason": "ExtensionNotFound"}]
    after = {**after, "status": {**settled(after, revision)["status"], "conditions": problem}}

    found = resolve(after, revision, extensions=(a_published_extension("late"),))

    assert found.create is not None


# -- which are kept ----------------------------------------------------------------------------------------------------


def test_all_but_those_in_use_and_the_two_before_are_deleted():
    def numbered(number):
        body = a_revision(a_set(template=a_template(args=[str(number)])))
        return {**body, "revision": number}

    revisions = [numbered(n) for n in range(1, 7)]
    names = [models.model_name(r) for r in revisions]

    assert models.prune(revisions, {names[5], names[0]}) == (f"web-{names[2]}", f"web-{names[1]}")
    assert models.prune(revisions[:2], set()) == ()


def test_in_use_is_what_instances_run_or_come_back_as_and_what_an_unfinished_upgrade_names(a_view):
    release = Release("1.0.0", "recorded")
    batch = Batch(1, "", 0, NOW, {0: Release("1.0.0", "former")})
    status = UpgradeStatus(Code.ROLLING_FORWARD, Target("target"), NOW, batches=(batch,))
    finished = UpgradeStatus(Code.COMPLETED, Target("past"), NOW)

    view = a_view(
        status=SetStatus(current_model="current", record={1: release}),
        instance_model="running",
        upgrades=(status, finished),
    )

    assert models.in_use(view) == {"current", "recorded", "running", "target", "former"}


@pytest.fixture
def a_view():
    """A view with one instance, of the model named, and upgrades of these statuses."""

    def make(*, status, instance_model, upgrades):
        return SetView(
            namespace="team-a",
            name="web",
            uid="set-uid",
            generation=1,
            created=NOW,
            replicas=2,
            mode=UpgradeMode.ROLLING,
            model=None,
            status=status,
            instances={0: Instance(0, "pod-0", Release("1.0.0", instance_model), NOW)},
            upgrades=tuple(
                Upgrade(f"u{n}", f"uid-{n}", NOW, UpgradeType.OS_IMAGE, StartedBy.PLATFORM, status=s)
                for n, s in enumerate(upgrades)
            ),
        )

    return make


def test_a_probe_may_ask_for_more_than_times_reach():
    """Two 32-bit numbers, multiplied."""
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 2**31 - 1, "successThreshold": 2**31 - 1}
    scaleset = a_set(template=a_template(readinessProbe=probe))
    assert models.to_engine(a_revision(scaleset)).probe_delay == times.LONGEST
