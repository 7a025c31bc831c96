"""A set and all that bears on it as the engine's view."""

from __future__ import annotations

from datetime import timedelta

import pytest
from kube_objects import (
    CATALOG,
    NAMESPACE,
    NOW,
    a_published_extension,
    a_revision,
    a_set,
    an_extension,
    an_image,
    at,
    revisions_of,
    seen,
    sent,
    stored,
)

from scalesets.engine.decide import decide
from scalesets.engine.decision import CreateUpgrade
from scalesets.engine.view import Instance, OSUpgradePolicy, Release, RollingPolicy, Timing, UpgradeMode, UpgradeType
from scalesets.kube import catalogues, claims, models, times, views
from scalesets.kube.settings import Settings

SETTINGS = Settings(catalog_namespace=CATALOG, default_location="local")


def described(obj, location: str = "local"):
    """The image or extension once its status is written."""
    status, _ = catalogues.describe(obj, [obj], locations=[location], settings=SETTINGS, now=NOW)
    return {**obj, "status": status}


def build(scaleset, *, revisions=None, images=None, settings=SETTINGS, **found):
    revisions = [a_revision(scaleset)] if revisions is None else revisions
    images = [described(an_image("1.0.0"))] if images is None else images
    return views.build(seen(scaleset, revisions=revisions_of(*revisions), images=images, **found), settings=settings)


# -- the set's own object ----------------------------------------------------------------------------------------------


def test_a_plain_set_has_azures_defaults():
    view = build(a_set())

    assert (view.namespace, view.name, view.uid, view.generation) == (NAMESPACE, "web", "set-uid", 1)
    assert (view.replicas, view.mode, view.update_domains, view.zones) == (10, UpgradeMode.ROLLING, 5, ())
    assert (view.policy, view.os_policy) == (RollingPolicy(), OSUpgradePolicy())
    assert view.created == times.parse(at(-3600))
    assert not view.deleting
    assert view.timing == Timing()


@pytest.mark.requirement("O20")
def test_policies_are_read():
    policy = {
        "mode": "Manual",
        "rollingUpgradePolicy": {
            "maxBatchInstancePercent": 5,
            "maxUnhealthyInstancePercent": 30,
            "maxUnhealthyUpgradedInstancePercent": 0,
            "pauseTimeBetweenBatches": "PT1M30S",
            "healthTimeout": "PT10S",
            "provisioningTimeout": "PT1H",
            "enableCrossZoneUpgrade": True,
            "prioritizeUnhealthyInstances": True,
            "rollbackFailedInstancesOnPolicyBreach": True,
        },
        "automaticOSUpgradePolicy": {
            "enableAutomaticOSUpgrade": True,
            "disableAutomaticRollback": True,
            "useRollingUpgradePolicy": True,
            "osRollingUpgradeDeferral": True,
        },
    }

    view = build(a_set(upgradePolicy=policy))

    assert view.mode is UpgradeMode.MANUAL
    assert view.policy == RollingPolicy(
        max_batch_percent=5,
        max_unhealthy_percent=30,
        max_unhealthy_upgraded_percent=0,
        pause=timedelta(seconds=90),
        health_timeout=timedelta(seconds=10),
        provisioning_timeout=timedelta(hours=1),
        cross_zone=True,
        prioritize_unhealthy=True,
        roll_back_on_breach=True,
    )
    assert view.os_policy == OSUpgradePolicy(True, True, True, True)


def test_protected_instances_zones_and_retention_are_read():
    protection = [{"instanceId": 3, "protectFromUpgrade": True}, {"instanceId": 4, "protectFromUpgrade": False}]
    retention = {"whenScaled": "Delete"}

    view = build(
        a_set(instanceProtection=protection, zones=["1", "2"], persistentVolumeClaimRetentionPolicy=retention),
        zones_backed=True,
    )

    assert view.protected == {3}
    assert (view.zones, view.zones_backed) == (("1", "2"), True)
    assert view.delete_claims_when_scaled


def test_what_was_found_of_the_zones_first_stays():
    scaleset = a_set(zones=["1"], status={"zonesBacked": False})

    assert build(scaleset, zones_backed=True).zones_backed is False


