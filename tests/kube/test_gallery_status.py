"""GalleryImage and Extension: which one a set means, which image a version is, and what their status says."""

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
    seen,
)
from shapes import unknown_fields

from scalesets.api.versions import CatalogueStatus
from scalesets.engine import versions
from scalesets.engine.view import Release
from scalesets.kube import catalogues, models, references
from scalesets.kube.settings import Settings
from scalesets.kube.templates import Images

SETTINGS = Settings(catalog_namespace=CATALOG)
KEY = "Canonical/jammy/22_04-LTS"


def describe(obj, *peers, locations=("local",), now=NOW, **more):
    return catalogues.describe(obj, [obj, *peers], locations=locations, settings=SETTINGS, now=now, **more)


def described(obj, *peers, now=NOW, **more):
    status, _ = describe(obj, *peers, now=now, **more)
    assert status is not None
    return {**obj, "status": status}


def conditions(obj):
    return {c["type"]: (c["status"], c["reason"]) for c in obj["status"]["conditions"]}


def message(obj, kind: str) -> str:
    return next(c["message"] for c in obj["status"]["conditions"] if c["type"] == kind)


# -- which one ---------------------------------------------------------------------------------------------------------


def test_the_sets_own_namespace_comes_first_then_the_catalog():
    own = an_image(namespace=NAMESPACE, source="Gallery")
    shared = an_image()

    assert references.find_image(KEY, [own, shared], CATALOG) is own
    assert references.find_image(KEY, [shared], CATALOG) is shared
    assert references.find_image("Canonical/jammy/24_04-LTS", [own, shared], CATALOG) is None


def test_a_platform_image_counts_only_in_the_catalog_namespace():
    forged = an_image(namespace=NAMESPACE, source="Platform")
    shared = an_image()

    assert references.find_image(KEY, [forged, shared], CATALOG) is shared
    assert conditions(described(forged))["Stalled"] == ("True", "NotInCatalog")
    assert conditions(described(shared))["Ready"] == ("True", "Recorded")


def test_a_gallery_image_is_found_by_name():
    mine = an_image(name="mine", namespace=NAMESPACE, source="Gallery", publisher=None, offer=None, sku=None)

    assert references.find_image("mine", [mine], CATALOG) is mine
    assert references.product(mine) == ""


@pytest.mark.parametrize("key", ["", KEY, "mine"])
def test_keys_and_references_are_inverse(key):
    reference = references.image_reference(key, "1.0.0")

    assert reference["version"] == "1.0.0"
    assert references.image_key(reference) == key


def test_of_two_the_oldest_wins_and_the_other_says_so():
    older = an_image(name="older")
    younger = an_image(name="younger")
    younger["metadata"]["creationTimestamp"] = at(-10)

    assert conditions(described(younger, older))["Duplicate"] == ("True", "Duplicate")
    assert "older" in message(described(younger, older), "Stalled")
    assert "Duplicate" not in conditions(described(older, younger))


# -- which image -------------------------------------------------------------------------------------------------------


def test_a_version_that_was_removed_keeps_its_image():
    image = described(an_image("1.0.0", "2.0.0"))
    removed = {**image, "spec": {**image["spec"], "versions": image["spec"]["versions"][1:]}}

    assert describe(removed, now=NOW + timedelta(hours=1))[0] is None
    assert catalogues.for_set(removed, "local").find("1.0.0").removed
    assert catalogues.image_of(removed, "1.0.0") == "registry/os/ubuntu:1.0.0"
    assert catalogues.image_of(removed, "9.9.9") == ""
    assert catalogues.image_of(an_image("1.0.0"), "1.0.0") == "registry/os/ubuntu:1.0.0"


def test_a_version_that_comes_back_with_another_image_is_not_used():
    image = described(an_image("1.0.0"))
    forged = {**image, "spec": {**image["spec"], "versions": [{"version": "1.0.0", "image": "evil"}]}}

    after = described(forged)

    assert conditions(after)["ImageChanged"] == ("True", "ImageChanged")
    assert conditions(after)["Ready"] == ("False", "ImageChanged")
    assert catalogues.image_of(after, "1.0.0") == "registry/os/ubuntu:1.0.0"
    assert catalogues.for_set(after, "local").find("1.0.0").changed


