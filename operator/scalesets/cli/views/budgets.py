"""PodDisruptionBudgets over a set's pods, and which of their forms don't fit (docs/rules.md, "Trouble").

Upgrades delete pods and consult no budget. Budgets still guard against evictions, where some of their forms do harm:
they forbid every eviction, overlap, or can't be computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scalesets.cli import words
from scalesets.cli.fields import Obj, at, condition, name_of


@dataclass(frozen=True, slots=True)
class BudgetProblem:
    """Something to know of a budget."""

    reason: str
    message: str
    cure: str = ""


def read(budgets: Sequence[Obj], pods: Sequence[Obj]) -> list[BudgetProblem]:
    """What is to be said of the budgets that select pods of the set."""
    labels = [at(pod, "metadata.labels", {}) for pod in pods]
    covering = [b for b in budgets if any(selects(at(b, "spec.selector"), own) for own in labels)]
    if not covering:
        return []
    listed = words.listing([name_of(b) for b in covering])
    said = f"upgrades delete pods and don't consult PodDisruptionBudgets ({listed}); their limit is the batch size"
    found = [BudgetProblem("BudgetNotConsulted", said)]
    if any(sum(selects(at(b, "spec.selector"), own) for b in covering) > 1 for own in labels):
        overlap = f"{listed} cover the same pods: Kubernetes then refuses every eviction"
        found.append(BudgetProblem("BudgetsOverlap", overlap, "leave one of them"))
    for budget in covering:
        found += _form(budget)
    return found


def selects(selector: object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; an empty one matches all, a missing one none."""
    if not isinstance(selector, Mapping):
        return False
    exact = at(selector, "matchLabels", {})
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    return all(_holds(expression, labels) for expression in at(selector, "matchExpressions", []))


def _holds(expression: Obj, labels: Mapping[str, str]) -> bool:
    key, values = at(expression, "key", ""), at(expression, "values", [])
    match at(expression, "operator", ""):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def _form(budget: Obj) -> Iterable[BudgetProblem]:
    name = name_of(budget)
    fits = condition(budget, "DisruptionAllowed")
    if fits is not None and fits.reason == "SyncFailed":
        yield BudgetProblem("BudgetFails", f"{name} can't be computed: {fits.message}", "use minAvailable: N, a number")
    most, least = at(budget, "spec.maxUnavailable"), at(budget, "spec.minAvailable")
    if most in (0, "0%") or least == "100%":
        field = f"maxUnavailable: {most}" if most is not None else f"minAvailable: {least}"
        message = f"{name} has {field}: it forbids every eviction, so nodes can't be drained"
        yield BudgetProblem("BudgetForbidsAll", message, "allow at least one")
