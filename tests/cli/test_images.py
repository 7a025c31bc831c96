"""``images``: the versions of an SKU per location (O10, O18, O23)."""

from __future__ import annotations

from typing import Any

import pytest

from cli import golden
from cli.scenes import NEW, NEWER, NOW, OLD, a_set, an_image
from scalesets.cli.render import images as drawing
from scalesets.cli.views import images
from scalesets.cli.views.images import ImageView, Wanted

CATALOG = "scaleset-system"


def read(*found: dict[str, Any], sets: tuple[Any, ...] = (), **wanted: str) -> tuple[ImageView, ...]:
    return images.read(found, sets, Wanted(**wanted), catalog_namespace=CATALOG, now=NOW)


def a_rich_image() -> dict[str, Any]:
    return an_image(
        {"version": "22.4.202609010", "endOfLifeDate": "2026-10-01T00:00:00Z"},
        OLD,
        NEW,
        {"version": NEWER, "excludeFromLatest": True},
        {"version": "22.4.202612020", "publishedDate": "2026-12-02T00:00:00Z", "state": "Pending"},
        locations=("northeurope", "westeurope"),
    )


@pytest.mark.requirement("O23")
def test_versions_per_location() -> None:
    scene = a_set().on(OLD)
    scene.status["instances"] = [
        {"ordinals": "0-3", "imageVersion": NEW, "model": "m"},
        {"ordinals": "4-19", "imageVersion": OLD, "model": "m"},
    ]
    view = read(a_rich_image(), sets=(scene.scale_set,))

    golden.check("images", drawing.render(view, now=NOW))
    golden.check("images_wide", drawing.render(view, now=NOW, wide=True), width=120)


@pytest.mark.requirement("O23")
def test_one_location() -> None:
    (view,) = read(a_rich_image(), location="northeurope")

    assert {v.location for v in view.versions} == {"northeurope"}
    assert [v.version for v in view.versions if v.latest] == [NEW]


def test_filters() -> None:
    assert read(an_image(NEW), sku="22_04-LTS", publisher="Canonical")
    assert not read(an_image(NEW), sku="24_04-LTS")


def test_a_version_that_was_removed_or_came_back_changed() -> None:
    image = an_image(OLD, NEW)
    del image["spec"]["versions"][0]
    image["spec"]["versions"][0]["image"] = "registry.example/os:other"

    states = {v.version: v.state for v in read(image)[0].versions}

    assert states == {OLD: "Removed", NEW: "Changed"}


def test_nothing_recorded_and_nothing_there() -> None:
    assert "no versions are recorded yet" in golden.drawn(drawing.render(read(an_image(NEW, recorded=False)), now=NOW))
    assert "no images" in golden.drawn(drawing.render((), now=NOW))


def test_the_image_of_a_set() -> None:
    image = an_image(NEW)
    elsewhere = an_image(NEW)
    elsewhere["metadata"]["namespace"] = "team-b"  # source Platform counts in the catalog namespace only

    assert images.image_of_set((elsewhere, image), a_set().scale_set, CATALOG) is image