def test_a_release_needs_an_image_for_os_and_each_extension():
    image = an_image("1.0.0", imagePullSecrets=[{"name": "os-registry"}])
    extension = a_published_extension("health", "1.0.4", imagePullSecrets=[{"name": "os-registry"}, {"name": "ext"}])
    scaleset = a_set(extensions=[an_extension("health")])
    model = models.to_engine(a_revision(scaleset, extension))
    found = seen(scaleset, images=[image], extensions=[extension])

    assert catalogues.images_of(found, model, Release("1.0.0", "abc", (("health", "1.0.4"),))) == Images(
        (("os", "registry/os/ubuntu:1.0.0"), ("health", "registry/ext/health:1.0.4")), ("os-registry", "ext")
    )


@pytest.mark.parametrize(
    ("images", "extensions", "release", "words"),
    [
        ([], [1], Release("1.0.0", "a", (("health", "1.0.4"),)), f"no GalleryImage {KEY}"),
        ([1], [1], Release("9.0.0", "a", (("health", "1.0.4"),)), "ubuntu has no version 9.0.0"),
        ([1], [], Release("1.0.0", "a", (("health", "1.0.4"),)), "health: no Extension Contoso/Health"),
        ([1], [1], Release("1.0.0", "a", (("health", "9.0.0"),)), "health: health has no version 9.0.0"),
        ([1], [1], Release("1.0.0", "a"), "health: health has no version to install"),
    ],
)
def test_what_is_missing_is_said(images, extensions, release, words):
    extension = a_published_extension("health", "1.0.4")
    scaleset = a_set(extensions=[an_extension("health")])
    model = models.to_engine(a_revision(scaleset, extension))
    found = seen(scaleset, images=[an_image("1.0.0")] * len(images), extensions=[extension] * len(extensions))

    told = catalogues.images_of(found, model, release)

    assert isinstance(told, str)
    assert words in told


# -- status ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O10", "O23")
def test_the_status_tells_of_versions_regions_and_the_latest():
    image = an_image(
        source="Gallery",
        versions=[
            {"version": "1.0.0", "image": "a"},
            {"version": "1.1.0", "image": "b", "publishedDate": at(600)},
            {"version": "1.2.0", "image": "c", "targetRegions": ["northeurope"]},
            {"version": "1.3.0", "image": "d", "excludeFromLatest": True},
            {"version": "1.4.0", "image": "e", "endOfLifeDate": at(-1)},
        ],
    )

    status, look_again = describe(image, locations=("northeurope", "westeurope"))

    assert list(unknown_fields(CatalogueStatus, status)) == []
    CatalogueStatus.model_validate(status)
    assert [v["version"] for v in status["versions"]] == ["1.4.0", "1.3.0", "1.2.0", "1.1.0", "1.0.0"]
    assert {r["name"]: r["state"] for r in status["versions"][3]["regions"]} == {
        "northeurope": "Pending",
        "westeurope": "Pending",
    }
    assert [r["name"] for r in status["versions"][2]["regions"]] == ["northeurope"]
    assert status["latest"] == [
        {"region": "northeurope", "version": "1.2.0"},
        {"region": "westeurope", "version": "1.0.0"},
    ]
    assert look_again == NOW + timedelta(seconds=600)


def test_platform_versions_go_everywhere_whatever_they_name():
    image = an_image(versions=[{"version": "1.0.0", "image": "a", "targetRegions": ["elsewhere"]}])

    status, _ = describe(image)

    assert status["latest"] == [{"region": "local", "version": "1.0.0"}]


def test_an_unchanged_object_is_not_written_again():
    image = described(an_image("1.0.0"))

    assert describe(image, now=NOW + timedelta(days=1)) == (None, None)


def test_an_object_without_versions_says_so():
    assert conditions(described(an_image(versions=[])))["Ready"] == ("True", "NoVersions")


