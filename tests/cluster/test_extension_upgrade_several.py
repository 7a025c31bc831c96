"""Several extensions are due: they share an upgrade, and each goes its own way (E6, E13)."""

from __future__ import annotations

import pytest
from builders import PATIENT, a_followed_extension, a_set, an_image, follows
from operators import Operator
from scene import Scene, batches, code, installed, progress


async def a_set_with_two(scene: Scene, **options: object) -> None:
    for name in ("agent", "monitor"):
        await scene.create(a_followed_extension(name, "1.0.0"))
    both = [follows("agent"), follows("monitor")]
    web = a_set("web", replicas=5, automatic=False, extensions=both, rolling=PATIENT, **options)  # type: ignore[arg-type]
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()


@pytest.mark.requirement("E6", "E13")
async def test_one_that_fails_does_not_touch_the_other(operator: Operator, scene: Scene) -> None:
    scene.patch_seconds(0, 0.3)
    await a_set_with_two(scene)
    uids = scene.uids("Pod")
    await scene.start_extensions_together({"agent": "broken", "monitor": ""})
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Faulted"
    assert "agent 1.1.0" in upgrade["status"]["error"]["message"]
    assert progress(upgrade) == (4, 1, 0, 0)
    outcomes = {t["name"]: t["outcome"] for t in upgrade["status"]["targetExtensions"]}
    assert outcomes == {"agent": "Stopped", "monitor": "Succeeded"}
    assert [b["extension"] for b in batches(upgrade)] == ["agent", *["monitor"] * 5]
    for pod in scene.pods().values():
        assert installed(pod) == {"agent": "1.0.0", "monitor": "1.1.0"}
    assert scene.uids("Pod") == uids
    await scene.until_ready()
    last = {e["name"]: e["lastUpgrade"]["outcome"] for e in scene.status()["extensions"]}
    assert last == {"agent": "Faulted", "monitor": "Completed"}


@pytest.mark.requirement("E1", "E6")
async def test_opting_one_out_in_the_middle_drops_only_it(operator: Operator, scene: Scene) -> None:
    scene.patch_seconds(0, 0.3)
    await a_set_with_two(scene)
    uids = scene.uids("Pod")
    await scene.start_extensions_together({"agent": "", "monitor": ""})
    await scene.until_batch(2)
    out = {**follows("agent"), "enableAutomaticUpgrade": False}
    await scene.change("ScaleSet", "web", extensions=[out, follows("monitor")])
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    outcomes = {t["name"]: t["outcome"] for t in upgrade["status"]["targetExtensions"]}
    assert outcomes == {"agent": "Dropped", "monitor": "Succeeded"}
    assert {installed(p)["monitor"] for p in scene.pods().values()} == {"1.1.0"}
    assert {installed(p)["agent"] for p in scene.pods().values()} == {"1.0.0", "1.1.0"}
    assert scene.uids("Pod") == uids, "the flag is shown by a label"
    shown = {e["name"]: e["automaticUpgrade"] for e in scene.status()["extensions"]}
    assert shown == {"agent": "Disabled", "monitor": "Enabled"}
