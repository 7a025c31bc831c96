"""Which version is the latest, and which extension version a new instance gets (O1, O10, O18, E8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scalesets.engine import versions
from scalesets.engine.view import Catalogue, CatalogueVersion, ModelExtension

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def version(text: str, **fields: object) -> CatalogueVersion:
    defaults: dict[str, object] = {"published": NOW - DAY, "available_since": NOW - DAY}
    return CatalogueVersion(text, **{**defaults, **fields})  # type: ignore[arg-type]


def latest(*known: CatalogueVersion) -> str | None:
    found = versions.latest(Catalogue("ubuntu", known), NOW)
    return found.version if found else None


def test_versions_are_compared_as_numbers() -> None:
    assert latest(version("22.4.9"), version("22.4.10"), version("22.04.2")) == "22.4.10"
    assert versions.parse("22.04.1") == versions.parse("22.4.01")


@pytest.mark.requirement("O18")
def test_an_excluded_version_is_never_latest() -> None:
    assert latest(version("1.0.0"), version("2.0.0", excluded=True)) == "1.0.0"


@pytest.mark.requirement("O10")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"available_since": None}, id="not-replicated"),
        pytest.param({"published": NOW + DAY}, id="not-yet-published"),
        pytest.param({"removed": True}, id="removed"),
        pytest.param({"changed": True}, id="image-changed"),
        pytest.param({"end_of_life": NOW}, id="past-end-of-life"),
    ],
)
def test_a_version_that_may_not_be_used_is_not_latest(fields: dict[str, object]) -> None:
    assert latest(version("1.0.0"), version("2.0.0", **fields)) == "1.0.0"


def test_nothing_may_be_used() -> None:
    assert latest(version("1.0.0", excluded=True)) is None
    assert versions.latest(None, NOW) is None


def test_end_of_life_forces_nobody_off() -> None:
    assert not versions.is_withdrawn(version("1.0.0", end_of_life=NOW - DAY), NOW)


def test_the_next_change_is_the_nearest_future_time() -> None:
    catalogue = Catalogue("x", (version("1.0.0", end_of_life=NOW + 3 * DAY), version("2.0.0", published=NOW + DAY)))
    assert versions.next_change(catalogue, NOW) == NOW + DAY


EXTENSION = Catalogue("health", tuple(version(v) for v in ("9.0.3", "9.5.0", "9.5.1", "9.6.0", "10.0.0")))


@pytest.mark.parametrize(
    ("named", "auto", "expected"),
    [
        ("9", False, "9.0.3"),
        ("9.5", False, "9.5.1"),
        ("9.5.0", False, "9.5.0"),
        ("9", True, "9.6.0"),
        ("9.5", True, "9.6.0"),
        ("9.5.1", True, "9.6.0"),
        ("10.1", True, None),
        ("11", False, None),
        ("9.5.7", False, None),
    ],
)
def test_what_is_installed_on_a_new_instance(named: str, auto: bool, expected: str | None) -> None:
    extension = ModelExtension("health", "p/t", named, auto_upgrade_minor_version=auto)
    assert versions.resolve_extension(extension, EXTENSION, NOW) == expected