@pytest.mark.parametrize(
    ("spec", "status", "location"),
    [
        ({"location": "westeurope"}, {"location": "local"}, "westeurope"),
        ({}, {"location": "northeurope"}, "northeurope"),
        ({}, None, "local"),
    ],
)
def test_the_location_is_specs_then_statuses_then_the_operators(spec, status, location):
    assert build(a_set(status=status, **spec)).location == location


def managed(*fields):
    return [{"manager": f"m{n}", "fieldsV1": {"f:spec": {f: {}}}} for n, f in enumerate(fields)]


@pytest.mark.parametrize(
    ("fields", "owned"),
    [
        (managed("f:template", "f:replicas"), True),
        (managed("f:template"), False),
        ([{"manager": "m"}], False),
        (None, True),
    ],
)
def test_replicas_are_owned_by_whoever_wrote_them(fields, owned):
    scaleset = a_set(replicas=1)
    if fields is not None:
        scaleset["metadata"]["managedFields"] = fields

    assert build(scaleset).replicas_owned is owned


@pytest.mark.parametrize("replicas", [0, 2])
def test_only_the_default_can_come_from_nobody(replicas):
    """The scale subresource omits 0, so nobody owns it: a scale to none is meant all the same."""
    scaleset = a_set(replicas=replicas)
    scaleset["metadata"]["managedFields"] = managed("f:template")

    assert build(scaleset).replicas_owned


def test_zero_replicas_are_zero():
    assert build(a_set(replicas=0)).replicas == 0


def test_a_set_on_its_way_out():
    scaleset = a_set()
    scaleset["metadata"]["deletionTimestamp"] = at(0)

    assert build(scaleset).deleting


# -- model and catalogues ----------------------------------------------------------------------------------------------


def test_every_stored_model_is_there_with_its_images():
    first = a_set()
    one = a_revision(first)
    second = a_set(imageReference={"galleryImage": "mine"})
    two = stored(sent(models.resolve(seen(second, revisions=revisions_of(one))).create))
    mine = an_image("3.0.0", name="mine", namespace=NAMESPACE, source="Gallery", publisher=None)

    view = build(second, revisions=[one, two], images=[described(mine), described(an_image("1.0.0"))])

    assert view.model.name == models.model_name(two)
    assert set(view.models) == {models.model_name(one), models.model_name(two)}
    assert {
        key: c.find(v) is not None for (key, c), v in zip(sorted(view.images.items()), ("1.0.0", "3.0.0"), strict=True)
    } == {
        "Canonical/jammy/22_04-LTS": True,
        "mine": True,
    }
    assert view.images["Canonical/jammy/22_04-LTS"].platform
    assert not view.images["mine"].platform


def test_extensions_are_found_by_publisher_and_type():
    extension = described(a_published_extension("health", "1.0.4", "1.1.0"))
    scaleset = a_set(extensions=[an_extension("health")])
    revision = a_revision(scaleset, extension)

    view = build(scaleset, revisions=[revision], extensions=[extension])

    assert [v.version for v in view.extensions["Contoso/Health"].versions] == ["1.1.0", "1.0.4"]
    assert not view.extensions["Contoso/Health"].supports_automatic_upgrade


@pytest.mark.requirement("E11")
@pytest.mark.parametrize(("value", "supported"), [(True, True), (False, False), (None, False)])
def test_whether_an_extension_supports_automatic_upgrade_is_its_publishers_word(value, supported):
    extension = described(a_published_extension("health", supportsAutomaticUpgrade=value))

    assert catalogues.for_set(extension, "local").supports_automatic_upgrade is supported


