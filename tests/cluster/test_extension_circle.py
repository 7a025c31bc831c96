"""Extensions that wait for each other in a circle of three or more: the schema can't see it, so a condition names it
(O7).
"""

from __future__ import annotations

import pytest
from builders import a_machine, a_set, an_extension, an_image, uses
from operators import Operator
from scene import Scene, condition, installed, is_ready

CIRCLE = [
    uses("monitor", provisionAfterExtensions=["agent"]),
    uses("agent", provisionAfterExtensions=["health"]),
    uses("health", provisionAfterExtensions=["monitor"]),
    uses("backup", provisionAfterExtensions=["health"]),  # waits for it, and isn't in it
]
TOLD = "monitor after agent after health after monitor"
MENDED = [uses("monitor"), *CIRCLE[1:]]


@pytest.mark.requirement("O7", "E7")
@pytest.mark.parametrize("kind", ["ScaleSet", "VirtualMachine"])
async def test_a_circle_is_named_and_its_end_is_noticed(operator: Operator, scene: Scene, kind: str) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), *(an_extension(e["name"], "1.0.0") for e in CIRCLE))
    body = a_set("web", replicas=1, extensions=CIRCLE) if kind == "ScaleSet" else a_machine("web", extensions=CIRCLE)
    await scene.create(body)

    def stalled() -> str:
        found = condition(scene.find(kind, "web") or {}, "Stalled")
        return (
            found.get("message", "") if (found.get("status"), found.get("reason")) == ("True", "ExtensionOrder") else ""
        )

    message = await scene.until(stalled, what="the condition")
    assert TOLD in message
    assert "backup" not in message
    assert not scene.all("Pod")
    await scene.change(kind, "web", extensions=MENDED)
    await scene.until(lambda: any(map(is_ready, scene.all("Pod"))), what="the instance to be made")
    (pod,) = scene.all("Pod")
    assert sorted(installed(pod)) == ["agent", "backup", "health", "monitor"]
    started = [c["name"] for c in pod["spec"]["initContainers"]]
    assert started == ["monitor", "health", "agent", "backup"]
    await scene.until(lambda: not stalled(), what="the condition to go")
