"""Asks registries for tags: one timer for each image and extension with `spec.discovery` (docs/api.md, "Discovery").

Only the leader asks: the work queue, which runs nowhere else, says which objects to follow. What is found is kept in
memory, and the object is looked at again when it differs from what was found before; that look writes the status, and
nothing when nothing changed. All of this may be lost: the stored status has what counts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from scalesets.api.discovery import DEFAULT_INTERVAL, DEFAULT_MOST, SHORTEST_INTERVAL
from scalesets.kube import preflight, pullsecrets, tags, times
from scalesets.kube.client import Cluster, Refusal
from scalesets.kube.credentials import read_reference
from scalesets.kube.destinations import Destinations
from scalesets.kube.discovered import CURRENT, Finding, Found, condition_of
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import SECRETS, Kind
from scalesets.kube.metrics import Metrics
from scalesets.kube.names import Raw
from scalesets.kube.pullsecrets import Login
from scalesets.kube.registry import Problem, Reason, Registry, Repository, open_session
from scalesets.kube.seen import Key
from scalesets.kube.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE, AT_ONCE_OF_NAMESPACE = 8, 2
"""So many registries are asked at the same time, and so many of them for one namespace: slow ones are somebody's own
trouble."""
TAGS_AT_ONCE = 4
"""A registry is asked about so many tags at the same time."""
CONVERSATION_SECONDS = 180.0
FIRST_BACK_OFF, LONGEST_BACK_OFF = 10.0, 1800.0
SPREAD_AFTER_START = 10.0
"""Seconds over which objects that have an answer already are asked about again when an operator starts."""

Wake = Callable[[Kind, Key], None]


@dataclass(slots=True)
class _Followed:
    uid: str
    spec: Raw
    task: asyncio.Task[None]
    finding: Finding | None = None


class Discovery:
    """The timers. ``wake`` is told of an object about which something new was found."""

    def __init__(self, cluster: Cluster, settings: Settings, *, wake: Wake, meter: Metrics | None = None) -> None:
        self._cluster = cluster
        self._settings = settings
        self._wake = wake
        self._meter = meter
        self._destinations = Destinations(settings.discovery_registries)
        self._session: aiohttp.ClientSession | None = None
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._turn_of: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_ONCE_OF_NAMESPACE)
        )
        self._followed: dict[tuple[str, Key], _Followed] = {}

    def follow(self, kind: Kind, raw: Raw) -> Finding | None:
        """Ask about the object as its spec says, from now on; what was found for this spec so far."""
        metadata, spec = raw["metadata"], raw["spec"].get("discovery")
        key = (metadata["namespace"], metadata["name"])
        if not spec or spec.get("suspend"):
            self.forget(kind, key)
            return None
        if not self._settings.discovery:
            self.forget(kind, key)
            return Finding(problem=(Reason.OFF, "the operator runs with --no-discovery: no registry is asked"))
        known = self._followed.get((kind.plural, key))
        if known is not None and known.uid == metadata["uid"] and known.spec == spec:
            return known.finding
        self.forget(kind, key)
        answered = condition_of(raw).get("observedGeneration") == metadata.get("generation")
        first = random.uniform(0, SPREAD_AFTER_START) if answered else 0.0
        task = asyncio.create_task(self._keep_asking(kind, raw, first), name=f"discovery {kind.plural} {key}")
        self._followed[(kind.plural, key)] = _Followed(metadata["uid"], spec, task)
        return None

    def forget(self, kind: Kind, key: Key) -> None:
        """Ask no more about this object."""
        known = self._followed.pop((kind.plural, key), None)
        if known is not None:
            known.task.cancel()

    async def close(self) -> None:
        """End all timers and conversations."""
        tasks = [known.task for known in self._followed.values()]
        self._followed.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _keep_asking(self, kind: Kind, raw: Raw, first: float) -> None:
        """The life of one timer. ``raw`` names the object and its spec; its status is read afresh each time."""
        metadata, spec = raw["metadata"], raw["spec"]["discovery"]
        key: Key = (metadata["namespace"], metadata["name"])
        interval = _interval(spec)
        chosen: dict[str, str] = {v["version"]: v.get("tag") or "" for v in _discovered(raw)}
        told: dict[str, str | None] = {}
        failures = 0
        await asyncio.sleep(first)
        while True:
            wait: float | None = None
            began = time.monotonic()
            try:
                async with self._turn_of[key[0]], self._turn, asyncio.timeout(CONVERSATION_SECONDS):
                    began = time.monotonic()
                    finding = await self._ask(key[0], spec, chosen, told)
                chosen = {found.version: found.tag for found in finding.versions or ()} or chosen
            except Problem as problem:
                finding, wait = Finding.of(problem), problem.wait
            except TimeoutError:
                words = f"{spec['repository']}: not told within {CONVERSATION_SECONDS:g} s"
                finding = Finding(problem=(Reason.UNREACHABLE, words))
            except Exception:
                log.exception("%s %s/%s: unexpected in discovery; it is asked again", kind.plural, *key)
                words = "the registry could not be asked: see the operator's log"
                finding = Finding(problem=(Reason.BUG, words))
            if self._meter is not None:
                outcome = finding.problem[0] if finding.problem is not None else CURRENT
                self._meter.asked_registry(outcome, time.monotonic() - began)
            if finding.problem is None or finding.problem[0] is not Reason.BUSY:
                told.clear()
            failures = failures + 1 if finding.problem is not None else 0
            self._found(kind, key, finding)
            await asyncio.sleep(pause(interval, failures, wait))

    def _found(self, kind: Kind, key: Key, finding: Finding) -> None:
        known = self._followed.get((kind.plural, key))
        if known is None or known.task is not asyncio.current_task():
            return
        if known.finding != finding:
            known.finding = finding
            self._wake(kind, key)

    async def _ask(self, namespace: str, spec: Raw, chosen: Mapping[str, str], told: dict[str, str | None]) -> Finding:
        """One conversation with the registry: which tags there are, and what the newest of them point at. ``told`` are
        the digests of a conversation that it broke off: of one that answers a few questions at a time all are known
        in the end.
        """
        try:
            rule = tags.TagRule(spec)
        except tags.UnusablePattern as problem:
            raise Problem(Reason.PATTERN, str(problem)) from problem
        repository = Repository.read(spec["repository"])
        if self._session is None:
            self._session = open_session(self._destinations)
        registry = Registry(
            self._session,
            self._destinations,
            repository,
            credentials=await self._credentials(namespace, spec, repository),
            plain_http=bool(spec.get("plainHTTP")),
        )
        listed = await registry.tags()
        most = spec.get("maxVersions") or DEFAULT_MOST
        try:  # in a thread: a pattern that takes long must not hold up the sets
            found = await asyncio.to_thread(tags.choose, listed, rule, most=most, known=dict(chosen))
        except tags.UnusablePattern as problem:
            raise Problem(Reason.PATTERN, str(problem)) from problem
        turn = asyncio.Semaphore(TAGS_AT_ONCE)

        async def resolve(version: str, tag: str) -> Found | None:
            async with turn:
                if tag not in told:
                    told[tag] = await registry.digest(tag)
            digest = told[tag]
            return Found(version, tag, f"{repository.name}:{tag}@{digest}") if digest is not None else None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(resolve(version, tag)) for version, tag in found.versions]
        except ExceptionGroup as several:
            raise next((e for e in several.exceptions if isinstance(e, Problem)), several.exceptions[0]) from several
        versions = tuple(each for task in tasks if (each := task.result()) is not None)
        there = {each.tag for each in versions}
        gone = [tag for _, tag in found.versions if tag not in there]
        return Finding(versions=versions, note=_passed_over(found, gone), at=utc_now())

    async def _credentials(self, namespace: str, spec: Raw, repository: Repository) -> Login | None:
        name = (spec.get("pullSecretRef") or {}).get("name")
        if not name:
            return None
        if not self._settings.read_secrets:
            words = f"Secret {name} can't be used: the operator reads no Secrets (--no-read-secrets)"
            raise Problem(Reason.SECRET, words)
        try:
            secret = await read_reference(self._cluster, SECRETS.kind, namespace, name)
        except preflight.Forbidden as forbidden:
            words = f"the operator may not read Secret {name}: let it get secrets in namespace {namespace} by a Role"
            raise Problem(Reason.SECRET, words) from forbidden
        except Refusal as refusal:
            raise Problem(Reason.SECRET, f"Secret {name} can't be read now: {refusal.outcome.value}") from refusal
        if secret is None:
            raise Problem(Reason.SECRET, f"there is no Secret {name} in namespace {namespace}: create it")
        try:
            return pullsecrets.credentials(secret, repository.host, repository.path)
        except pullsecrets.UnusableSecret as unusable:
            raise Problem(Reason.SECRET, str(unusable)) from unusable


def pause(interval: float, failures: int, wait: float | None = None) -> float:
    """Seconds until a registry is asked again: the interval; after failures sooner at first, then later and later; and
    never before the registry wants to be asked.
    """
    if failures:
        back_off = FIRST_BACK_OFF * 2.0 ** min(failures - 1, 20)
        interval = min(back_off, max(interval, LONGEST_BACK_OFF))
    return max(interval * random.uniform(0.9, 1.1), (wait or 0.0) * random.uniform(1.0, 1.1))


def _interval(spec: Raw) -> float:
    """Seconds between two questions. The API server takes a duration that is longer than can be counted."""
    given = spec.get("interval")
    try:
        interval = times.parse_duration(given) if given else DEFAULT_INTERVAL
    except ValueError:
        interval = times.LONGEST
    return min(max(interval, SHORTEST_INTERVAL), times.LONGEST).total_seconds()


def _discovered(raw: Raw) -> list[dict[str, Any]]:
    return list((raw.get("status") or {}).get("discovered") or ())


def _passed_over(found: tags.Chosen, gone: Sequence[str]) -> str:
    """What was passed over, in words for the end of a sentence. ``gone`` are tags that name no image."""
    parts = []
    if found.unreadable:
        parts.append(f"{_tags(found.unreadable)} without a version{_named(found.unreadable, found.examples)}")
    if gone:
        parts.append(f"{_tags(len(gone))} without an image{_named(len(gone), gone[:3])}")
    if found.doubles:
        parts.append(f"{_tags(found.doubles)} for versions that have one already")
    if found.older:
        parts.append(f"{found.older} older than the newest {len(found.versions)}")
    return f"; passed over: {', '.join(parts)}" if parts else ""


def _named(number: int, examples: Sequence[str]) -> str:
    return f" ({', '.join(examples)}{', …' if number > len(examples) else ''})"


def _tags(number: int) -> str:
    return f"{number} tag{'' if number == 1 else 's'}"
