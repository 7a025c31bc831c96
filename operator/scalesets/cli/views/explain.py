"""Why is nothing happening? A chain of small looks at a set, each at one thing that can hold an upgrade (``explain``).

What is eligible, due and within limits is the engine's own answer; what only the operator knows (a refused template, a
missing secret, its trigger times) is read from the conditions that it wrote. What holds things up names its cure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from scalesets.cli import words
from scalesets.cli.fields import Obj, at, condition, conditions, is_final, name_of, names, number, started, text, when
from scalesets.cli.program import hint
from scalesets.cli.surroundings import Surroundings, engine_view
from scalesets.cli.views import budgets, cures, images, status, upgrades
from scalesets.engine import census as counting
from scalesets.engine import checks, eligibility, ordinals, rolling, scopes, versions
from scalesets.engine.census import Census
from scalesets.engine.view import Ordinals, SetView, StartedBy, Upgrade, UpgradeMode, UpgradeType
from scalesets.kube import references
from scalesets.kube.names import ANNOTATION_PROTECT

SILENCE = timedelta(seconds=30)
"""An operator that leads renews its Lease every few seconds; one that hasn't for so long is gone."""


class Weight(Enum):
    """What a finding means for the question; the heaviest comes first."""

    BLOCKS = "Blocks"  # nothing goes on until somebody does something
    WAITS = "Waits"  # it goes on by itself
    WORKS = "Works"  # it is at work
    NOTE = "Note"  # good to know
    FINE = "Fine"  # looked at, in order


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``reason`` is for programs, ``cure`` what to do about it."""

    weight: Weight
    reason: str
    message: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class ExplainView:
    """All findings, the heaviest first; ``verdict`` is the answer in a sentence."""

    name: str
    namespace: str
    verdict: str
    findings: tuple[Finding, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """What the checks look at."""

    around: Surroundings
    view: SetView
    census: Census
    now: datetime

    @property
    def scale_set(self) -> Obj:
        """The set's own object."""
        return self.around.snapshot.scale_set


Check = Callable[[Sight], Iterator[Finding]]


def read(around: Surroundings) -> ExplainView:
    """Run all checks."""
    view = engine_view(around)
    sight = Sight(around, view, counting.take(view, around.now), around.now)
    order = list(Weight)
    findings = sorted((f for check in CHAIN for f in check(sight)), key=lambda f: order.index(f.weight))
    return ExplainView(
        name=view.name,
        namespace=view.namespace,
        verdict=_verdict(findings, sight),
        findings=tuple(findings),
        unread=around.unread,
    )


def operator_is_there(sight: Sight) -> Iterator[Finding]:
    """Somebody has to act: an operator that leads, and that has seen the last change."""
    lease = sight.around.lease
    renewed = when(lease, "spec.renewTime")
    if renewed is not None and text(lease, "spec.holderIdentity"):
        silent = sight.now - renewed
        if silent > SILENCE:
            message = f"no operator is running: the last one was heard of {words.span(silent)} ago"
            yield Finding(Weight.BLOCKS, "NoOperator", message, cures.OPERATOR)
            return
    elif lease is not None:
        message = "no operator is running: nobody holds the Lease, as after an orderly stop"
        yield Finding(Weight.BLOCKS, "NoOperator", message, cures.OPERATOR)
        return
    unknown = lease is None and "leases" not in sight.around.unread
    generation = number(sight.scale_set, "metadata.generation")
    observed = number(sight.scale_set, "status.observedGeneration")
    if observed >= generation:
        if unknown:
            message = f"no operator holds a Lease in namespace {sight.around.catalog_namespace}: is one running?"
            yield Finding(Weight.NOTE, "NoLease", message, cures.OPERATOR)
        return
    what = "the last change of the set" if observed else "this set"
    if unknown:
        yield Finding(
            Weight.BLOCKS, "NoOperator", f"no operator has ever led here, nor looked at {what}", cures.OPERATOR
        )
    else:
        cure = f"if it stays so: does an operator serve namespace {sight.view.namespace}? Its log says more"
        yield Finding(Weight.WAITS, "NotObserved", f"the operator has not looked at {what} yet", cure)


def is_deleted(sight: Sight) -> Iterator[Finding]:
    """A set on its way out gets nothing."""
    if sight.view.deleting:
        yield Finding(Weight.BLOCKS, "Deleting", "the set is being deleted")


def upgrade_at_work(sight: Sight) -> Iterator[Finding]:
    """The upgrade that holds the lock, or waits for approval: what it does and waits for."""
    snapshot = sight.around.snapshot
    running = snapshot.running_upgrade
    if running is None:
        return
    upgrade = upgrades.read(running)
    what = f"{upgrade.name} ({upgrades.TYPE_WORDS.get(upgrade.type, upgrade.type)} to {upgrade.target})"
    if upgrade.waiting_reason == upgrades.WAITING_FOR_APPROVAL:
        cure = f"{hint('approve', sight.view.name, '--all')}, or name instances"
        yield Finding(Weight.BLOCKS, "WaitingForApproval", f"{what} waits for approval of instances", cure)
        return
    waits = [wait.what for wait in status.read(snapshot).waiting_for]
    told = f"{what} is at work" + (f" and waits for: {'; '.join(waits)}" if waits else "")
    weight = Weight.WAITS if upgrade.waiting_reason and upgrade.batch is None else Weight.WORKS
    yield Finding(weight, upgrade.waiting_reason or upgrade.code, told, hint("status", sight.view.name, "--watch"))


