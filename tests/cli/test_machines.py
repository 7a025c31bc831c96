"""Machines and availability sets in ``status``, ``instances``, ``plan``, ``explain`` and ``extensions``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cli import golden
from cli.scenes import NEW, NOW, Obj, Scene, a_set, an_extension, an_upgrade, before
from scalesets.cli import turns
from scalesets.cli.errors import CommandError
from scalesets.cli.render import explain as explain_drawing
from scalesets.cli.render import extensions as extensions_drawing
from scalesets.cli.render import plan as plan_drawing
from scalesets.cli.render import status as status_drawing
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.surroundings import Surroundings, engine_view
from scalesets.cli.turns import Turn
from scalesets.cli.views import explain, extensions, instances, plan, status
from scalesets.cli.views.explain import ExplainView
from scalesets.cli.views.findings import Weight
from scalesets.cli.views.plan import PlanView
from scalesets.cli.whose import known
from scalesets.engine.view import StartedBy, UpgradeType

NAMES = ("db-a", "db-b", "db-c", "db-d")
GROUP = known("avset/dbs")


def a_machine(name: str, place: int | None = None, *, enabled: bool = True, version: str = "1.0.0") -> Scene:
    """The machine, in an availability set's place or by itself, with the extension `monitor`."""
    scene = a_set(name=name, replicas=1, domains=1).on(NEW)
    scene.with_extensions("monitor", version=version, enabled=enabled)
    scene.scale_set["kind"] = "VirtualMachine"
    scene.scale_set["metadata"]["uid"] = uid = f"uid-{name}"
    for field in ("replicas", "updateDomains"):
        del scene.spec[field]
    scene.spec["upgradePolicy"] = {}
    if place is not None:
        scene.spec["availabilitySet"] = "dbs"
        scene.status["updateDomain"] = place % 2
    pod = scene.pods[0]
    pod["metadata"]["name"] = name
    pod["metadata"]["ownerReferences"] = [{"uid": uid, "controller": True}]
    pod["metadata"]["labels"]["scalesets.dev/virtual-machine"] = name
    del pod["metadata"]["labels"]["scalesets.dev/scaleset"]
    return scene


def a_group(*upgrades: Obj, machines: list[Scene] | None = None, **status_: Any) -> tuple[Snapshot, list[Scene]]:
    members = machines if machines is not None else [a_machine(name, n) for n, name in enumerate(NAMES)]
    raw = {
        "kind": "AvailabilitySet",
        "metadata": {**members[0].scale_set["metadata"], "name": "dbs", "uid": "uid-dbs"}
        if members
        else {
            "name": "dbs",
            "namespace": "team-a",
            "uid": "uid-dbs",
            "generation": 1,
            "creationTimestamp": before(days=1),
        },
        "spec": {"platformUpdateDomainCount": 2},
        "status": {
            "observedGeneration": 3,
            "location": "westeurope",
            "conditions": [{"type": "Ready", "status": "True"}],
            "machines": [{"name": m.name, "ordinal": n, "updateDomain": n % 2} for n, m in enumerate(members)],
            "instances": [
                {
                    "ordinals": f"0-{max(len(members) - 1, 0)}",
                    "imageVersion": NEW,
                    "model": "5f6c8d9a",
                    "extensions": [{"name": "monitor", "version": "1.0.0"}],
                }
            ],
            **status_,
        },
    }
    snapshot = Snapshot(
        scale_set=GROUP.as_set(raw),
        upgrades=upgrades,
        pods=tuple(pod for m in members for pod in m.pods.values()),
        now=NOW,
        whose=GROUP,
        machines=tuple(m.scale_set for m in members),
    )
    return snapshot, members


def around_group(snapshot: Snapshot, members: list[Scene], *versions: str) -> Surroundings:
    revisions = []
    for member in members:
        revision = member.a_revision(str(member.status["currentModel"]))
        revision["metadata"]["ownerReferences"] = [{"uid": f"uid-{member.name}", "controller": True}]
        revisions.append(revision)
    return Surroundings(
        snapshot=snapshot,
        extensions=(an_extension("monitor", *versions),),
        revisions=tuple(revisions),
        catalog_namespace="scaleset-system",
        lease={"spec": {"holderIdentity": "operator-1", "renewTime": before(seconds=3)}},
    )


def around_machine(scene: Scene, *versions: str, turn: Turn | None = None, **conditions: Any) -> Surroundings:
    named = known(f"vm/{scene.name}")
    raw = {**scene.scale_set, "spec": {**scene.spec}}
    revision = scene.a_revision(str(scene.status["currentModel"]))
    revision["metadata"]["ownerReferences"] = [{"uid": f"uid-{scene.name}", "controller": True}]
    return Surroundings(
        snapshot=Snapshot(named.as_set(raw), tuple(scene.upgrades), tuple(scene.pods.values()), NOW, whose=named),
        extensions=(an_extension("monitor", *versions),),
        revisions=(revision,),
        catalog_namespace="scaleset-system",
        lease={"spec": {"holderIdentity": "operator-1", "renewTime": before(seconds=3)}},
        turn=turn,
    )


