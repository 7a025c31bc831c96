"""``plan``: the engine's batches, before they are run."""

from __future__ import annotations

import pytest

from cli import golden
from cli.scenes import NEW, NOW, OLD, OLD_MODEL, Scene, a_set, an_image, before
from scalesets.cli.errors import CommandError
from scalesets.cli.render import plan as drawing
from scalesets.cli.surroundings import Surroundings, engine_view
from scalesets.cli.views import plan
from scalesets.cli.views.plan import PlanView
from scalesets.engine.view import StartedBy, UpgradeType

OS, MODEL_TYPE = UpgradeType.OS_IMAGE, UpgradeType.MODEL


def planned(
    around: Surroundings, kind: UpgradeType = OS, by: StartedBy = StartedBy.PLATFORM, instances: tuple[str, ...] = ()
) -> PlanView:
    return plan.hypothetical(engine_view(around), kind, by, NOW, instances=instances)


@pytest.mark.requirement("O8", "O9c")
def test_batches_of_a_fifth_stay_in_their_update_domain() -> None:
    view = planned(a_set().on(OLD).around(an_image(OLD, NEW)))

    assert [len(b.instances) for b in view.batches] == [4] * 5
    assert [b.update_domain for b in view.batches] == [0, 1, 2, 3, 4]
    golden.check("plan", drawing.render(view))


@pytest.mark.requirement("O9b")
def test_zone_by_zone_with_what_is_left_out() -> None:
    scene = a_set(replicas=10, zones=["1", "2", "3"], domains=2).on(OLD)
    scene.spec["instanceProtection"] = [{"instanceId": 4, "protectFromUpgrade": True}]
    scene.pods[7]["metadata"]["annotations"]["scalesets.dev/protect-from-upgrade"] = "true"

    golden.check("plan_zones", drawing.render(planned(scene.around(an_image(OLD, NEW)))))


def test_large_batches_are_shortened_and_wide_shows_all() -> None:
    view = planned(a_set(replicas=200).on(OLD).around(an_image(OLD, NEW)))

    golden.check("plan_large", drawing.render(view))
    assert "web-195" in golden.drawn(drawing.render(view, wide=True))


def test_what_is_left_of_a_running_upgrade_keeps_its_numbers() -> None:
    scene = a_set().on(OLD).upgrading_to(NEW, done=2).starting(2, 7, 12, 17)

    view = plan.running(engine_view(scene.around(an_image(OLD, NEW))), NOW)

    assert view is not None
    assert [b.number for b in view.batches] == [4, 5]
    golden.check("plan_running", drawing.render(view))


def test_nothing_to_do() -> None:
    golden.check("plan_nothing", drawing.render(planned(a_set().on(NEW).around(an_image(OLD, NEW)))))


def test_what_would_block_it_is_said() -> None:
    scene = a_set().on(OLD).unhealthy(0, 1, 2, 3, 4)

    view = planned(scene.around(an_image(OLD, NEW)))

    assert "5 of 20 instances are unhealthy" in view.blocked


def test_a_deferred_upgrade_waits_for_approval() -> None:
    scene = a_set().on(OLD)
    scene.spec["upgradePolicy"]["automaticOSUpgradePolicy"]["osRollingUpgradeDeferral"] = True

    assert "scalesets approve web --all" in planned(scene.around(an_image(OLD, NEW))).blocked


def test_what_the_platform_would_not_begin_by_itself_is_said() -> None:
    tried = a_set().on(OLD)
    tried.status["lastOSUpgrade"] = {
        "name": "web-os-1",
        "version": NEW,
        "outcome": "Faulted",
        "code": "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade",
        "completedTime": before(minutes=12),
        "model": tried.status["currentModel"],
    }
    off = a_set().on(OLD)
    off.spec["upgradePolicy"]["automaticOSUpgradePolicy"]["enableAutomaticOSUpgrade"] = False

    assert "it failed here" in planned(tried.around(an_image(OLD, NEW))).blocked
    assert planned(tried.around(an_image(OLD, NEW)), by=StartedBy.USER).blocked == ""
    assert "automatic OS image upgrades are off; scalesets start web" in planned(off.around(an_image(OLD, NEW))).blocked


@pytest.mark.requirement("O20")
@pytest.mark.parametrize(
    ("mode", "words"), [("Manual", "update-instances web --all"), ("Automatic", "replaced at once")]
)
def test_a_model_begins_by_itself_in_batches_only_in_rolling_mode(mode: str, words: str) -> None:
    scene, old = a_changed_model()
    scene.spec["upgradePolicy"]["mode"] = mode

    view = planned(scene.around(an_image(NEW), old_model=old), MODEL_TYPE)

    assert words in view.blocked


@pytest.mark.requirement("O24")
def test_by_hand_there_is_no_roll_back() -> None:
    around = a_set().on(OLD).around(an_image(OLD, NEW))

    assert planned(around).rolls_back
    assert not planned(around, by=StartedBy.USER).rolls_back


@pytest.mark.requirement("O15")
def test_a_pinned_version_can_not_be_planned_and_the_error_says_so() -> None:
    scene = a_set().on(OLD)
    scene.spec["imageReference"]["version"] = OLD

    with pytest.raises(CommandError, match="VersionPinned") as refused:
        planned(scene.around(an_image(OLD, NEW)))

    assert refused.value.mend == "scalesets explain web"


def a_changed_model() -> tuple[Scene, dict[str, object]]:
    scene = a_set(replicas=6).on(NEW, OLD_MODEL)
    old = {"template": {"spec": {"containers": [{"name": "os", "readinessProbe": {}, "env": [{"name": "OLD"}]}]}}}
    return scene, old


def test_a_changed_model_goes_before_an_image() -> None:
    scene, old = a_changed_model()
    around = scene.around(an_image(NEW), old_model=old)

    assert plan.next_type(engine_view(around), NOW) is MODEL_TYPE
    view = planned(around, MODEL_TYPE)
    assert view.target == "model 5f6c8d9a"
    assert sum(len(b.instances) for b in view.batches) == 6


@pytest.mark.requirement("O20")
def test_named_instances_only() -> None:
    scene, old = a_changed_model()

    view = planned(scene.around(an_image(NEW), old_model=old), MODEL_TYPE, StartedBy.USER, ("web-1", "web-4"))

    assert {i for b in view.batches for i in b.instances} == {"web-1", "web-4"}


@pytest.mark.requirement("O20")
def test_in_manual_mode_the_platform_leaves_out_who_is_not_on_the_model() -> None:
    scene = a_set(replicas=3, mode="Manual").on(OLD)
    scene.pods[1]["metadata"]["labels"]["scalesets.dev/model"] = OLD_MODEL
    old = {"template": {"spec": {"containers": [{"name": "os", "readinessProbe": {}, "env": [{"name": "OLD"}]}]}}}

    view = planned(scene.around(an_image(OLD, NEW), old_model=old))

    assert [(o.instance, o.reason) for o in view.left_out] == [("web-1", "not on the latest model")]
