"""The examples as a newcomer applies them, told by examples/README.md, on real kubelets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from scene import Scene, batches, code, progress, restarts

from conftest import Cluster
from samples import EXAMPLES


def published(image: str) -> tuple[str, str]:
    """The version and image that the README tells to publish for this repository."""
    told = (EXAMPLES / "README.md").read_text()
    found = re.search(rf'"version": "([\d.]+)", "image": "(registry\.example/{image}:[^"]+)"', told)
    assert found, f"examples/README.md publishes nothing of {image}"
    return found[1], found[2]


@pytest.fixture
async def catalogue(cluster: Cluster) -> AsyncIterator[None]:
    """The platform image, which lies in the operator's namespace."""
    cluster.run("kubectl", "apply", "-f", str(EXAMPLES / "image.yaml"))
    yield
    cluster.run("kubectl", "delete", "-f", str(EXAMPLES / "image.yaml"))


async def test_the_set_of_the_first_example_follows_its_image(cluster: Cluster, scene: Scene, catalogue: None) -> None:
    for name in ("web.yaml", "budget.yaml"):
        cluster.run("kubectl", "apply", f"--namespace={scene.namespace}", "-f", str(EXAMPLES / name))
    await scene.until_ready(within=240)

    version, image = published("os/ubuntu-jammy")
    one_more = f'[{{"op": "add", "path": "/spec/versions/-", "value": {{"version": "{version}", "image": "{image}"}}}}]'
    cluster.run(
        "kubectl", "patch", "gimg", "ubuntu-jammy", "--namespace=scaleset-system", "--type=json", "-p", one_more
    )
    upgrade = await scene.until_ended(within=300)

    assert (code(upgrade), progress(upgrade)) == ("Completed", (20, 0, 0, 0))
    assert len(batches(upgrade)) == 5
    await scene.until_on(version)


async def test_one_agent_fails_and_the_other_reaches_all(cluster: Cluster, scene: Scene, catalogue: None) -> None:
    cluster.run("kubectl", "apply", f"--namespace={scene.namespace}", "-f", str(EXAMPLES / "extensions/upgrade.yaml"))
    await scene.until_ready("agents", within=240)
    uids, before = scene.uids("Pod"), restarts(scene.pods("agents"))
    for extension in ("metrics", "logs"):
        version, image = published(f"ext/{extension}")
        stored = scene.find("Extension", f"example-{extension}")
        assert stored is not None
        versions = [*stored["spec"]["versions"], {"version": version, "image": image}]
        await scene.change("Extension", f"example-{extension}", versions=versions)
        await scene.until_extension_published(f"example-{extension}", version)
    followed = [{**each, "enableAutomaticUpgrade": True} for each in scene.set("agents")["spec"]["extensions"]]
    await scene.change("ScaleSet", "agents", extensions=followed)
    upgrade = await scene.until_ended(set_name="agents", within=300)

    outcomes = {each["name"]: each["outcome"] for each in upgrade["status"]["targetExtensions"]}
    assert outcomes == {"metrics": "Stopped", "logs": "Succeeded"}
    await scene.until_ready("agents", within=60)
    assert scene.uids("Pod") == uids
    for ordinal, now in restarts(scene.pods("agents")).items():
        assert now["logs"] == 1, "its new version"
        assert {n: c for n, c in now.items() if n not in ("metrics", "logs")} == {"os": before[ordinal]["os"]}
