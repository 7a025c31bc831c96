"""Whether the CRDs on the cluster are this operator's, and not older than it.

A CRD of our name that somebody else made, or one that lacks fields which this operator reads and writes, would be
found out in the middle of an upgrade: the API server drops unknown fields without a word. One that knows more is well:
an upgrade brings the CRDs before the operators.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from scalesets.api import generate
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import CRDS, OURS, Kind
from scalesets.kube.names import GROUP, VERSION, Raw
from scalesets.kube.phrases import first_of
from scalesets.kube.settings import Settings

MOST_NAMED = 4
INSTALL = "install the CRDs (kubectl apply --server-side -f crds/, or the chart with crds.install)"


async def problems(cluster: Cluster, settings: Settings) -> list[str]:
    """What is wrong with the CRDs, each by its name."""
    found = await asyncio.gather(*(_problem(cluster, settings, kind) for kind in OURS))
    return [problem for problem in found if problem]


async def _problem(cluster: Cluster, settings: Settings, kind: Kind) -> str:
    name = f"{kind.plural}.{GROUP}"
    try:
        crd = await cluster.get(CRDS, "", name)
    except Refusal as refusal:
        if refusal.outcome is Outcome.FORBIDDEN:  # said among the rights; whether it is served can be seen all the same
            return await _not_served(cluster, settings, kind)
        if refusal.outcome is Outcome.MISSING:
            return f"{cluster.server} doesn't know {name}: {INSTALL}"
        raise
    return describe(crd, kind)


async def _not_served(cluster: Cluster, settings: Settings, kind: Kind) -> str:
    try:
        async for _ in cluster.pages(kind, next(iter(settings.watched_namespaces), ""), page=1):
            break
    except Refusal as refusal:
        if refusal.outcome is Outcome.MISSING:
            return f"{cluster.server} doesn't know {kind.plural}.{GROUP}: {INSTALL}"
        if refusal.outcome is not Outcome.FORBIDDEN:
            raise
    return ""


def describe(crd: Raw, kind: Kind) -> str:
    """What is wrong with a CRD, or nothing."""
    name = f"{kind.plural}.{GROUP}"
    labels = crd["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in generate.PART_OF.items()):
        wanted = ",".join(f"{key}={value}" for key, value in generate.PART_OF.items())
        return (
            f"the CRD {name} isn't this operator's: it has no label {wanted}. If another program uses it, they can't "
            f"share a cluster; else {INSTALL}"
        )
    version = next((v for v in crd["spec"]["versions"] if v["name"] == VERSION and v.get("served")), None)
    if version is None:
        served = ", ".join(v["name"] for v in crd["spec"]["versions"] if v.get("served")) or "none"
        return f"the CRD {name} doesn't serve {VERSION}, which this operator needs (served: {served}): {INSTALL}"
    own = next(known for known in generate.KINDS if known.kind_info.plural == kind.plural)
    lacking = list(
        fields_lacking(generate.root_schema(own), (version.get("schema") or {}).get("openAPIV3Schema") or {})
    )
    if lacking:
        return (
            f"the CRD {name} is older than this operator: it doesn't know {first_of(lacking, MOST_NAMED)}. "
            f"Upgrade the CRDs first: {INSTALL}"
        )
    return ""


def fields_lacking(own: Raw, served: Raw, path: str = "") -> Iterator[str]:
    """Paths of the fields that the own schema has and the served one hasn't; of a whole subtree, the topmost."""
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    theirs: dict[str, Any] = served.get("properties") or {}
    for name, schema in (own.get("properties") or {}).items():
        if name not in theirs:
            yield f"{path}.{name}".removeprefix(".")
        else:
            yield from fields_lacking(schema, theirs[name], f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(own.get(word), dict) and isinstance(served.get(word), dict):
            yield from fields_lacking(own[word], served[word], f"{path}[]")
