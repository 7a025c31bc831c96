"""What happens in the demo: sets come up, a good version rolls out, a broken one is stopped and put back; then two
extensions are upgraded in place, of which one fails and the other doesn't mind; last the machines of an availability
set, one update domain after the other.

Everything is done as a user would do it, with kubectl; the commands are shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from scalesets.cli import creating, extensions, words
from scalesets.cli.cluster import Cluster
from scalesets.cli.demo import domains, evidence, in_place
from scalesets.cli.demo.evidence import Finding, Witness, World, is_ready
from scalesets.cli.demo.in_place import Agent
from scalesets.cli.demo.show import Show
from scalesets.cli.demo.stage import Stage
from scalesets.cli.errors import CommandError, ExitCode
from scalesets.cli.fields import is_final, label, number, text
from scalesets.cli.mirror import follow
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import upgrades
from scalesets.cli.views.upgrades import UpgradeView
from scalesets.cli.whose import known
from scalesets.kube.names import LABEL_IMAGE_VERSION

SET = "web"
IMAGE, CATALOG = "ubuntu-jammy", "scaleset-system"
REGISTRY = "registry.example/os/ubuntu-jammy"
FIRST = "22.4.202611010"
GOOD = "22.4.202612010"
BROKEN = "22.4.202701010"
HEALTH_TIMEOUT = "PT8S"
PATIENCE = 100.0
"""Seconds that each act may take; a healthy one takes half at most."""
AGENTS, AGENTS_FILE = "agents", "extensions/upgrade.yaml"
BAD = Agent("metrics", "1.4.0", "1.5.0")
WELL = Agent("logs", "2.0.3", "2.1.0")
MACHINES, MACHINES_FILE = "avset/ledger", "machines/upgrade.yaml"
EXTENSIONS_REGISTRY = "registry.example/ext"

Test = Callable[[Snapshot], bool]


async def tell(stage: Stage, cluster: Cluster, examples: Path, show: Show) -> tuple[Finding, ...]:
    """Play it; what was found at the end of each act."""
    show.command(f"kubectl apply -f {examples.name}/ -f {examples.name}/{AGENTS_FILE} -f …/{MACHINES_FILE}")
    show.step("an image and two extensions are published; two sets of 20 instances and four machines come up")
    files = (examples, examples / AGENTS_FILE, examples / MACHINES_FILE)
    await stage.kubectl("apply", *(f"--filename={file}" for file in files))
    images = await _of_images(stage, cluster, show)
    agents = await _of_extensions(stage, cluster, show)
    return (*images, *agents, *await _of_machines(cluster, show))


async def _of_images(stage: Stage, cluster: Cluster, show: Show) -> list[Finding]:
    """The OS image of `web`: a good version, then a broken one."""
    async with contextlib.aclosing(follow(cluster, SET, shortest=0.12, longest=0.5)) as snapshots:
        await _until(snapshots, show, _all_ready_on(FIRST))
        start = await evidence.look(cluster, SET)
        show.done(f"{words.count(len(start.pods), 'instance')} of {SET} on {FIRST}, each with its data disk")

        show.step(f"{GOOD} is published: every set that follows this image rolls to it")
        good, rolled, findings = await _publish(stage, cluster, snapshots, show, GOOD, f"{REGISTRY}:{GOOD}", start)
        found = evidence.of_good(good, GOOD, start, rolled, findings)
        _report(show, found)

        show.command(f"kubectl patch vmss {SET} …   # healthTimeout {HEALTH_TIMEOUT}")
        show.note("an instance may take that long to become healthy; the default is five minutes")
        path = "/spec/upgradePolicy/rollingUpgradePolicy/healthTimeout"
        patience = [{"op": "replace", "path": path, "value": HEALTH_TIMEOUT}]
        await stage.patch("vmss", SET, cluster.namespace, patience)

        show.step(f"{BROKEN} is published, which never becomes healthy")
        broken_image = f"{REGISTRY}:{BROKEN}-broken"
        broken, after, findings = await _publish(stage, cluster, snapshots, show, BROKEN, broken_image, rolled)
        last = evidence.of_broken(broken, GOOD, rolled, after, findings)
        _report(show, last)
        return [*found, *last]


async def _of_extensions(stage: Stage, cluster: Cluster, show: Show) -> list[Finding]:
    """The extensions of `agents`: both are due at once, the first of them never starts."""
    async with contextlib.aclosing(follow(cluster, AGENTS, shortest=0.12, longest=0.5)) as snapshots:
        await _until(snapshots, show, _all_ready_on(FIRST))
        before = await evidence.look(cluster, AGENTS)
        show.step(f"newer versions of two extensions of {AGENTS} are published; {BAD.name} {BAD.to} never starts")
        for agent, tag in ((BAD, f"{BAD.to}-broken"), (WELL, WELL.to)):
            await _publish_extension(stage, cluster, show, agent, f"{EXTENSIONS_REGISTRY}/{agent.name}:{tag}")
        async with Witness(cluster, AGENTS) as witness:
            show.command(f"kubectl scaleset extensions {AGENTS} --enable {BAD.name} --enable {WELL.name}")
            wanted = {BAD.name: True, WELL.name: True}
            await extensions.switch(cluster, known(AGENTS), wanted, CATALOG, quiet=True)

            def over(snapshot: Snapshot) -> bool:
                ready = [pod for pod in snapshot.pods if is_ready(pod)]
                lock = text(snapshot.scale_set, "status.currentUpgrade")
                return _of_both(snapshot) is not None and not lock and len(ready) == len(before.pods)

            snapshot = await _until(snapshots, show, over)
            after = await evidence.look(cluster, AGENTS)
        upgrade = _of_both(snapshot)
        assert upgrade is not None
        found = in_place.of_extensions(upgrade, WELL, BAD, before, after, witness)
        _report(show, found)
        return found


async def _of_machines(cluster: Cluster, show: Show) -> list[Finding]:
    """The machines of an availability set, which have one of those extensions too: two update domains, by hand."""
    async with contextlib.aclosing(follow(cluster, MACHINES, shortest=0.12, longest=0.5)) as snapshots:
        now = await _until(snapshots, show, lambda s: len(s.pods) == len(s.ordinals) and all(map(is_ready, s.pods)))
        before = await evidence.look(cluster, MACHINES)
        many = words.count(len(before.pods), "machine")
        show.step(f"{WELL.name} {WELL.to} for the {many} of {MACHINES}, one update domain at a time")
        async with Witness(cluster, MACHINES) as witness:
            show.command(f"kubectl scaleset start {MACHINES} --extension {WELL.name}")
            body = creating.body_of(now, "Extension", "ext")
            body["spec"]["extensions"] = [WELL.name]
            await cluster.create_upgrade(body)

            def over(snapshot: Snapshot) -> bool:
                lock = text(snapshot.scale_set, "status.currentUpgrade")
                return not lock and any(map(is_final, snapshot.upgrades)) and all(map(is_ready, snapshot.pods))

            snapshot = await _until(snapshots, show, over)
            after = await evidence.look(cluster, MACHINES)
        upgrade = next(upgrades.read(u) for u in snapshot.upgrades if is_final(u))
        found = domains.of_machines(upgrade, WELL, snapshot.names, before, after, witness)
        _report(show, found)
        return found


async def _publish_extension(stage: Stage, cluster: Cluster, show: Show, agent: Agent, image: str) -> None:
    """Publish a version of an extension, and wait until sets know of it."""
    kind, name = "vmext", f"example-{agent.name}"
    show.command(f"kubectl patch {kind} {name} …   # version {agent.to}")
    show.note(f"image {image}")
    line = {"op": "add", "path": "/spec/versions/-", "value": {"version": agent.to, "image": image}}
    await stage.patch(kind, name, cluster.namespace, [line])
    known_as = f"--for=jsonpath={{.status.latest[0].version}}={agent.to}"
    await stage.kubectl("wait", f"{kind}/{name}", f"--namespace={cluster.namespace}", known_as, "--timeout=20s")


def _of_both(snapshot: Snapshot) -> UpgradeView | None:
    """The upgrade of the two extensions, once it has ended."""
    ended = (upgrades.read(u) for u in snapshot.upgrades if is_final(u))
    return next((u for u in ended if {e.name for e in u.extensions} == {BAD.name, WELL.name}), None)


async def _publish(
    stage: Stage,
    cluster: Cluster,
    snapshots: AsyncIterator[Snapshot],
    show: Show,
    version: str,
    image: str,
    before: World,
) -> tuple[UpgradeView, World, Witness]:
    """Publish a version and wait until the upgrade to it has ended and all are Ready again."""
    async with Witness(cluster, SET) as witness:
        show.command(f"kubectl -n {CATALOG} patch gimg {IMAGE} …   # version {version}")
        show.note(f"image {image}")
        line = {"op": "add", "path": "/spec/versions/-", "value": {"version": version, "image": image}}
        await stage.patch("gimg", IMAGE, CATALOG, [line])

        def over(snapshot: Snapshot) -> bool:
            ready = [pod for pod in snapshot.pods if is_ready(pod)]
            lock = text(snapshot.scale_set, "status.currentUpgrade")
            return _upgrade_to(snapshot, version) is not None and not lock and len(ready) == len(before.pods)

        snapshot = await _until(snapshots, show, over)
        after = await evidence.look(cluster, SET)
    upgrade = _upgrade_to(snapshot, version)
    assert upgrade is not None
    return upgrade, after, witness


def _upgrade_to(snapshot: Snapshot, version: str) -> UpgradeView | None:
    """The upgrade to a version, once it has ended."""
    ended = (u for u in snapshot.upgrades if is_final(u))
    return next((upgrades.read(u) for u in ended if text(u, "status.targetImageReference.version") == version), None)


def _all_ready_on(version: str) -> Test:
    def test(snapshot: Snapshot) -> bool:
        ready = [p for p in snapshot.pods if is_ready(p) and label(p, LABEL_IMAGE_VERSION) == version]
        return len(ready) == number(snapshot.scale_set, "spec.replicas")

    return test


async def _until(snapshots: AsyncIterator[Snapshot], show: Show, test: Test) -> Snapshot:
    """Show what happens until the test holds."""
    try:
        async with asyncio.timeout(PATIENCE):
            async for snapshot in snapshots:
                show.update(snapshot)
                if test(snapshot):
                    return snapshot
    except TimeoutError as error:
        raise CommandError(f"it did not come to that in {PATIENCE:.0f} s", exit_code=ExitCode.TIMEOUT) from error
    raise AssertionError("following a set only ends with an error")


def _report(show: Show, findings: list[Finding]) -> None:
    for finding in findings:
        show.found(finding)