@pytest.mark.requirement("E14")
@pytest.mark.parametrize("os_type", ["Linux", "Windows"])
def test_extensions_of_both_systems_are_upgraded(os_type):
    scaleset = a_set(extensions=[an_extension("health", enableAutomaticUpgrade=True)])
    published = a_published_extension("health", "1.0.4", "1.1.0", osType=os_type, supportsAutomaticUpgrade=True)
    extension = described(published)
    revision = a_revision(scaleset, extension)
    model = next(iter(revisions_of(revision))).removeprefix("web-")
    running = Release("1.0.0", model, (("health", "1.0.4"),))
    pods = {
        o: Instance(o, f"uid-{o}", running, NOW, ready=True, ready_since=NOW, started_at=NOW, first_ready=NOW)
        for o in range(10)
    }
    images = [described(an_image("1.0.0", osType=os_type))]

    view = build(scaleset, revisions=[revision], images=images, extensions=[extension], instances=pods)

    made = [w.type for w in decide(view, NOW + timedelta(minutes=5)).writes if isinstance(w, CreateUpgrade)]
    assert made == [UpgradeType.EXTENSION]


def test_without_a_model_the_reason_is_told():
    view = build(a_set(template={"spec": {"containers": [{"name": "main"}]}}), revisions=[])

    assert view.model is None
    assert view.model_problem[0] == "NoOSContainer"


@pytest.mark.requirement("O10")
def test_a_version_counts_where_it_is_replicated():
    image = an_image(
        name="mine",
        namespace=NAMESPACE,
        source="Gallery",
        versions=[
            {"version": "1.0.0", "image": "a"},
            {"version": "2.0.0", "image": "b", "targetRegions": ["northeurope"]},
        ],
    )
    view = build(a_set(location="westeurope"), images=[described(image, "westeurope")])

    (catalogue,) = view.images.values()
    assert catalogue.find("1.0.0").available_since is not None
    assert catalogue.find("2.0.0").available_since is None


# -- instances, claims, upgrades ---------------------------------------------------------------------------------------


def test_the_view_keeps_still_while_the_cache_moves_on():
    instances = {0: Instance(0, "pod-0", Release("1.0.0", "abc"), NOW)}
    view = build(a_set(), instances=instances)

    instances.clear()

    assert list(view.instances) == [0]


def a_claim(ordinal: int, *, uid: str = "set-uid", deleting: bool = False):
    labels = {"scalesets.dev/scaleset": "web", "scalesets.dev/scaleset-uid": uid}
    metadata = {"name": f"data-web-{ordinal}", "namespace": NAMESPACE, "labels": labels}
    if deleting:
        metadata["deletionTimestamp"] = at(0)
    return claims.parse(stored({"metadata": metadata, "spec": {}}))


def test_claims_that_go_and_claims_that_are_left_over():
    found = {
        0: {"data": a_claim(0)},
        1: {"data": a_claim(1, deleting=True)},
        10: {"data": a_claim(10)},
        11: {"data": a_claim(11, uid="older")},
        12: {"data": a_claim(12, deleting=True)},
    }

    view = build(a_set(replicas=10), claims=found)

    assert view.claims_deleting == {1, 12}
    assert view.spare_claims == {10}


def test_the_sets_upgrades_come_with_it():
    upgrade = stored(
        {"metadata": {"name": "web-os-1", "namespace": NAMESPACE}, "spec": {"scaleSet": "web", "type": "OSImage"}}
    )

    view = build(a_set(status={"currentUpgrade": "web-os-1"}), upgrades=[upgrade])

    assert view.current_upgrade.name == "web-os-1"


# -- what is translated once -------------------------------------------------------------------------------------------


def test_nothing_is_translated_twice_and_nothing_old_is_kept():
    scaleset = a_set(status={"observedGeneration": 0, "instances": [{"ordinals": "0-9", "imageVersion": "1.0.0"}]})
    revision = a_revision(scaleset)
    image = described(an_image("1.0.0"))
    one = build(scaleset, revisions=[revision], images=[image])
    two = build(scaleset, revisions=[revision], images=[image])
    changed = {**scaleset, "spec": {**scaleset["spec"], "replicas": 3}}
    three = build(changed, revisions=[revision], images=[image])

    assert two.status is one.status
    assert two.model is one.model
    assert two.images["Canonical/jammy/22_04-LTS"] is one.images["Canonical/jammy/22_04-LTS"]
    assert three.replicas == 3


def test_a_catalogue_is_kept_for_each_location():
    image = described(an_image("1.0.0"))

    assert catalogues.for_set(image, "a") is catalogues.for_set(image, "a")
    assert catalogues.for_set(image, "a") is not catalogues.for_set(image, "b")