def upgrades_in_line(sight: Sight) -> Iterator[Finding]:
    """Upgrades that have not begun: one runs at a time."""
    waiting = [u for u in sight.around.snapshot.upgrades if not is_final(u) and not started(u)]
    running = sight.around.snapshot.running_upgrade
    for upgrade in waiting:
        if upgrade is running:
            continue
        turn = f"its turn comes after {name_of(running)}" if running is not None else "it is next"
        yield Finding(Weight.WAITS, "Queued", f"{name_of(upgrade)} has not begun: {turn}")


def is_stalled(sight: Sight) -> Iterator[Finding]:
    """A set that only its user can get going again."""
    stalled = condition(sight.scale_set, "Stalled")
    if stalled is not None and stalled.true:
        cure = f"change the model, or try it again: {hint('update-instances', sight.view.name, '--all')}"
        yield Finding(Weight.BLOCKS, stalled.reason, f"the set is stalled: {stalled.message}", cure)


def is_eligible(sight: Sight) -> Iterator[Finding]:
    """Automatic OS upgrade: opted in, and with all that it needs (O15)."""
    found = {m.reason: m.message for m in eligibility.missing(sight.view, sight.now)}
    told = condition(sight.scale_set, "AutomaticOSUpgradeEligible")
    if (
        told is not None
        and told.status == "False"
        and told.reason not in found
        and told.reason in cures.SEEN_BY_OPERATOR
    ):
        found[told.reason] = told.message
    if "Disabled" in found:
        message = "automatic OS image upgrades are off"
        yield Finding(Weight.NOTE, "Disabled", message, cures.of("Disabled", sight.view.name))
        del found["Disabled"]
    for reason, message in found.items():
        yield Finding(Weight.BLOCKS, reason, message, cures.of(reason, sight.view.name))


def is_due(sight: Sight) -> Iterator[Finding]:
    """Whether instances are behind, and if so what the operator says it waits for."""
    view, model = sight.view, sight.view.model
    newest = versions.latest(view.images.get(model.image), sight.now) if model is not None else None
    if model is None or newest is None or model.version != "latest":
        return
    place = f" in {view.location}" if view.location else ""
    behind = [
        o for o, r in sight.census.releases.items() if scopes.os_version_is_behind(view, r, model.image, newest.version)
    ]
    if not behind:
        message = f"all instances are on {newest.version}, the latest{place}"
        yield Finding(Weight.FINE, "UpToDate", message)
        return
    message = (
        f"{words.share(len(behind), view.replicas, 'instance')} are older than {newest.version}, the latest{place}"
    )
    progressing = condition(sight.scale_set, "Progressing")
    running = sight.around.snapshot.running_upgrade is not None
    if running or progressing is None or progressing.reason not in cures.HOLDS:
        yield Finding(Weight.NOTE, "Behind", message, "" if running else hint("plan", view.name))
        return
    weight = Weight.WAITS if progressing.reason in cures.PASSES else Weight.BLOCKS
    if progressing.reason not in ("NotEligible", "TooManyUnhealthy"):  # these are told by their own checks, with names
        message = f"{message}; {progressing.message}"
    else:
        weight = Weight.NOTE
    yield Finding(weight, progressing.reason, message, cures.of(progressing.reason, view.name))


def newer_versions(sight: Sight) -> Iterator[Finding]:
    """Versions newer than the latest that may be used, and why they may not."""
    model = sight.view.model
    image = references.find_image(model.image, sight.around.images, sight.around.catalog_namespace) if model else None
    if image is None:
        return
    wanted = images.Wanted(location=sight.view.location)
    found = images.read(
        (image,), (sight.scale_set,), wanted, catalog_namespace=sight.around.catalog_namespace, now=sight.now
    )
    for version in found[0].versions:  # the newest first
        if version.latest:
            return
        why = cures.version_state(version, sight.now)
        if why:
            yield Finding(Weight.NOTE, "NotLatest", f"version {version.version} is newer, but {why}")


def share_of_unhealthy(sight: Sight) -> Iterator[Finding]:
    """Too many unhealthy instances start nothing and stop what runs (O11)."""
    view, census = sight.view, sight.census
    policy = rolling.policy_for(view, UpgradeType.OS_IMAGE)
    limit = policy.max_unhealthy_percent
    counted = len(census.counted)
    sick = census.unhealthy - _at_work(view)  # the running batch may be down: it is judged by itself
    told = f"{words.share(len(sick), counted, 'instance')} are unhealthy, the limit is {limit}%"
    if not counted:
        return
    if not census.unhealthy:
        yield Finding(Weight.FINE, "Healthy", f"all {counted} instances are healthy (the limit is {limit}% unhealthy)")
        return
    if not sick:
        return
    listed = words.listing(names(view.name, sick))
    if checks.whole_set(census, policy, code=checks.BEFORE, ignored=census.unhealthy - sick) is None:
        yield Finding(Weight.NOTE, "SomeUnhealthy", f"{told}: {listed}", hint("instances", view.name))
        return
    cure = f"heal them, raise maxUnhealthyInstancePercent, or {_bring_up_to_date(view, census, sick, sight.now)}"
    yield Finding(Weight.BLOCKS, "TooManyUnhealthy", f"{told}: {listed}; no batch begins", cure)


