"""Why is nothing happening? A chain of small looks at a set or machine, each at one thing that can hold an upgrade
(``explain``).

What is eligible, due and within limits is the engine's own answer; what only the operator knows (a refused template, a
missing secret, its trigger times) is read from the conditions that it wrote. What holds things up names its cure.
"""

from __future__ import annotations

from dataclasses import dataclass

from scalesets.cli.surroundings import Surroundings, engine_view
from scalesets.cli.views import at_work, due, extensions_due, machines_due
from scalesets.cli.views.findings import Check, Finding, Sight, Weight
from scalesets.engine import census as counting

_FIRST: tuple[Check, ...] = (
    at_work.is_deleted,
    at_work.operator_is_there,
    at_work.upgrade_at_work,
    at_work.upgrades_in_line,
    at_work.is_stalled,
    at_work.troubles,
)

CHAIN: tuple[Check, ...] = (
    *_FIRST,
    due.is_eligible,
    due.share_of_unhealthy,
    due.is_due,
    due.newer_versions,
    due.versions_not_found,
    extensions_due.are_due,
    extensions_due.newer_versions,
    due.new_instances,
    due.instances_left_out,
    extensions_due.on_old_kubelets,
    due.disruption_budgets,
    due.last_upgrade,
)


OF_MACHINES: tuple[Check, ...] = (
    *_FIRST,
    machines_due.members,
    machines_due.availability_set,
    due.share_of_unhealthy,
    extensions_due.are_due,
    extensions_due.newer_versions,
    machines_due.turn,
    machines_due.only_extensions,
    due.new_instances,
    due.instances_left_out,
    extensions_due.on_old_kubelets,
    due.disruption_budgets,
)
"""Machines and availability sets get no OS upgrades."""


@dataclass(frozen=True, slots=True)
class ExplainView:
    """All findings, the heaviest first; ``verdict`` is the answer in a sentence."""

    reference: str
    name: str
    namespace: str
    verdict: str
    findings: tuple[Finding, ...]
    unread: tuple[str, ...]


def read(around: Surroundings) -> ExplainView:
    """Run all checks."""
    view = engine_view(around)
    sight = Sight(around, view, counting.take(view, around.now), around.now)
    order = list(Weight)
    chain = OF_MACHINES if view.names or view.is_group else CHAIN
    findings = sorted((f for check in chain for f in check(sight)), key=lambda f: order.index(f.weight))
    return ExplainView(
        reference=sight.reference,
        name=view.name,
        namespace=view.namespace,
        verdict=_verdict(findings),
        findings=tuple(findings),
        unread=around.unread,
    )


def _verdict(findings: list[Finding]) -> str:
    by_weight = {weight: [f for f in findings if f.weight is weight] for weight in Weight}
    if by_weight[Weight.BLOCKS]:
        count = len(by_weight[Weight.BLOCKS])
        return "Something holds it up" if count == 1 else f"{count} things hold it up"
    if by_weight[Weight.WORKS]:
        return "An upgrade is at work"
    if by_weight[Weight.WAITS]:
        return "It waits, and goes on by itself"
    reasons = {f.reason for f in findings}
    if "ExtensionBehind" in reasons or ("Behind" in reasons and "Disabled" not in reasons):
        return "An upgrade should begin soon"
    if "Behind" in reasons:
        return "Instances are behind, and automatic upgrades are off"
    if reasons & {"ExtensionDisabled", "ExtensionNotSupported"}:
        return "Extensions are behind, and are not upgraded automatically"
    return "Nothing is due"
