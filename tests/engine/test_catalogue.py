"""The life of a published version: pending, available, excluded, removed, changed (O10, O18, O23)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scalesets.engine.catalogue import PublishedVersion, ReplicationState, for_location, reconcile

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_version(version: str, image: str = "", **fields: object) -> PublishedVersion:
    return PublishedVersion(version, image or f"registry.example/os:{version}", **fields)  # type: ignore[arg-type]


@pytest.mark.requirement("O23")
def test_the_latest_is_known_per_location() -> None:
    everywhere = a_version("1.0.0")
    west = a_version("1.1.0", target_regions=("west",))
    result = reconcile([everywhere, west], (), ("west", "north"), NOW)
    assert dict(result.latest) == {"west": "1.1.0", "north": "1.0.0"}


@pytest.mark.requirement("O10")
def test_a_version_is_pending_until_its_date() -> None:
    later = a_version("1.0.0", published_date=NOW + HOUR, target_regions=("west",))
    before = reconcile([later], (), ("west",), NOW)
    assert before.seen[0].regions[0].state is ReplicationState.PENDING
    assert before.latest == () and before.look_again == NOW + HOUR
    after = reconcile([later], before.seen, ("west",), NOW + HOUR)
    assert after.seen[0].regions[0].state is ReplicationState.AVAILABLE
    assert dict(after.latest) == {"west": "1.0.0"}
    assert after.seen[0].regions[0].since == NOW + HOUR


def test_a_second_look_changes_nothing() -> None:
    once = reconcile([a_version("1.0.0")], (), ("west",), NOW)
    assert reconcile([a_version("1.0.0")], once.seen, ("west",), NOW + HOUR) == once


def test_a_removed_version_is_remembered_with_its_image() -> None:
    once = reconcile([a_version("1.0.0"), a_version("1.1.0")], (), ("west",), NOW)
    then = reconcile([a_version("1.0.0")], once.seen, ("west",), NOW + HOUR)
    assert [(s.version, s.image) for s in then.seen] == [(s.version, s.image) for s in once.seen]
    seen = for_location("ubuntu", [a_version("1.0.0")], then.seen, "west").find("1.1.0")
    assert seen is not None and seen.removed


def test_a_version_that_comes_back_with_another_image_is_not_used() -> None:
    once = reconcile([a_version("1.0.0")], (), ("west",), NOW)
    back = [a_version("1.0.0", image="registry.example/os:other")]
    again = reconcile(back, once.seen, ("west",), NOW + HOUR)
    assert again.changed == ("1.0.0",) and again.latest == ()
    assert again.seen[0].image == "registry.example/os:1.0.0"


def test_a_version_not_recorded_yet_is_not_there_yet() -> None:
    assert for_location("ubuntu", [a_version("1.0.0")], (), "west").versions == ()


@pytest.mark.requirement("O10")
def test_a_version_elsewhere_is_not_here() -> None:
    published = [a_version("1.0.0", target_regions=("north",))]
    seen = reconcile(published, (), ("west",), NOW).seen
    here = for_location("ubuntu", published, seen, "west").find("1.0.0")
    assert here is not None and here.available_since is None


@pytest.mark.requirement("O10", "O19")
def test_a_region_that_is_added_later_has_the_version_from_then_on() -> None:
    north = a_version("1.0.0", target_regions=("north",))
    once = reconcile([north], (), ("west", "north"), NOW)
    both = a_version("1.0.0", target_regions=("north", "west"))
    then = reconcile([both], once.seen, ("west", "north"), NOW + HOUR)
    assert {r.name: r.since for r in then.seen[0].regions} == {"north": NOW, "west": NOW + HOUR}


def test_a_version_for_everywhere_was_there_before_anybody_asked() -> None:
    once = reconcile([a_version("1.0.0")], (), ("north",), NOW)
    then = reconcile([a_version("1.0.0")], once.seen, ("north", "west"), NOW + HOUR)
    assert {r.name: r.since for r in then.seen[0].regions} == {"north": NOW, "west": NOW}
