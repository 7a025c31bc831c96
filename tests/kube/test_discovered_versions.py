"""What discovery leaves in the status of an image: versions found, what stays, and what the spec decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from kube_objects import CATALOG, NOW, a_published_extension, an_image, at
from shapes import unknown_fields

from scalesets.api.versions import CatalogueStatus
from scalesets.engine import versions
from scalesets.kube import catalogues, discovered
from scalesets.kube.discovered import Finding, Found
from scalesets.kube.discovery import LONGEST_BACK_OFF, pause
from scalesets.kube.registry import Problem, Reason
from scalesets.kube.settings import Settings

REPOSITORY = "registry.example/os/ubuntu"
SETTINGS = Settings(catalog_namespace=CATALOG)


def image_of(tag: str, digest: str = "a") -> str:
    return f"{REPOSITORY}:{tag}@sha256:{digest * 64}"


def found(*tags: str, digest: str = "a", note: str = "", seconds: float = 0) -> Finding:
    entries = tuple(Found(tag.removeprefix("v"), tag, image_of(tag, digest)) for tag in tags)
    return Finding(versions=entries, note=note, at=NOW + timedelta(seconds=seconds))


def failed(reason: Reason = Reason.UNREACHABLE, words: str = "it is away") -> Finding:
    return Finding.of(Problem(reason, words))


def a_discovering_image(*versions: dict[str, Any], **discovery: Any) -> dict[str, Any]:
    return an_image(versions=list(versions), discovery={"repository": REPOSITORY, **discovery})


def described(obj: dict[str, Any], finding: Finding | None, *, seconds: float = 0) -> dict[str, Any]:
    now = NOW + timedelta(seconds=seconds)
    status, _ = catalogues.describe(obj, [obj], locations=("local",), settings=SETTINGS, now=now, finding=finding)
    return obj if status is None else {**obj, "status": status}


def condition(obj: dict[str, Any], kind: str = "Discovered") -> tuple[str, str, str]:
    each = next((c for c in obj["status"]["conditions"] if c["type"] == kind), None)
    return (each["status"], each["reason"], each["message"]) if each else ("", "", "")


def latest(obj: dict[str, Any]) -> str:
    newest = versions.latest(catalogues.for_set(obj, "local"), NOW + timedelta(days=1))
    return newest.version if newest else ""


@pytest.mark.requirement("O1")
def test_what_is_found_is_published() -> None:
    image = described(a_discovering_image(), found("v1.1.0", "1.0.0", note="; passed over: 1 tag"))

    assert image["status"]["discovered"] == [
        {"version": "1.1.0", "tag": "v1.1.0", "image": image_of("v1.1.0"), "publishedDate": at(0)},
        {"version": "1.0.0", "tag": "1.0.0", "image": image_of("1.0.0"), "publishedDate": at(0)},
    ]
    assert image["status"]["latest"] == [{"region": "local", "version": "1.1.0"}]
    assert catalogues.image_of(image, "1.1.0") == image_of("v1.1.0")
    assert latest(image) == "1.1.0"
    assert condition(image) == ("True", "Current", f"2 versions of {REPOSITORY}; passed over: 1 tag")
    assert condition(image, "Ready")[:2] == ("True", "Recorded")
    assert not list(unknown_fields(CatalogueStatus, image["status"]))
    CatalogueStatus.model_validate(image["status"])


def test_extensions_are_described_alike() -> None:
    extension = a_published_extension("health", discovery={"repository": REPOSITORY}, versions=[])
    assert latest(described(extension, found("1.0.0"))) == "1.0.0"


def test_a_version_keeps_the_date_on_which_it_was_found() -> None:
    first = described(a_discovering_image(), found("1.0.0"), seconds=3)
    assert described(first, found("1.0.0", seconds=300), seconds=303) is first
    second = described(first, found("1.1.0", "1.0.0", seconds=60), seconds=60)

    dates = {v["version"]: v["publishedDate"] for v in second["status"]["discovered"]}
    assert dates == {"1.0.0": at(0), "1.1.0": at(60)}
    assert described(second, found("1.1.0", "1.0.0", seconds=900), seconds=900) is second, "nothing is written"

    without = described(second, found("1.0.0", seconds=900), seconds=900)
    again = described(without, found("1.1.0", "1.0.0", seconds=999), seconds=999)
    assert {v["version"] for v in again["status"]["discovered"]} == set(dates)
    assert again["status"]["discovered"][0]["publishedDate"] == at(60), "as it was first seen"


@pytest.mark.parametrize("finding", [failed(), None])
def test_what_was_found_stays_while_the_registry_is_away(finding: Finding | None) -> None:
    image = described(a_discovering_image(), found("1.0.0"))
    after = described(image, finding, seconds=600)

    assert after["status"]["discovered"] == image["status"]["discovered"]
    assert latest(after) == "1.0.0"
    assert condition(after, "Ready")[0] == "True"
    if finding is not None:
        told = "it is away; what was found before stays"
        assert condition(after) == ("False", "RegistryUnreachable", told)
        assert described(after, finding, seconds=900) is after
        assert described(after, None, seconds=900) is after, "nor when the operator starts anew"
    else:
        assert after is image


def test_all_tags_gone_at_once_withdraw_nothing() -> None:
    image = described(a_discovering_image(), found("1.1.0", "1.0.0"))
    after = described(image, found())
    assert condition(after)[:2] == ("False", "NoTagFits")
    assert latest(after) == "1.1.0"
    assert latest(described(after, found("1.0.0"))) == "1.0.0", "one of several is withdrawn"


def test_before_anything_is_found_the_image_waits_and_says_for_what() -> None:
    image = described(a_discovering_image(), None)
    assert condition(image)[:2] == ("Unknown", "Asking")
    assert (condition(image, "Ready")[0], condition(image, "Reconciling")[0]) == ("False", "True")

    image = described(image, failed())
    assert condition(image, "Reconciling")[:2] == ("True", "RegistryUnreachable")
    assert condition(image, "Stalled")[0] == "False"

    image = described(image, found())
    assert condition(image) == ("True", "Current", f"no tag of {REPOSITORY} fits")
    assert condition(image, "Ready")[:2] == ("True", "NoVersions")


@pytest.mark.parametrize("reason", [Reason.NOT_ALLOWED, Reason.PATTERN])
@pytest.mark.parametrize("before", [None, found("1.0.0")])
def test_what_only_another_spec_mends_is_stalled(reason: Reason, before: Finding | None) -> None:
    image = described(described(a_discovering_image(), before), failed(reason))
    assert condition(image, "Stalled")[:2] == ("True", reason.value)
    assert (condition(image, "Ready")[0], condition(image, "Reconciling")[0]) == ("False", "False")


def test_the_spec_wins_and_may_name_the_image_by_its_tag() -> None:
    image = described(a_discovering_image(), found("1.1.0", "1.0.0"))
    by_tag = {"version": "1.1.0", "image": f"{REPOSITORY}:1.1.0", "excludeFromLatest": True}
    excluded = described({**image, "spec": {**image["spec"], "versions": [by_tag]}}, found("1.1.0", "1.0.0"))

    assert latest(excluded) == "1.0.0"
    assert condition(excluded, "ImageChanged")[0] == ""
    assert catalogues.image_of(excluded, "1.1.0") == image_of("1.1.0"), "what was seen first is what is used"
    assert [v["version"] for v in excluded["status"]["discovered"]] == ["1.1.0", "1.0.0"]

    padded = {**by_tag, "version": "01.01.0"}
    assert latest({**image, "spec": {**image["spec"], "versions": [padded]}}) == "1.0.0"


def test_versions_of_the_spec_may_become_discovered_ones() -> None:
    by_tag = {"version": "1.0.0", "image": f"{REPOSITORY}:1.0.0"}
    image = described(a_discovering_image(by_tag), found("1.0.0"))
    after = described({**image, "spec": {**image["spec"], "versions": []}}, found("1.0.0"))

    assert latest(after) == "1.0.0"
    assert condition(after, "ImageChanged")[0] == ""


def test_a_tag_that_moved_is_not_used() -> None:
    image = described(a_discovering_image(), found("1.0.0"))
    moved = described(image, found("1.0.0", digest="b"))

    assert condition(moved, "ImageChanged")[0] == "True"
    assert latest(moved) == ""
    assert catalogues.image_of(moved, "1.0.0") == image_of("1.0.0")
    assert latest(described(moved, found("1.0.0"))) == "1.0.0", "and used again when it moves back"


def test_suspended_it_keeps_what_was_found() -> None:
    image = described(a_discovering_image(), found("1.0.0"))
    image["spec"] = {**image["spec"], "discovery": {"repository": REPOSITORY, "suspend": True}}
    after = described(image, None)
    assert (condition(after)[1], latest(after)) == ("Suspended", "1.0.0")
    assert condition(described(a_discovering_image(suspend=True), None), "Ready")[:2] == ("True", "NoVersions")


def test_without_discovery_nothing_is_discovered() -> None:
    image = described(a_discovering_image(), found("1.0.0"))
    image["spec"] = {k: v for k, v in image["spec"].items() if k != "discovery"}
    after = described(image, None)
    assert "discovered" not in after["status"]
    assert condition(after)[0] == ""
    assert catalogues.for_set(after, "local").find("1.0.0").removed
    assert catalogues.image_of(after, "1.0.0") == image_of("1.0.0"), "for an instance on it that is lost"
    (event,) = discovered.events(image, after)
    assert event.reason == "VersionsWithdrawn"


def test_another_spec_is_asked_for_anew() -> None:
    image = described(a_discovering_image(), found("1.0.0"))
    image["metadata"] = {**image["metadata"], "generation": 2}
    after = described(image, None)
    assert condition(after)[:2] == ("Unknown", "Asking")
    assert latest(after) == "1.0.0"
    assert condition(after, "Ready")[0] == "True"


def test_what_is_new_is_told() -> None:
    before = a_discovering_image()
    after = described(before, found(*(f"1.0.{n}" for n in range(7, 0, -1))))
    (event,) = discovered.events(before, after)
    assert (event.reason, event.message) == (
        "VersionsDiscovered",
        "found 1.0.7, 1.0.6, 1.0.5, 1.0.4, 1.0.3 and 2 more",
    )
    away = described(after, failed())
    (event,) = discovered.events(after, away)
    assert (event.reason, event.warning) == ("DiscoveryFailed", True)
    assert list(discovered.events(away, described(away, failed(words="still")))) == []
    back = described(away, found(*(f"1.0.{n}" for n in range(7, 0, -1))))
    (event,) = discovered.events(away, back)
    assert (event.reason, event.warning) == ("DiscoveryWorks", False)
    assert event.message == f"after RegistryUnreachable: 7 versions of {REPOSITORY}"
    (event,) = discovered.events(back, described(back, found("1.0.6", "1.0.5", "1.0.4", "1.0.3", "1.0.2", "1.0.1")))
    assert (event.reason, "1.0.7;" in event.message) == ("VersionsWithdrawn", True)


def test_a_tag_that_moved_is_told_once() -> None:
    image = described(a_discovering_image(), found("1.0.0"))
    moved = described(image, found("1.0.0", digest="b"))
    (event,) = catalogues.events(image, moved)
    assert (event.reason, event.warning) == ("ImageChanged", True)
    assert "1.0.0" in event.message
    assert list(catalogues.events(moved, described(moved, found("1.0.0", digest="c")))) == []


def test_findings_that_say_the_same_are_equal() -> None:
    assert found("1.0.0", seconds=1) == found("1.0.0", seconds=2)
    assert found("1.0.0") != found("1.0.0", digest="b")
    assert failed() != failed(words="otherwise")


def test_after_failures_it_is_asked_sooner_then_later_and_never_too_soon() -> None:
    def about(seconds: float) -> Any:
        return pytest.approx(seconds, rel=0.11)

    assert pause(300, 0) == about(300)
    assert [pause(300, n) for n in (1, 2, 3)] == [about(10), about(20), about(40)]
    assert pause(300, 50) == about(LONGEST_BACK_OFF)
    assert pause(86400, 50) == about(86400)
    assert all(600 <= pause(10, 1, wait=600) <= 661 for _ in range(100)), "never before the registry wants it"
    assert all(600 <= pause(600, 0, wait=600) <= 661 for _ in range(100))
