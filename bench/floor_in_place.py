"""The floor of extension upgrades: the patches and the waiting, and nothing else, as fast as a bare script does them.

Each pod of a batch is patched once, as the operator does it: image, version, and the container it had. A batch is over
when every pod has another container, started, the pod Ready, and the settle time has passed. It stores nothing, checks
nothing and could not go on after a crash.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from datetime import datetime
from pathlib import Path

import orjson
import uvloop

from api import Api, lines
from subjects import AGENT, PODS, SETTLE_SECONDS, Body, extension_image, is_ready

SIDE_BY_SIDE = 64
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
NAME = AGENT["name"]
_NOTE = f"extension.scalesets.dev/{NAME}"


class Upgrade:
    """One upgrade, batch by batch."""

    def __init__(self, api: Api, namespace: str, version: str, batches: int) -> None:
        self._api, self._version, self._batches = api, version, batches
        self._pods = PODS.format(namespace)
        self._uids: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._well: dict[str, float] = {}  # name -> when its settle time is over
        self._waiting: set[str] = set()
        self._all_well = asyncio.Event()
        self._tickets = asyncio.Semaphore(SIDE_BY_SIDE)

    async def run(self) -> dict[str, float]:
        """Upgrade all pods of the namespace; times and CPU from the word go."""
        listed = await self._api.get(self._pods)
        for pod in listed["items"]:
            name = pod["metadata"]["name"]
            self._uids[name], self._before[name] = pod["metadata"]["uid"], _container(pod)["containerID"]
        version = listed["metadata"]["resourceVersion"]
        watching = asyncio.create_task(self._watch(f"{self._pods}?watch=1&resourceVersion={version}"))
        await asyncio.to_thread(sys.stdin.readline)
        start, cpu = time.time(), time.process_time()
        for batch in range(self._batches):
            members = [n for n in self._uids if int(n.rpartition("-")[2]) % self._batches == batch]
            self._waiting = set(members)
            self._all_well.clear()
            await asyncio.gather(*map(self._patch, members))
            await self._all_well.wait()
            settled = max(self._well[name] for name in members)
            await asyncio.sleep(max(0.0, settled - time.time()))
        end, cpu = time.time(), time.process_time() - cpu
        watching.cancel()
        return {"start": start, "end": end, "cpu_s": cpu}

    async def _watch(self, path: str) -> None:
        async for line in lines(self._api.chunks(path)):
            pod = orjson.loads(line)["object"]
            name = pod["metadata"]["name"]
            if name not in self._waiting:
                continue
            container = _container(pod)
            running = (container.get("state") or {}).get("running")
            if container["containerID"] == self._before[name] or not (container["started"] and running):
                continue
            if is_ready(pod):
                since = next(c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
                self._well[name] = max(_seconds(running["startedAt"]), _seconds(since)) + SETTLE_SECONDS
                self._waiting.discard(name)
                if not self._waiting:
                    self._all_well.set()

    async def _patch(self, name: str) -> None:
        notes = {_NOTE: self._version, f"{_NOTE}.before": self._before[name]}
        body = {
            "metadata": {"uid": self._uids[name], "annotations": notes},
            "spec": {"initContainers": [{"name": NAME, "image": extension_image(self._version)}]},
        }
        async with self._tickets:
            await self._api.send("PATCH", f"{self._pods}/{name}", orjson.dumps(body), STRATEGIC_PATCH)


def _container(pod: Body) -> Body:
    found: Body = next(c for c in pod["status"]["initContainerStatuses"] if c["name"] == NAME)
    return found


def _seconds(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--batches", type=int, default=5)
    given = parser.parse_args()
    async with Api(given.kubeconfig, connections=SIDE_BY_SIDE + 1) as api:
        result = await Upgrade(api, given.namespace, given.version, given.batches).run()
        print(orjson.dumps(result).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