def _bring_up_to_date(view: SetView, census: Census, sick: Ordinals, now: datetime) -> str:
    """The named cure (docs/adr/0008), where it would change anything."""
    status = scopes.begin(
        view,
        Upgrade("", "", now, UpgradeType.MODEL, StartedBy.USER, instances=tuple(names(view.name, sick))),
        census,
        now,
    )
    if status.scope:
        return hint("update-instances", view.name, ordinals.render(status.scope))
    return "publish a newer version: they are on the newest that may be used"


def instances_left_out(sight: Sight) -> Iterator[Finding]:
    """Instances that upgrades go around: protected, with a dying claim, or in Manual mode not on the model."""
    view, census = sight.view, sight.census
    if kept := sorted(census.protected):
        cure = f"take them out of spec.instanceProtection, or the annotation {ANNOTATION_PROTECT} off the pods"
        message = f"protected from upgrades: {words.listing(names(view.name, kept))}"
        yield Finding(Weight.NOTE, "Protected", message, cure)
    dying = [o for o in census.releases if o in view.claims_deleting]
    if dying:
        message = f"not touched while a claim is being deleted: {words.listing(names(view.name, dying))}"
        yield Finding(Weight.BLOCKS, "ClaimDeleting", message, cures.CLAIM_DELETING)
    model = view.model
    if view.mode is UpgradeMode.MANUAL and model is not None:
        old = [o for o, release in census.releases.items() if release.model != model.name]
        if old:
            message = "mode Manual: not on the latest model, so left out of automatic upgrades: "
            cure = f"{hint('update-instances', view.name, '--all')}, or name them"
            yield Finding(Weight.BLOCKS, "NotOnLatestModel", message + words.listing(names(view.name, old)), cure)


def troubles(sight: Sight) -> Iterator[Finding]:
    """What the operator ran into, in the words of its conditions."""
    for found in conditions(sight.scale_set):
        if found.true and found.type in cures.TROUBLES:
            weight = Weight.NOTE if found.type in cures.HARMLESS else Weight.BLOCKS
            message = f"{found.type}: {found.message or found.reason}"
            yield Finding(weight, found.type, message, cures.of(found.type, sight.view.name))


def disruption_budgets(sight: Sight) -> Iterator[Finding]:
    """PodDisruptionBudgets over the set: upgrades don't consult them, and some forms don't fit."""
    for problem in budgets.read(sight.around.budgets, sight.around.snapshot.pods):
        yield Finding(Weight.NOTE, problem.reason, problem.message, problem.cure)


def last_upgrade(sight: Sight) -> Iterator[Finding]:
    """How the last OS upgrade ended, if it didn't end well."""
    last = at(sight.scale_set, "status.lastOSUpgrade", {})
    outcome = text(last, "outcome")
    if outcome in ("Faulted", "Cancelled"):
        ago = words.age(sight.now, when(last, "completedTime"))
        why = ": ".join(filter(None, [text(last, "code"), text(last, "reason")]))
        message = f"the last OS upgrade, {text(last, 'name')} to {text(last, 'version')}, was {outcome} {ago} ago"
        yield Finding(
            Weight.NOTE, f"Last{outcome}", f"{message}: {why}" if why else message, hint("history", sight.view.name)
        )


CHAIN: tuple[Check, ...] = (
    is_deleted,
    operator_is_there,
    upgrade_at_work,
    upgrades_in_line,
    is_stalled,
    troubles,
    is_eligible,
    share_of_unhealthy,
    is_due,
    newer_versions,
    instances_left_out,
    disruption_budgets,
    last_upgrade,
)


def _at_work(view: SetView) -> Ordinals:
    upgrade = view.current_upgrade
    batch = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    return frozenset(batch.members) if batch is not None else frozenset()


def _verdict(findings: list[Finding], sight: Sight) -> str:
    by_weight = {weight: [f for f in findings if f.weight is weight] for weight in Weight}
    if by_weight[Weight.BLOCKS]:
        count = len(by_weight[Weight.BLOCKS])
        return "Something holds it up" if count == 1 else f"{count} things hold it up"
    if by_weight[Weight.WORKS]:
        return "An upgrade is at work"
    if by_weight[Weight.WAITS]:
        return "It waits, and goes on by itself"
    if any(f.reason == "Behind" for f in findings):
        off = any(f.reason == "Disabled" for f in findings)
        return "Instances are behind, and automatic upgrades are off" if off else "An upgrade should begin soon"
    return "Nothing is due"
