"""The floor: the deletes and creates of an upgrade and nothing else, as fast as a bare asyncio script does them.

`floor.py seed` makes the pods, `floor.py upgrade` replaces them batch by batch: each pod of the batch is deleted by UID
and, once it is gone, created again under its name with the new image; when all of the batch are Ready, the next begins.
It stores nothing, checks nothing and could not go on after a crash. It runs under the operator's own ServiceAccount, so
that the API server treats both alike.

`upgrade` waits for a line on its input when it is ready to go, and ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path

import orjson
import uvloop

from api import Api, lines
from subjects import PODS, bare_pod, image, image_of, is_ready

SIDE_BY_SIDE = 64
"""Requests under way at the same time."""

_READY = re.compile(rb'"type":"Ready",(?:"observedGeneration":\d+,)?"status":"True"')


async def seed(api: Api, namespace: str, owner: str, replicas: int, version: str) -> None:
    """Create the pods and wait until all are Ready."""
    tickets = asyncio.Semaphore(SIDE_BY_SIDE)

    async def create(ordinal: int) -> None:
        async with tickets:
            await api.create(PODS.format(namespace), bare_pod(namespace, ordinal, version, owner_uid=owner))

    await asyncio.gather(*map(create, range(replicas)))
    while True:
        ready = sum(map(is_ready, (await api.get(PODS.format(namespace)))["items"]))
        if ready == replicas:
            return
        await asyncio.sleep(0.5)


class Upgrade:
    """One upgrade, batch by batch."""

    def __init__(self, api: Api, namespace: str, owner: str, version: str, batches: int) -> None:
        self._api = api
        self._namespace = namespace
        self._pods = PODS.format(namespace)
        self._version = version
        self._batches = batches
        self._old: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._ready = asyncio.Event()
        self._owner = owner
        self._tickets = asyncio.Semaphore(SIDE_BY_SIDE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, float]:
        """Upgrade all pods of the namespace; times and CPU from the word go."""
        listed = await self._api.get(self._pods)
        self._old = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in listed["items"]}
        version = listed["metadata"]["resourceVersion"]
        watching = asyncio.create_task(self._watch(f"{self._pods}?watch=1&resourceVersion={version}"))
        await asyncio.to_thread(sys.stdin.readline)
        start, cpu = time.time(), time.process_time()
        for batch in range(self._batches):
            members = [name for name in self._old if _ordinal(name) % self._batches == batch]
            self._waiting = set(members)
            self._ready.clear()
            await asyncio.gather(*map(self._delete, members))
            await self._ready.wait()
        end, cpu = time.time(), time.process_time() - cpu
        watching.cancel()
        return {"start": start, "end": end, "cpu_s": cpu, "instances": len(self._old)}

    async def _watch(self, path: str) -> None:
        async for line in lines(self._api.chunks(path)):
            gone = line.startswith(b'{"type":"DELETED"')
            if not gone and (b'"deletionTimestamp"' in line or not _READY.search(line)):
                continue  # not worth decoding
            event = orjson.loads(line)
            pod = event["object"]
            name = pod["metadata"]["name"]
            if name not in self._waiting:
                continue
            if gone:
                if pod["metadata"]["uid"] == self._old[name]:
                    task = asyncio.create_task(self._create(name))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            elif pod["metadata"]["uid"] != self._old[name]:
                self._waiting.discard(name)
                if not self._waiting:
                    self._ready.set()

    async def _delete(self, name: str) -> None:
        options = b'{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"%b"}}' % self._old[name].encode()
        async with self._tickets:
            await self._api.send("DELETE", f"{self._pods}/{name}", options)

    async def _create(self, name: str) -> None:
        body = bare_pod(
            self._namespace,
            _ordinal(name),
            self._version,
            owner_uid=self._owner,
            update_domains=self._batches,
        )
        async with self._tickets:
            await self._api.send("POST", self._pods, orjson.dumps(body))


def _ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["seed", "upgrade"])
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--owner", required=True, help="UID of the ConfigMap that owns the pods")
    parser.add_argument("--version", required=True)
    parser.add_argument("--replicas", type=int, default=0)
    parser.add_argument("--batches", type=int, default=5)
    given = parser.parse_args()
    async with Api(given.kubeconfig, connections=SIDE_BY_SIDE + 1) as api:
        if given.what == "seed":
            await seed(api, given.namespace, given.owner, given.replicas, given.version)
            return
        result = await Upgrade(api, given.namespace, given.owner, given.version, given.batches).run()
        pods = (await api.get(PODS.format(given.namespace)))["items"]
        wrong = [p["metadata"]["name"] for p in pods if not is_ready(p) or image_of(p) != image(given.version)]
        print(orjson.dumps({**result, "wrong": len(wrong)}).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
