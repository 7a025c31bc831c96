"""Where an upgrade brings an instance, and what an instance comes back as (docs/rules.md, "The model")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.world import IMAGE, START, World, a_set, in_batch
from scalesets.engine import releases, versions
from scalesets.engine.view import Catalogue, CatalogueVersion, Model, ModelExtension, Release, SetView, Target
from scalesets.engine.view import UpgradeType as Kind

HEALTH = ModelExtension("health", "team/health", "9.5")
M1 = Model("m1", "c1", IMAGE, extensions=(HEALTH,))
M2 = replace(M1, name="m2", content="c2")
FORMER = Release("1.0.0", "m1", (("health", "9.5.0"),))
TARGET = Target("m2", "1.1.0", IMAGE, (("health", "9.5.1"),))
VIEW = a_set("1.0.0", replicas=1).view()


def moved(model: Model, kind: Kind, former: Release = FORMER, target: Target = TARGET, **how: bool) -> Release:
    view: SetView = replace(VIEW, models={"m1": M1, "m2": model}, model=model)
    return releases.moved(view, kind, target, former, **how)


@pytest.mark.requirement("O6", "O14")
@pytest.mark.parametrize(
    ("model", "kind", "version", "health"),
    [
        pytest.param(M2, Kind.OS_IMAGE, "1.1.0", "9.5.0", id="an-os-upgrade-keeps-extensions"),
        pytest.param(M2, Kind.MODEL, "1.0.0", "9.5.0", id="a-model-upgrade-keeps-the-version"),
        pytest.param(replace(M2, image="other"), Kind.MODEL, "1.1.0", "9.5.0", id="another-image"),
        pytest.param(replace(M2, version="1.1.0"), Kind.MODEL, "1.1.0", "9.5.0", id="another-version-by-name"),
        pytest.param(replace(M2, version="1.0.0"), Kind.MODEL, "1.0.0", "9.5.0", id="its-version-by-name"),
        pytest.param(
            replace(M2, extensions=(replace(HEALTH, type_handler_version="9.5.1"),)),
            Kind.MODEL,
            "1.0.0",
            "9.5.1",
            id="another-handler-version",
        ),
        pytest.param(
            replace(M2, extensions=(replace(HEALTH, key="team/other"),)),
            Kind.MODEL,
            "1.0.0",
            "9.5.1",
            id="another-type",
        ),
        pytest.param(
            replace(M2, extensions=(replace(HEALTH, auto_upgrade_minor_version=True),)),
            Kind.MODEL,
            "1.0.0",
            "9.5.1",
            id="newest-minor-at-a-model-update",
        ),
    ],
)
def test_where_an_upgrade_brings_an_instance(model: Model, kind: Kind, version: str, health: str) -> None:
    assert moved(model, kind) == Release(version, "m2", (("health", health),))


def test_a_named_instance_gets_a_newer_version_and_never_an_older_one() -> None:
    assert moved(M2, Kind.MODEL, named=True).image_version == "1.1.0"
    assert moved(M2, Kind.MODEL, replace(FORMER, image_version="1.2.0"), named=True).image_version == "1.2.0"


def test_flags_alone_keep_every_version() -> None:
    flags = replace(M1, name="m2", extensions=(replace(HEALTH, auto_upgrade_minor_version=True),))
    assert moved(flags, Kind.MODEL) == replace(FORMER, model="m2")


def test_an_instance_of_a_model_that_is_not_known_any_more() -> None:
    stranger = replace(FORMER, model="m0")
    assert moved(M2, Kind.MODEL, stranger) == Release("1.1.0", "m2", (("health", "9.5.1"),))
    unused = replace(TARGET, image_version="")
    assert moved(M2, Kind.MODEL, stranger, unused).image_version == "1.0.0"
    assert moved(M2, Kind.MODEL, target=replace(TARGET, model="m9")) == FORMER


def test_extensions_that_come_and_go() -> None:
    log = ModelExtension("log", "team/log", "1")
    more = replace(M2, extensions=(HEALTH, log))
    target = replace(TARGET, extensions=(("health", "9.5.1"), ("log", "1.0.2")))
    assert dict(moved(more, Kind.MODEL, target=target).extensions) == {"health": "9.5.0", "log": "1.0.2"}
    assert moved(replace(M2, extensions=()), Kind.MODEL).extensions == ()
    partly = moved(more, Kind.MODEL)
    assert not releases.is_whole(partly, more) and releases.is_whole(moved(M2, Kind.MODEL), M2)


def test_the_version_that_a_model_asks_for() -> None:
    world = World().publish("1.0.0").publish("1.1.0")
    view = world.view()
    assert releases.allowed_version(view, M1, world.now) == "1.1.0"
    assert releases.allowed_version(view, M1, world.now, avoid=("1.1.0",)) == "1.0.0"
    assert releases.allowed_version(view, replace(M1, version="1.0.0"), world.now) == "1.0.0"
    assert releases.allowed_version(view, replace(M1, version="9.9.9"), world.now) is None
    assert releases.allowed_version(view, replace(M1, image="other"), world.now) is None


@pytest.mark.requirement("O1")
def test_a_new_instance_gets_the_running_upgrades_target_only_if_its_model_follows_it() -> None:
    world = a_set("1.0.0", replicas=10).publish("1.1.0")
    world.run(until=in_batch(1))
    world.publish("1.2.0")
    expected = releases.for_new_instance(world.view(), world.now)
    assert expected is not None and expected.image_version == "1.1.0"
    world.publish("7.0.0", image="other")
    world.change_model("m2", image="other")
    expected = releases.for_new_instance(world.view(), world.now)
    assert expected is not None and expected.image_version == "7.0.0"


def test_a_named_handler_version_is_the_lowest_that_is_installed() -> None:
    past = START - timedelta(days=1)
    catalogue = Catalogue("health", tuple(CatalogueVersion(v, past, past) for v in ("9.5.0", "9.5.1")))
    exact = replace(HEALTH, type_handler_version="9.5.1", auto_upgrade_minor_version=True)
    assert versions.resolve_extension(exact, catalogue, START) == "9.5.1"


@pytest.mark.requirement("E14")
@pytest.mark.parametrize(("os_type", "installed"), [("Linux", (("health", "9.5.1"),)), ("Windows", ())])
def test_an_extension_for_another_operating_system_is_not_installed_and_named(
    os_type: str, installed: tuple[tuple[str, str], ...]
) -> None:
    past = START - timedelta(days=1)
    health = Catalogue("health", (CatalogueVersion("9.5.1", past, past),), os_type=os_type)
    linux = replace(VIEW.images[IMAGE], os_type="Linux")
    view = replace(VIEW, images={IMAGE: linux}, extensions={HEALTH.key: health})
    assert releases.extension_versions(view, M1, START) == installed
    wrong = "extension health: team/health is for Windows, but image ubuntu is Linux: take one for Linux"
    assert releases.why_not_installable(view, M1, START) == ("" if installed else wrong)
