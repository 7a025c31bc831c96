"""The machines of a subscription take turns over all of its namespaces; who can't know them all says so (E5b)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from builders import a_followed_extension, a_machine, an_image, follows
from operators import Operator, Operators
from scene import Scene, batches, code, condition, installed, is_ready

pytestmark = [pytest.mark.beside, pytest.mark.requirement("E5b")]


async def subscribe(scene: Scene, **subscriptions: str) -> None:
    for namespace, name in zip((scene.namespace, scene.beside[0]), subscriptions.values(), strict=True):
        body = {"metadata": {"labels": {"scalesets.dev/subscription": own(scene, name)}}}
        await scene.api.patch("Namespace", "", namespace, body)


def own(scene: Scene, name: str) -> str:
    """A subscription that no other scenario has: their machines may still be there, and would count."""
    return f"{name}-{scene.namespace.rpartition('-')[2]}"


async def begin(scene: Scene, names: Sequence[str], **fields: Any) -> None:
    """Machines of the same names in both namespaces, all Ready."""
    for namespace in (scene.namespace, scene.beside[0]):
        machines = [a_machine(name, extensions=[follows("monitor")], **fields) for name in names]
        for body in (an_image("ubuntu", "1.0.0"), a_followed_extension("monitor", "1.0.0"), *machines):
            body["metadata"]["namespace"] = namespace
            await scene.api.create(body)

    def ready() -> bool:
        known = [m for where in everywhere(scene) for m in scene.all_in("VirtualMachine", where)]
        return len(known) == 2 * len(names) and all(condition(m, "Ready").get("status") == "True" for m in known)

    await scene.until(ready, what="the machines to be ready")


def everywhere(scene: Scene) -> tuple[str, str]:
    return scene.namespace, scene.beside[0]


async def publish(scene: Scene, number: str) -> None:
    for namespace in everywhere(scene):
        stored = await scene.api.get("Extension", namespace, "monitor")
        version = {"version": number, "image": f"registry.example/ext/monitor:{number}"}
        body = {"spec": {"versions": [*stored["spec"]["versions"], version]}}
        await scene.api.patch("Extension", namespace, "monitor", body)


async def until_completed(scene: Scene, number: int) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        known = [u for where in everywhere(scene) for u in scene.all_in("RollingUpgrade", where)]
        return known if len([u for u in known if code(u) == "Completed"]) == number else []

    ended: list[dict[str, Any]] = await scene.until(found, what=f"{number} upgrades to be completed", within=60)
    return ended


def spans(upgrades: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((b["startTime"], b["completedTime"]) for u in upgrades for b in batches(u))


def overlaps(upgrades: list[dict[str, Any]]) -> bool:
    return any(end > start for (_, end), (start, _) in itertools.pairwise(spans(upgrades)))


async def test_two_namespaces_of_one_subscription_share_the_budget(operator: Operator, scene: Scene) -> None:
    await subscribe(scene, here="shop", there="shop")
    await begin(scene, ["db-a", "db-b"])
    await publish(scene, "1.2.0")
    ended = await until_completed(scene, 4)
    assert not overlaps(ended), "four machines: one at a time"
    pods = [p for where in everywhere(scene) for p in scene.all_in("Pod", where)]
    assert [installed(p)["monitor"] for p in pods] == ["1.2.0"] * 4
    assert all(map(is_ready, pods))


async def test_two_subscriptions_have_a_budget_each(operator: Operator, scene: Scene) -> None:
    await subscribe(scene, here="shop", there="bank")
    scene.patch_seconds(1.0, 1.2)
    await begin(scene, ["db"])
    await publish(scene, "1.2.0")
    assert overlaps(await until_completed(scene, 2))


async def test_one_zone_at_a_time_over_the_namespaces(operator: Operator, scene: Scene) -> None:
    await subscribe(scene, here="shop", there="shop")
    await begin(scene, ["db-1", "db-2", "db-3", "db-4", "db-5"], zone="1")
    await publish(scene, "1.2.0")
    assert overlaps(await until_completed(scene, 10)), "ten machines of one zone: two at a time"


async def test_a_machine_that_is_deleted_in_its_batch_lets_the_next_begin(operator: Operator, scene: Scene) -> None:
    await subscribe(scene, here="shop", there="shop")
    await begin(scene, ["db"])
    scene.patch_seconds(2.0, 2.5)
    await publish(scene, "1.2.0")

    def at_work() -> list[dict[str, Any]]:
        known = [u for where in everywhere(scene) for u in scene.all_in("RollingUpgrade", where)]
        return [u for u in known if batches(u)]

    (first,) = await scene.until(at_work, what="a batch")
    gone = first["metadata"]["namespace"]
    (other,) = (where for where in everywhere(scene) if where != gone)
    await scene.api.delete("VirtualMachine", gone, "db")
    await scene.until(lambda: not scene.all_in("VirtualMachine", gone), what="the machine to go")
    # The garbage collector learns of new kinds twice a minute.
    await scene.until(lambda: not scene.all_in("RollingUpgrade", gone), within=60, what="its upgrade to go")
    await scene.until(lambda: not scene.all_in("Pod", gone), what="its pod to go")
    (left,) = await until_completed(scene, 1)
    assert left["metadata"]["namespace"] == other


async def test_the_operator_of_one_namespace_reads_the_label_and_names_what_it_does_not_see(
    own_operators: Operators, scene: Scene
) -> None:
    await subscribe(scene, here="shop", there="shop")
    for body in (an_image("ubuntu", "1.0.0"), a_machine("db")):
        await scene.create(body)
    own_operators.new(f"--namespace={scene.namespace}", "--no-leader-election").start()

    def told() -> str:
        found = condition(scene.find("VirtualMachine", "db") or {}, "SubscriptionInPart")
        return found.get("message", "") if found.get("status") == "True" else ""

    message = await scene.until(told, what="the condition")
    assert (
        f"subscription {own(scene, 'shop')} has namespaces that this operator doesn't serve ({scene.beside[0]})"
        in message
    )
    await subscribe(scene, here="shop", there="bank")
    await scene.until(lambda: not told(), what="the condition to go")


async def test_the_operator_of_two_namespaces_honours_their_labels(own_operators: Operators, scene: Scene) -> None:
    await subscribe(scene, here="shop", there="bank")
    scene.patch_seconds(1.0, 1.2)
    serving = [f"--namespace={where}" for where in everywhere(scene)]
    own_operators.new(*serving, "--no-leader-election").start()
    await begin(scene, ["db"])
    await publish(scene, "1.2.0")
    assert overlaps(await until_completed(scene, 2)), "each has a budget of its own"
