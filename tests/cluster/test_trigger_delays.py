"""With trigger delays an upgrade starts some time after publishing, and says when (O19)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from builders import a_set, an_image
from operators import Operators
from scene import Scene, code


@pytest.mark.requirement("O19")
async def test_it_starts_within_the_window_after_publishing(own_operators: Operators, scene: Scene) -> None:
    operator = own_operators.new("--trigger-delay-min", "PT2S", "--trigger-delay-max", "PT3S", "--no-leader-election")
    operator.start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    found = await scene.until_condition("Progressing", status="False", reason="WaitingForTrigger")
    assert "2.0.0 starts at" in found["message"]
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    seen = next(v for v in scene.find("GalleryImage", "ubuntu")["status"]["versions"] if v["version"] == "2.0.0")
    published = datetime.fromisoformat(seen["firstSeenTime"])
    started = datetime.fromisoformat(upgrade["status"]["runningStatus"]["startTime"])
    assert timedelta(seconds=1.9) < started - published < timedelta(seconds=4.5)


@pytest.mark.requirement("O19", "O24")
async def test_azures_delays_hold_the_platform_but_not_the_user(own_operators: Operators, scene: Scene) -> None:
    own_operators.new("--timing", "azure", "--no-leader-election").start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_condition("Progressing", status="False", reason="WaitingForTrigger")
    assert not scene.upgrades()
    await scene.start("web", "now")
    assert code(await scene.until_ended("now")) == "Completed"
