"""The comparison: one upgrade of the same pods by us, by the bare script and by the StatefulSet controller.

All three sets stand side by side in namespaces of their own from the start; one is upgraded at a time, in turning
order. The clock runs from the command (publishing the version, letting the script go, changing the StatefulSet's image)
until a witness at the API server has seen the last instance Ready on the new version.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

import plane as planes
import subjects
from api import JSON_PATCH, Api
from operating import Operator
from plane import Plane, pod_writes
from processes import cpu_seconds
from witness import Account, Witness

Say = Callable[[str], None]
BATCHES = 5
OURS, FLOOR, PEER = "ours", "floor", "statefulset"
AS_SHIPPED = 50
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """One upgrade."""

    seconds: float
    cpu_seconds: float  # of whoever did it: operator, script, controller-manager
    account: Account
    writes: Counter[str]
    figures: dict[str, float]


def ordinal(name: str) -> int:
    """The number in an instance's name."""
    return int(name.rpartition("-")[2])


class Contest:
    """The three sets on one control plane."""

    def __init__(self, plane: Plane, api: Api, instances: int, say: Say) -> None:
        self._plane = plane
        self._api = api
        self._instances = instances
        self._say = say
        self._owner = ""

    async def prepare(self) -> None:
        """Make the three sets, all on the first version."""
        first = subjects.version(1)
        for namespace in (OURS, FLOOR):
            await self._api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self._say(f"{self._instances} instances as a ScaleSet")
        await self._api.create(subjects.IMAGES.format(OURS), subjects.gallery_image(OURS, first))
        await self._api.create(subjects.SETS.format(OURS), subjects.scale_set(OURS, self._instances))
        with self._operator() as operator:
            await until_ready(self._api, subjects.SETS.format(OURS), self._instances)
            await asyncio.to_thread(operator.await_at_work)
        self._say(f"{self._instances} bare pods")
        owner = await self._api.create(f"/api/v1/namespaces/{FLOOR}/configmaps", subjects.owner(FLOOR))
        self._owner = owner["metadata"]["uid"]
        await self._script("seed", first)
        await self.prepare_statefulset()
        await self._check_sameness()

    async def prepare_statefulset(self) -> None:
        """Make the StatefulSet."""
        self._say(f"{self._instances} instances as a StatefulSet")
        await self._api.create("/api/v1/namespaces", {"metadata": {"name": PEER}})
        body = subjects.stateful_set(PEER, self._instances, subjects.version(1))
        await self._api.create(subjects.STATEFULSETS.format(PEER), body)
        await until_ready(self._api, subjects.STATEFULSETS.format(PEER), self._instances)

    async def run(self, who: str, number: int) -> Run:
        """Upgrade one of the three to the version of that number."""
        await asyncio.to_thread(planes.await_calm, self._plane)
        upgrade = {OURS: self._ours, FLOOR: self._floor, PEER: self._statefulset}[who]
        done = await upgrade(subjects.version(number))
        if done.account.wrong:
            raise RuntimeError(f"{who}: {len(done.account.wrong)} instances are not Ready on the new version")
        return done

    async def _ours(self, version: str) -> Run:
        with self._operator() as operator:
            await asyncio.to_thread(operator.await_at_work)
            async with Witness(self._api, OURS) as witness:
                cpu, start = operator.cpu_seconds(), time.time()
                patch = [{"op": "add", "path": "/spec/versions/-", "value": subjects.published(version)}]
                await self._api.patch(f"{subjects.IMAGES.format(OURS)}/bench", patch, JSON_PATCH)
                code = await until_finished(self._api, OURS, version)
                await witness.until_upgraded(version, patience=_PATIENCE)
                await asyncio.to_thread(operator.await_at_work)
                cpu = operator.cpu_seconds() - cpu
            if code != "Completed":
                raise RuntimeError(f"the upgrade to {version} ended {code}:\n{operator.log_tail()}")
            return self._told(witness, version, start, cpu, planes.OPERATOR, OURS, operator.figures())

    async def _floor(self, version: str) -> Run:
        async with Witness(self._api, FLOOR) as witness:
            result = await self._script("upgrade", version)
            await witness.until_upgraded(version, patience=_PATIENCE)
        return self._told(witness, version, result["start"], result["cpu_s"], planes.OPERATOR, FLOOR)

    async def _statefulset(self, version: str) -> Run:
        pid = self._plane.control_plane.pid("kube-controller-manager")
        path = f"{subjects.STATEFULSETS.format(PEER)}/{subjects.NAME}"
        async with Witness(self._api, PEER) as witness:
            cpu, start = cpu_seconds(pid), time.time()
            image = "/spec/template/spec/containers/0/image"
            change = [{"op": "replace", "path": image, "value": subjects.image(version)}]
            await self._api.patch(path, change, JSON_PATCH)
            await self._until_rolled_out(path)
            await witness.until_upgraded(version, patience=_PATIENCE)
            cpu = cpu_seconds(pid) - cpu
        return self._told(witness, version, start, cpu, planes.STATEFULSETS, PEER)

    async def _until_rolled_out(self, path: str) -> None:
        """Wait until the StatefulSet says that all are updated and ready: a small read, which costs the peer little."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            body = await self._api.get(path)
            status = body["status"]
            counts = (status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "replicas"))
            if status["observedGeneration"] == body["metadata"]["generation"] and {*counts} == {self._instances}:
                return
            await asyncio.sleep(0.2)
        raise TimeoutError(f"the StatefulSet was not rolled out in {_PATIENCE:.0f} s")

    def _told(
        self,
        witness: Witness,
        version: str,
        start: float,
        cpu: float,
        user: str,
        namespace: str,
        figures: dict[str, float] | None = None,
    ) -> Run:
        account = witness.account(version)
        writes = self._plane.writes(user, since=start, namespace=namespace)
        return Run(account.last_ready - start, cpu, account, writes, figures or {})

    async def _script(self, what: str, version: str) -> dict[str, float]:
        """Run the bare script; `upgrade` is let go once it is ready and everything is calm."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("floor.py")), what),
            *("--kubeconfig", str(self._plane.control_plane.operator_kubeconfig), "--namespace", FLOOR),
            *(
                "--owner",
                self._owner,
                "--version",
                version,
                "--replicas",
                str(self._instances),
                "--batches",
                str(BATCHES),
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        await asyncio.to_thread(planes.await_calm, self._plane)
        output, _ = await process.communicate(b"go\n")
        if process.returncode:
            raise RuntimeError(f"floor.py {what} ended with {process.returncode}")
        decoded: dict[str, float] = orjson.loads(output) if output else {}
        return decoded

    def _operator(self) -> Operator:
        return Operator(self._plane.control_plane.operator_kubeconfig, self._plane.directory)

    async def _check_sameness(self) -> None:
        """The three kinds of pods must not differ in what they ask of scheduler and machines."""
        seen = [await self._api.get(f"{subjects.PODS.format(n)}/{subjects.NAME}-0") for n in (OURS, FLOOR, PEER)]
        ours, floor, peer = (_demands(pod) for pod in seen)
        if not ours == floor == peer:
            raise RuntimeError(f"the pods are not the same: {ours} {floor} {peer}")


def _demands(pod: subjects.Body) -> subjects.Body:
    identity = ("hostname", "subdomain", "nodeName", "volumes")  # volumes: each has its own token volume's name
    spec = {key: value for key, value in pod["spec"].items() if key not in identity}
    containers = [{k: v for k, v in c.items() if k != "volumeMounts"} for c in spec.pop("containers")]
    return {**spec, "containers": containers}


async def until_ready(api: Api, sets: str, count: int) -> None:
    """Wait until the sets at a path say that so many instances are ready in all."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        items = (await api.get(sets))["items"]
        ready = sum((each.get("status") or {}).get("readyReplicas", 0) for each in items)
        if ready == count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {ready} of {count} instances of {sets} are Ready after {_PATIENCE:.0f} s")
        await asyncio.sleep(0.5)


async def until_finished(api: Api, namespace: str, version: str) -> str:
    """Wait until the upgrade to a version has ended; how it did."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for upgrade in (await api.get(subjects.UPGRADES.format(namespace)))["items"]:
            status = upgrade.get("status") or {}
            code = (status.get("runningStatus") or {}).get("code", "")
            if (status.get("targetImageReference") or {}).get("version") == version and code in ENDS:
                return str(code)
        await asyncio.sleep(0.2)
    raise TimeoutError(f"no upgrade to {version} ended in {_PATIENCE:.0f} s")


ENDS = ("Completed", "Cancelled", "Faulted")


async def measure(plane: Plane, instances: int, runs: int, say: Say) -> tuple[dict[str, float], list[float]]:
    """Run the contest: the figures of the comparison, and the milliseconds between our batches."""
    order = (OURS, FLOOR, PEER)
    found: dict[str, list[Run]] = {who: [] for who in order}
    async with Api(plane.control_plane.kubeconfig) as api:
        contest = Contest(plane, api, instances, say)
        await contest.prepare()
        for run in range(runs):
            for who in order[run % 3 :] + order[: run % 3]:
                done = await contest.run(who, run + 2)
                found[who].append(done)
                say(f"run {run + 1}: {who} {done.seconds:.2f} s, {done.cpu_seconds * 1000 / instances:.2f} ms CPU each")
    return figures(found, instances), [gap for run in found[OURS] for gap in gaps_ms(run)]


async def measure_as_shipped(plane: Plane, say: Say) -> dict[str, float]:
    """The StatefulSet without the feature gate, as Kubernetes ships it: the API server drops `maxUnavailable`.

    It then goes one by one, so a small set tells as much as a large one.
    """
    async with Api(plane.control_plane.kubeconfig) as api:
        contest = Contest(plane, api, AS_SHIPPED, say)
        await contest.prepare_statefulset()
        done = await contest.run(PEER, 2)
    say(f"without the gate: {done.seconds / AS_SHIPPED:.2f} s an instance, {done.account.most_down} down at a time")
    return {
        "statefulset_without_gate_s_per_instance": done.seconds / AS_SHIPPED,
        "statefulset_without_gate_most_down": done.account.most_down,
        "statefulset_without_gate_instances": AS_SHIPPED,
    }


def figures(found: dict[str, list[Run]], instances: int) -> dict[str, float]:
    """Medians, ratios and every raw figure."""
    told: dict[str, float] = {"instances": instances}
    medians = {who: statistics.median(run.seconds for run in runs) for who, runs in found.items()}
    told["os_upgrade_vs_floor"] = medians[OURS] / medians[FLOOR]
    told["os_upgrade_vs_statefulset"] = medians[OURS] / medians[PEER]
    ours = found[OURS]
    told["writes_per_instance"] = statistics.median(pod_writes(run.writes) / instances for run in ours)
    told["status_writes_per_batch"] = statistics.median(status_writes(run.writes) / BATCHES for run in ours)
    told["cpu_ms_per_instance"] = statistics.median(run.cpu_seconds * 1000 / instances for run in ours)
    for who, runs in found.items():
        told[f"{who}_s"] = medians[who]
        told[f"{who}_cpu_ms_per_instance"] = statistics.median(run.cpu_seconds * 1000 / instances for run in runs)
        told[f"{who}_writes_per_instance"] = statistics.median(pod_writes(run.writes) / instances for run in runs)
        told[f"{who}_most_down"] = max(run.account.most_down for run in runs)
        for number, run in enumerate(runs, start=1):
            told[f"{who}_s_run_{number}"] = run.seconds
            told[f"{who}_cpu_s_run_{number}"] = run.cpu_seconds
    for number, run in enumerate(ours, start=1):
        for what, count in sorted(run.writes.items()):
            told[f"ours_run_{number}_writes {what}"] = count
    return told


def gaps_ms(run: Run) -> list[float]:
    """Milliseconds from the last Ready of each batch to the first touch of the next, as the witness saw them."""
    return [gap * 1000 for gap in run.account.gaps({name: ordinal(name) % BATCHES for name in run.account.lives})]


def status_writes(writes: Counter[str]) -> int:
    """Writes on ScaleSet and RollingUpgrade, all of them: what is not status there is rarer still."""
    ours = ("scalesets", "rollingupgrades")
    return sum(n for what, n in writes.items() if what.split()[-1].split("/")[0] in ours and "dry-run" not in what)
