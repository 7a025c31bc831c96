"""What is looked at before the operator does anything: can it work on this cluster at all?

A cluster that is too old, CRDs that are missing, foreign or older than the operator, rights that it lacks: each is said
by name, with the mend, and the process ends. What it can do without is a warning; so is one of several namespaces that
can't be served (served.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from scalesets.kube import installed, kubelets, rights, served, tracing
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import NODES, OURS
from scalesets.kube.phrases import first_of
from scalesets.kube.settings import Settings

FIRST_MINOR = kubelets.FIRST_MINOR
"""Of Kubernetes 1: the oldest on which the operator works."""
MOST_NAMED = 5

_MEND_UNSERVED = (
    "Bind the roles of the chart there (helm upgrade does), or take it out of watchNamespaces; if it can't be deleted, "
    "an upgrade in it may be held: scalesets release-finalizers --namespace lets it go"
)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


@dataclass(slots=True)
class Findings:
    """What was found: facts, what the operator goes on without, and what it can't work with."""

    facts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """The namespaces to serve that can't be, and why; others can."""

    @property
    def unserved(self) -> list[str]:
        """The same, in words."""
        return [
            f"namespace {namespace} is not served: {why}. {_MEND_UNSERVED}" for namespace, why in self.left_out.items()
        ]


async def examine(cluster: Cluster, settings: Settings) -> Findings:
    """Look at the cluster; a Refusal is raised when it can't be reached."""
    findings = Findings()
    await _server(cluster, findings)
    await _crds(cluster, settings, findings)
    await _rights(cluster, settings, findings)
    await _nodes(cluster, findings)
    _traces(findings)
    return findings


async def _server(cluster: Cluster, findings: Findings) -> None:
    version = await cluster.server_version()
    found = _VERSION.match(version)
    if found is None:
        findings.warnings.append(f"{cluster.server} doesn't say its version; 1.{FIRST_MINOR} or newer is needed")
    elif (int(found[1]), int(found[2])) < (1, FIRST_MINOR):
        findings.problems.append(
            f"Kubernetes {version} at {cluster.server} is too old: the operator needs 1.{FIRST_MINOR} or newer. "
            "Upgrade the cluster's control plane"
        )
    else:
        findings.facts.append(f"Kubernetes {version} at {cluster.server}")


async def _crds(cluster: Cluster, settings: Settings, findings: Findings) -> None:
    problems = await installed.problems(cluster, settings)
    findings.problems.extend(problems)
    if not problems:
        findings.facts.append(f"CRDs: {', '.join(kind.plural for kind in OURS)}")


async def _rights(cluster: Cluster, settings: Settings, findings: Findings) -> None:
    wanted = rights.rights(settings)
    lacking = await rights.missing(cluster, wanted)
    who = await rights.user(cluster)
    left_out = await served.left_out(cluster, settings, lacking)
    if len(left_out) < len(settings.namespaces):  # they need not stop it for the others
        findings.left_out = left_out
        lacking = [right for right in lacking if right.namespace not in left_out]
    elif absent := {name: why for name, why in left_out.items() if why in (served.MISSING, served.LEAVES)}:
        named = "; ".join(f"{namespace}: {why}" for namespace, why in absent.items())
        findings.problems.append(f"of the namespaces to serve none can be: {named}. Create one, or name others")
    if needed := [right for right in lacking if right.needed]:
        findings.problems.append(
            f"{who or 'this user'} is not allowed to {rights.in_words(needed)}. Bind the roles of the chart "
            "(ClusterRole scaleset-operator; rbac.create does so)"
        )
    for resource, consequence in rights.DOES_WITHOUT.items():
        if optional := [right for right in lacking if right.resource == resource]:
            findings.warnings.append(f"not allowed to {rights.in_words(optional)}: {consequence}")
    if not lacking:
        findings.facts.append(f"{len(wanted)} rights of {who or 'this user'}")


async def _nodes(cluster: Cluster, findings: Findings) -> None:
    old: dict[str, str] = {}
    count = 0
    try:
        async for nodes, _ in cluster.pages(NODES):
            count += len(nodes)
            for node in nodes:
                if kubelets.is_too_old(version := kubelets.kubelet_version(node)):
                    old[node["metadata"]["name"]] = version
    except Refusal as refusal:
        if refusal.outcome in (Outcome.NO_ANSWER, Outcome.BUSY):
            raise
        return  # that they may not be listed is said among the rights
    if old:
        named = first_of([f"{name} ({version})" for name, version in old.items()], MOST_NAMED)
        findings.warnings.append(
            f"kubelets before 1.{FIRST_MINOR} don't restart an extension whose image is patched, so extensions are not "
            f"upgraded there: {named}. Upgrade these nodes"
        )
    else:
        findings.facts.append(f"{count} nodes, all with kubelets of 1.{FIRST_MINOR} or newer")


def _traces(findings: Findings) -> None:
    try:
        where = tracing.check(os.environ)
    except tracing.CannotTrace as problem:
        findings.problems.append(str(problem))
    else:
        findings.facts += [f"traces go to {where}"] if where else []