def planned(around: Surroundings, by: StartedBy = StartedBy.PLATFORM) -> PlanView:
    view = engine_view(around)
    names = ("monitor",) if by is StartedBy.USER else ()
    made = plan.hypothetical(view, UpgradeType.EXTENSION, by, NOW, extensions=names)
    return plan.in_order(made, view, around.turn)


def explained(around: Surroundings) -> ExplainView:
    return explain.read(around)


def reasons(view: ExplainView) -> set[str]:
    return {finding.reason for finding in view.findings}


WAITING = Turn("prod", "westeurope", 7, 1, ("team-b/lab",), "1 of the 7 machines may; team-b/lab is at work now")
FREE = Turn("", "westeurope", 7, 1, (), "")


# -- an availability set -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("E5c")
def test_the_plan_of_an_availability_set_is_one_update_domain_at_a_time() -> None:
    view = planned(around_group(*a_group(), "1.0.0", "1.1.0"))

    assert [(b.update_domain, b.instances) for b in view.batches] == [(0, ("db-a", "db-c")), (1, ("db-b", "db-d"))]
    golden.check("plan_avset", plan_drawing.render(view))


@pytest.mark.requirement("E5c")
def test_a_batch_of_an_availability_set_at_work() -> None:
    batch = {
        "number": 1,
        "extension": "monitor",
        "updateDomain": 0,
        "ordinals": "0,2",
        "machines": ["db-a", "db-c"],
        "startTime": before(seconds=20),
        "from": [{"ordinals": "0,2", "imageVersion": NEW, "model": "5f6c8d9a"}],
        "outcome": "Running",
    }
    upgrade = an_upgrade(
        "dbs-ext-1", type_="Extension", code="RollingForward", started=before(seconds=20), batches=[batch]
    )
    upgrade["spec"] = {"availabilitySet": "dbs", "type": "Extension", "startedBy": "Platform"}
    target = {"name": "monitor", "from": "1.0.0", "to": "1.1.0", "outcome": "Running"}
    upgrade["status"] |= {"scope": "0-3", "targetExtensions": [target]}
    snapshot, members = a_group(upgrade, currentUpgrade="dbs-ext-1")
    members[0].installed("monitor", "1.1.0", 0, former="sim://monitor-1.0.0", seconds=10)
    members[2].sidecar_down("monitor", 0)

    view = status.read(snapshot)

    golden.check("status_avset", status_drawing.render(view, width=80))
    assert "waits for db-c" in status_drawing.line(view)
    assert view.batches_to_come == 1
    running = plan.running(engine_view(around_group(snapshot, members, "1.0.0", "1.1.0")), NOW)
    assert running is not None
    assert running.blocked == "", "the machines of the batch at work may be down"
    assert [(i.name, i.update_domain) for i in instances.read(snapshot)] == [
        ("db-a", 0),
        ("db-b", 1),
        ("db-c", 0),
        ("db-d", 1),
    ]


@pytest.mark.requirement("E11")
def test_extensions_of_an_availability_set_are_told_together() -> None:
    _, members = a_group(machines=[a_machine("db-a", 0), a_machine("db-b", 1, enabled=False, version="1.1.0")])
    members[1].status["instances"][0]["extensions"][0]["version"] = "1.1.0"
    published = [an_extension("monitor", "1.0.0", "1.1.0")]
    last = {"name": "dbs-ext-1", "version": "1.1.0", "outcome": "Completed", "completedTime": before(minutes=3)}
    group = {"status": {"extensions": [{"name": "monitor", "lastUpgrade": last}]}}

    seen = [
        e
        for m in members
        for e in extensions.read(m.scale_set, published, [], now=NOW, machine=m.name, upgraded_by=group)
    ]

    golden.check("extensions_avset", extensions_drawing.render_together(seen, now=NOW), width=110)


def test_without_machines_explain_says_how_one_gets_in() -> None:
    snapshot, _ = a_group(machines=[])

    view = explained(Surroundings(snapshot=snapshot, lease={"spec": {}}))

    (finding,) = [f for f in view.findings if f.reason == "NoMachines"]
    assert "spec.availabilitySet: dbs" in finding.cure


@pytest.mark.requirement("E11")
def test_machines_that_have_not_opted_in_are_named_with_the_cure_for_each() -> None:
    members = [a_machine(name, n, enabled=False) for n, name in enumerate(NAMES)]

    view = explained(around_group(*a_group(machines=members), "1.0.0", "1.1.0"))

    (finding,) = [f for f in view.findings if f.reason == "ExtensionDisabled"]
    assert "scalesets extensions vm/db-a --enable monitor (and db-b, db-c and db-d)" in finding.cure
    assert "scalesets start avset/dbs --extension monitor" in finding.cure
    golden.check("explain_avset", explain_drawing.render(view))


