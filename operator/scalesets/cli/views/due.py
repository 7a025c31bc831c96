"""Whether anything is due and may begin: the checks of ``explain`` on versions, health and instances.

What is eligible, due and within limits is the engine's own answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from scalesets.cli import words
from scalesets.cli.fields import at, condition, name_of, text, when
from scalesets.cli.program import hint
from scalesets.cli.views import budgets, cures, images, instances, status
from scalesets.cli.views.extensions_due import ABOUT_EXTENSIONS
from scalesets.cli.views.findings import Finding, Sight, Weight, named
from scalesets.engine import checks, eligibility, ordinals, rolling, scopes, versions
from scalesets.engine.census import Census
from scalesets.engine.view import Ordinals, SetView, StartedBy, Upgrade, UpgradeMode, UpgradeType
from scalesets.kube import references
from scalesets.kube.names import ANNOTATION_PROTECT


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
        yield Finding(Weight.NOTE, "Disabled", message, cures.of("Disabled", sight.reference))
        del found["Disabled"]
    for reason, message in found.items():
        yield Finding(Weight.BLOCKS, reason, message, cures.of(reason, sight.reference))


def is_due(sight: Sight) -> Iterator[Finding]:
    """Whether instances are behind, and if so what the operator says it waits for."""
    view, model = sight.view, sight.view.model
    newest = versions.latest(view.images.get(model.image), sight.now) if model is not None else None
    if model is None or newest is None or model.version != "latest" or not sight.census.releases:
        return
    place = f" in {view.location}" if view.location else ""
    behind = [
        o for o, r in sight.census.releases.items() if scopes.os_version_is_behind(view, r, model.image, newest.version)
    ]
    if not behind:
        beyond = [o for o, r in sight.census.releases.items() if r.image_version != newest.version]
        message = f"all instances are on {newest.version}, the latest{place}"
        if beyond:  # what they run was withdrawn, or is excluded from latest
            newer = words.listing(sorted({sight.census.releases[o].image_version for o in beyond}), limit=2)
            who = words.share(len(beyond), sight.replicas, sight.noun)
            message = f"{who} are on {newer}, newer than {newest.version}, the latest{place}: none goes back by itself"
        yield Finding(Weight.FINE, "UpToDate", message)
        return
    message = (
        f"{words.share(len(behind), sight.replicas, sight.noun)} are older than {newest.version}, the latest{place}"
    )
    progressing = condition(sight.scale_set, "Progressing")
    running = sight.around.snapshot.running_upgrade is not None
    elsewhere = progressing is not None and progressing.message.startswith(ABOUT_EXTENSIONS)
    if running or progressing is None or elsewhere or progressing.reason not in cures.HOLDS:
        yield Finding(Weight.NOTE, "Behind", message, "" if running else hint("plan", sight.reference))
        return
    weight = Weight.WAITS if progressing.reason in cures.PASSES else Weight.BLOCKS
    if progressing.reason not in ("NotEligible", "TooManyUnhealthy"):  # these are told by their own checks, with names
        message = f"{message}; {progressing.message}"
    else:
        weight = Weight.NOTE
    yield Finding(weight, progressing.reason, message, cures.of(progressing.reason, sight.reference))


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


def versions_not_found(sight: Sight) -> Iterator[Finding]:
    """Images and extensions whose registry doesn't tell of new versions (docs/api.md, "Discovery")."""
    model, around = sight.view.model, sight.around
    if model is None:
        return
    image = references.find_image(model.image, around.images, around.catalog_namespace)
    extensions = [references.find_extension(e.key, around.extensions) for e in model.extensions]
    for kind, obj in (("GalleryImage", image), *(("Extension", e) for e in extensions)):
        told = condition(obj, "Discovered") if obj is not None else None
        if obj is not None and told is not None and told.status == "False":
            message = f"{kind} {name_of(obj)}: new versions aren't found: {told.message}"
            yield Finding(
                Weight.NOTE, "NotDiscovered", message, f"see the condition Discovered of {kind} {name_of(obj)}"
            )


