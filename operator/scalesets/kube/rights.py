"""Which rights the operator needs, and which of them it lacks.

The roles that it ships with (``charts/scaleset-operator/files``) say what it needs: they are what the chart and
``scalesets local`` bind, so nothing is listed twice. Where they have to hold follows from the settings. What is lacking
is asked for one by one (SelfSubjectAccessReview), before anything is done: a right that is missed in the middle of an
upgrade would leave the upgrade there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scalesets.api.shipped import objects
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.phrases import first_of
from scalesets.kube.settings import Settings

AT_A_TIME = 16
MOST_NAMED = 8

DOES_WITHOUT = {
    "nodes": "sets with zones are not begun, and old kubelets are not noticed",
    "configmaps": "ConfigMaps that sets name are not checked before upgrades",
    "events": "nothing is told as Events",
    "customresourcedefinitions": "whether the CRDs are this operator's, and not older than it, is not checked",
}
"""Resources that the operator can do without, and what that means."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource, in one namespace or (empty) in all."""

    namespace: str
    group: str
    resource: str  # with its subresource: pods, scalesets/status
    verb: str
    name: str = ""

    @property
    def needed(self) -> bool:
        """Whether the operator can't work without it."""
        return self.resource not in DOES_WITHOUT

    @property
    def resource_name(self) -> str:
        """With its group, as kubectl names it: ``scalesets.scalesets.dev/status``."""
        plain, slash, subresource = self.resource.partition("/")
        return f"{plain}.{self.group}{slash}{subresource}" if self.group else self.resource

    @property
    def attributes(self) -> dict[str, str]:
        """As a SelfSubjectAccessReview asks for it."""
        resource, _, subresource = self.resource.partition("/")
        asked = {"group": self.group, "resource": resource, "subresource": subresource, "verb": self.verb}
        return {**asked, "namespace": self.namespace, "name": self.name}


def rights(settings: Settings) -> list[Right]:
    """All that an operator with these settings needs."""
    roles = {(role["kind"], role["metadata"]["name"]): role["rules"] for role in objects("rbac")}
    own = roles["ClusterRole", "scaleset-operator"]
    everywhere = settings.namespaces or ("",)
    found = [right for namespace in everywhere for right in _of(own, namespace)]
    if settings.namespaces and settings.catalog_namespace not in settings.namespaces:
        found += _of(roles["ClusterRole", "scaleset-operator-catalog"], settings.catalog_namespace)
    for right in _of(roles["ClusterRole", "scaleset-operator-cluster"], ""):
        if (
            right.resource != "namespaces" or not settings.namespaces
        ):  # who serves some gets these, and says it when it may not
            found.append(right)
    if settings.leader_election:
        found += _of(roles["Role", "scaleset-operator"], settings.lease_namespace)
    return sorted(set(found))


def _of(rules: Iterable[dict[str, Any]], namespace: str) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames") or ("",):
                        yield Right(namespace, group, resource, verb, name)


async def missing(cluster: Cluster, wanted: Iterable[Right]) -> list[Right]:
    """Those that the API server doesn't grant. A server that won't say is taken to grant: the operator will see."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def granted(right: Right) -> bool:
        async with places:
            try:
                spec = {"resourceAttributes": right.attributes}
                return bool((await cluster.review("SelfSubjectAccessReview", spec)).get("allowed"))
            except Refusal as refusal:
                if refusal.outcome in (Outcome.NO_ANSWER, Outcome.BUSY):
                    raise
                return True

    wanted = list(wanted)
    answers = await asyncio.gather(*map(granted, wanted))
    return [right for right, answer in zip(wanted, answers, strict=True) if not answer]


async def user(cluster: Cluster) -> str:
    """As whom the API server knows this operator; empty when it doesn't say."""
    try:
        info = (await cluster.review("SelfSubjectReview")).get("userInfo") or {}
    except Refusal:
        return ""
    return str(info.get("username") or "")


def in_words(lacking: Iterable[Right]) -> str:
    """``create, patch pods in all namespaces; get leases in scaleset-system``."""
    verbs: dict[tuple[str, str], dict[str, None]] = {}
    for right in lacking:
        verbs.setdefault((right.namespace, right.resource_name), {})[right.verb] = None
    resources: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (namespace, resource), its_verbs in verbs.items():
        where = f" in {namespace}" if namespace else ("" if resource in _CLUSTERS_OWN else " in all namespaces")
        resources.setdefault((where, tuple(its_verbs)), []).append(resource)
    phrases = [f"{', '.join(which)} {', '.join(named)}{where}" for (where, which), named in resources.items()]
    return first_of(phrases, MOST_NAMED, separator="; ")


_CLUSTERS_OWN = ("nodes", "namespaces", "customresourcedefinitions.apiextensions.k8s.io")