def test_removed_versions_make_room_oldest_first():
    image = described(an_image(*(f"1.0.{n}" for n in range(50))))
    for thousand in range(1, 5):
        versions = [{"version": f"{thousand + 1}.0.{n}", "image": "x"} for n in range(50)]
        image = described({**image, "spec": {**image["spec"], "versions": versions}})

    kept = [v["version"] for v in image["status"]["versions"]]
    assert len(kept) == catalogues.MOST_SEEN
    assert (kept[0], kept[-1]) == ("5.0.49", "2.0.0")


def test_versions_that_instances_are_on_make_room_last():
    """With a tag a day it takes half a year, and a set that is pinned is still on the first."""
    image = described(an_image(*(f"1.0.{n}" for n in range(50))))
    for thousand in range(1, 6):
        versions = [{"version": f"{thousand + 1}.0.{n}", "image": "x"} for n in range(50)]
        image = {**image, "spec": {**image["spec"], "versions": versions}}
        image = described(image, in_use=lambda: {"1.0.3", "9.9.9"})

    kept = [v["version"] for v in image["status"]["versions"]]
    assert len(kept) == catalogues.MOST_SEEN
    assert (kept[0], kept[-2], kept[-1]) == ("6.0.49", "3.0.1", "1.0.3")
    assert kept == sorted(kept, key=lambda v: [int(n) for n in v.split(".")], reverse=True)


def test_a_status_that_somebody_spoiled_is_made_anew():
    image = an_image("1.0.0")
    spoiled = {**image, "status": {"versions": [{"version": "1.0.0"}]}}

    assert described(spoiled)["status"]["versions"][0]["firstSeenTime"]


def test_extensions_are_described_alike():
    twin = a_published_extension("health", "1.0.0")
    twin["metadata"]["name"] = "twin"
    twin["metadata"]["creationTimestamp"] = at(-1)
    extension = a_published_extension("health", "1.0.4", "1.1.0")

    assert described(extension)["status"]["latest"] == [{"region": "local", "version": "1.1.0"}]
    assert conditions(described(twin, extension))["Stalled"] == ("True", "Duplicate")


# -- dates that the API server takes and nobody can use ---------------------------------------------------------------

WRONG_DATES = [
    "0001-01-01T00:00:00+05:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-05:00",
    "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z",
    "2026-11-01T00:00:00+99:99",
]


@pytest.mark.parametrize("date", WRONG_DATES)
@pytest.mark.parametrize("field", ["publishedDate", "endOfLifeDate"])
def test_a_version_with_a_date_that_can_t_be_used_is_not_eligible_and_the_image_says_so(field: str, date: str):
    image = an_image("1.0.0", "2.0.0")
    image["spec"]["versions"][1][field] = date

    image = described(image)

    catalogue = catalogues.for_set(image, "local")
    newest = versions.latest(catalogue, NOW)
    assert newest is not None
    assert newest.version == "1.0.0"
    assert image["status"]["latest"] == [{"region": "local", "version": "1.0.0"}]
    assert conditions(image)["InvalidDate"] == ("True", "InvalidDate")
    assert conditions(image)["Stalled"] == ("True", "InvalidDate")
    assert f"2.0.0 ({field} {date} is" in message(image, "InvalidDate")
    assert catalogues.image_of(image, "2.0.0"), "an instance on it can come back"
    assert not list(unknown_fields(CatalogueStatus, image["status"]))


def test_many_wrong_dates_are_counted_and_a_mended_one_is_used():
    image = an_image(*(f"1.0.{n}" for n in range(8)))
    for version in image["spec"]["versions"]:
        version["publishedDate"] = WRONG_DATES[0]
    image = described(image)
    assert "and 3 more; mend the date" in message(image, "InvalidDate")
    assert image["status"]["latest"] == []

    image["spec"]["versions"] = [
        {k: v for k, v in each.items() if k != "publishedDate"} for each in image["spec"]["versions"]
    ]
    image = described({**image})
    assert "InvalidDate" not in conditions(image)
    assert image["status"]["latest"] == [{"region": "local", "version": "1.0.7"}]


def test_a_time_in_small_letters_is_a_time():
    image = an_image("1.0.0")
    image["spec"]["versions"][0]["publishedDate"] = "2026-11-22t11:00:00z"
    assert conditions(described(image))["Ready"] == ("True", "Recorded")