def share_of_unhealthy(sight: Sight) -> Iterator[Finding]:
    """Too many unhealthy instances start nothing and stop what runs (O11)."""
    view, census = sight.view, sight.census
    policy = rolling.policy_for(view, UpgradeType.EXTENSION if view.names else UpgradeType.OS_IMAGE)
    limit = policy.max_unhealthy_percent
    counted = len(census.counted)
    sick = census.unhealthy - _at_work(view)  # the running batch may be down: it is judged by itself
    told = f"{words.share(len(sick), counted, sight.noun)} are unhealthy, the limit is {limit}%"
    if not counted:
        return
    if not census.unhealthy:
        everyone = f"all {counted} {sight.noun}s are healthy (the limit is {limit}% unhealthy)"
        yield Finding(Weight.FINE, "Healthy", everyone if sight.replicas > 1 else f"the {sight.noun} is healthy")
        return
    if not sick:
        return
    listed = words.listing(named(view, sick))
    if checks.whole_set(census, policy, code=checks.BEFORE, ignored=census.unhealthy - sick) is None:
        yield Finding(Weight.NOTE, "SomeUnhealthy", f"{told}: {listed}", hint("instances", sight.reference))
        return
    cure = "heal them, or raise maxUnhealthyInstancePercent"
    if not view.names:
        cure = f"heal them, raise maxUnhealthyInstancePercent, or {_bring_up_to_date(view, census, sick, sight.now)}"
    yield Finding(Weight.BLOCKS, "TooManyUnhealthy", f"{told}: {listed}; no batch begins", cure)


def _bring_up_to_date(view: SetView, census: Census, sick: Ordinals, now: datetime) -> str:
    """The named cure (docs/adr/0008), where it would change anything."""
    status = scopes.begin(
        view,
        Upgrade("", "", now, UpgradeType.MODEL, StartedBy.USER, instances=tuple(named(view, sick))),
        census,
        now,
    )
    if status.scope:
        return hint("update-instances", view.name, ordinals.render(status.scope))
    return "publish a newer version: they are on the newest that may be used"


def _at_work(view: SetView) -> Ordinals:
    upgrade = view.current_upgrade
    batch = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    return frozenset(batch.members) if batch is not None else frozenset()


def new_instances(sight: Sight) -> Iterator[Finding]:
    """Instances that have never been Ready count nowhere yet, but somebody waits for them."""
    young = {instance.ordinal for instance in sight.census.young} - _at_work(sight.view)
    if not young:
        return
    waits = status.by_reason([i for i in instances.read(sight.around.snapshot) if i.ordinal in young])
    message = f"{words.share(len(young), sight.replicas, sight.noun)} have not been Ready yet: "
    cure = f"if they stay so, see {hint('instances', sight.reference, '-o wide')} and kubectl describe pod"
    yield Finding(Weight.WAITS, "NewInstances", message + "; ".join(wait.what for wait in waits), cure)


def instances_left_out(sight: Sight) -> Iterator[Finding]:
    """Instances that upgrades go around: protected, with a dying claim, or in Manual mode not on the model."""
    view, census = sight.view, sight.census
    if kept := sorted(census.protected):
        cure = f"take them out of spec.instanceProtection, or the annotation {ANNOTATION_PROTECT} off the pods"
        message = f"protected from upgrades: {words.listing(named(view, kept))}"
        yield Finding(Weight.NOTE, "Protected", message, cure)
    dying = [o for o in census.releases if o in view.claims_deleting]
    if dying:
        message = f"not touched while a claim is being deleted: {words.listing(named(view, dying))}"
        yield Finding(Weight.BLOCKS, "ClaimDeleting", message, cures.CLAIM_DELETING)
    model = view.model
    if view.mode is UpgradeMode.MANUAL and model is not None:
        old = [o for o, release in census.releases.items() if release.model != model.name]
        if old:
            message = "mode Manual: not on the latest model, so left out of automatic upgrades: "
            cure = f"{hint('update-instances', view.name, '--all')}, or name them"
            yield Finding(Weight.BLOCKS, "NotOnLatestModel", message + words.listing(named(view, old)), cure)


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
            Weight.NOTE, f"Last{outcome}", f"{message}: {why}" if why else message, hint("history", sight.reference)
        )