# -- a machine ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("E5b")
def test_a_machine_that_waits_for_its_turn_says_for_whom() -> None:
    around = around_machine(a_machine("jump"), "1.0.0", "1.1.0", turn=WAITING)

    view = explained(around)

    assert view.verdict == "It waits, and goes on by itself"
    (finding,) = [f for f in view.findings if f.reason == "WaitingForTurn"]
    assert "team-b/lab is at work now" in finding.message
    golden.check("plan_machine_waits", plan_drawing.render(planned(around)), width=160)
    assert "waits for its turn" in planned(around, StartedBy.USER).blocked


@pytest.mark.requirement("E5b")
def test_whose_turn_it_is_where_only_the_own_namespace_may_be_read() -> None:
    scene = a_machine("jump")
    scene.condition("Progressing", False, "WaitingForTurn", "1 of the 7 machines may; team-b/lab is at work now")

    view = explained(around_machine(scene, "1.0.0", "1.1.0", turn=replace(FREE, whole=False)))

    assert {"WaitingForTurn", "TurnUnknown"} <= reasons(view), "as the operator, who sees all, said it"


@pytest.mark.requirement("E5b")
def test_the_plan_of_a_machine_names_the_turn() -> None:
    view = planned(around_machine(a_machine("jump"), "1.0.0", "1.1.0", turn=FREE))

    assert view.blocked == ""
    assert "of the 7 machines by themselves" in view.order
    assert "at most 1 at once" in view.order


@pytest.mark.requirement("E5c")
def test_a_machine_in_an_availability_set_is_explained_and_planned_there() -> None:
    around = around_machine(a_machine("db-b", 1), "1.0.0", "1.1.0")

    view = explained(around)

    assert "scalesets explain avset/dbs" in {f.cure.rpartition(": ")[2] for f in view.findings}
    with pytest.raises(CommandError, match="upgraded with its availability set") as refused:
        planned(around)
    assert refused.value.mend == "scalesets plan avset/dbs"


def test_an_availability_set_that_is_missing_blocks() -> None:
    scene = a_machine("db-b", 1)
    scene.condition("AvailabilitySetNotFound", True, "AvailabilitySetNotFound", "there is no AvailabilitySet dbs")

    view = explained(around_machine(scene, "1.0.0"))

    assert view.findings[0].reason == "AvailabilitySetNotFound"
    assert "create it" in view.findings[0].cure
    assert "InAvailabilitySet" not in reasons(view)


@pytest.mark.parametrize(
    ("trouble", "weight"), [("AvailabilitySetElsewhere", Weight.BLOCKS), ("SubscriptionInPart", Weight.NOTE)]
)
def test_what_the_operator_says_of_a_machine_s_company_is_told(trouble: str, weight: Weight) -> None:
    scene = a_machine("db-b", 1)
    scene.condition(trouble, True, trouble, "what is wrong, and what to do")

    found = {f.reason: f for f in explained(around_machine(scene, "1.0.0")).findings}

    assert (found[trouble].weight, found[trouble].message) == (weight, f"{trouble}: what is wrong, and what to do")


def test_the_status_of_a_machine() -> None:
    snapshot = around_machine(a_machine("db-b", 1), "1.0.0").snapshot

    golden.check("status_machine", status_drawing.render(status.read(snapshot), width=80))


def test_nobody_looks_for_os_upgrades_of_a_machine() -> None:
    view = explained(around_machine(a_machine("jump"), "1.0.0", turn=FREE))

    assert view.verdict == "Nothing is due"
    assert reasons(view) == {"Healthy", "ExtensionsUpToDate", "ItsTurn"}


# -- turns -------------------------------------------------------------------------------------------------------------


def fleet(*names: str, **fields: Any) -> list[Obj]:
    found = []
    for full in names:
        namespace, _, name = full.partition("/")
        found.append({"metadata": {"namespace": namespace, "name": name}, "spec": {"location": "here", **fields}})
    return found


def at_work(full: str) -> Obj:
    namespace, _, name = full.partition("/")
    batches = [{"outcome": "Running"}]
    return {
        "metadata": {"namespace": namespace},
        "spec": {"virtualMachine": name},
        "status": {"batches": batches},
    }


@pytest.mark.requirement("E5b")
def test_turns_are_counted_as_the_operator_counts_them() -> None:
    mine = fleet("a/one", "b/two", "c/other")
    members, elsewhere = fleet("a/member", availabilitySet="dbs"), fleet("a/far", location="there")
    everybody = [*mine, *members, *elsewhere]
    subscriptions = {"a": "prod", "b": "prod", "c": "test"}

    turn = turns.of(mine[0], everybody, [at_work("b/two"), at_work("c/other")], subscriptions, whole=True)

    assert (turn.subscription, turn.location, turn.machines, turn.limit) == ("prod", "here", 2, 1)
    assert turn.busy == ("b/two",)
    assert "others are at work" in turn.words
    assert turns.of(mine[0], everybody, [at_work("c/other")], subscriptions, whole=True).words == ""
    assert turns.of(mine[1], everybody, [at_work("b/two")], subscriptions, whole=True).words == "", "its own batch"
