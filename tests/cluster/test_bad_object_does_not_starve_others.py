"""Sets that can't work wait, each with its reason, while the good ones go on as ever."""

from __future__ import annotations

from builders import a_set, an_image, uses
from operators import Operator
from scene import Scene, code


async def test_a_good_set_among_bad_ones(operator: Operator, scene: Scene) -> None:
    refused = a_set("refused", replicas=3)
    refused["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "nowhere", "mountPath": "/x"}]
    await scene.create(
        an_image("ubuntu", "1.0.0"),
        a_set("no-image", replicas=3, image="nowhere"),
        a_set("no-version", replicas=3, version="9.9.9"),
        a_set("no-extension", replicas=3, extensions=[uses("nowhere")]),
        refused,
        an_image("crashing", "1.0.0"),
        a_set("never-ready", replicas=3, image="crashing"),
    )
    scene.fail_set("never-ready")
    await scene.create(a_set("web", replicas=5))
    await scene.until_ready(within=10)
    await scene.publish("ubuntu", "2.0.0")
    assert code(await scene.until_ended(within=20)) == "Completed"
    for name in ("no-image", "no-version", "no-extension", "refused", "never-ready"):
        found = await scene.until_condition("Ready", status="False", name=name)
        assert found["message"], f"{name} says why"
    assert operator.running
    assert "Traceback" not in operator.output()
