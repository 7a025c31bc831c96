"""Whether extensions are due and may begin: the checks of ``explain`` on their upgrades (E1, E4, E11, E13).

What is behind and may start is the engine's own answer; when the operator tries a failed one again stands in status.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from scalesets.cli import whose, words
from scalesets.cli.fields import ConditionView, Obj, at, condition, text, when
from scalesets.cli.program import hint
from scalesets.cli.views import cures
from scalesets.cli.views.findings import Finding, Sight, Weight, named
from scalesets.engine import checks, extensions, rolling, versions
from scalesets.engine.rolling import WAITING_FOR_TURN
from scalesets.engine.view import CatalogueVersion, ExtensionTarget, ModelExtension, UpgradeType

ABOUT_EXTENSIONS = "extension "
"""So the operator's words begin when what waits for its time is an extension upgrade."""


def are_due(sight: Sight) -> Iterator[Finding]:
    """For each extension that is behind, why it stays so; one line when none is."""
    view, model = sight.view, sight.view.model
    if model is None or not model.extensions or not sight.census.releases:
        return
    targets = extensions.targets(view, sight.census, [e.name for e in model.extensions], sight.now)
    if not targets:
        listed = words.listing([e.name for e in model.extensions])
        message = f"all extensions ({listed}) are on the newest version of their major that may be used"
        yield Finding(Weight.FINE, "ExtensionsUpToDate", message)
        return
    for target in targets:
        extension = extensions.model_extension(model, target.name)
        if extension is not None:
            yield _why(sight, extension, target)
    if any(extensions.may_start(view, target, sight.now) for target in targets):
        yield from _too_many_unhealthy(sight)


def newer_versions(sight: Sight) -> Iterator[Finding]:
    """Newer versions of extensions that may not be used, and those of another major, which never come by themselves."""
    view, model = sight.view, sight.view.model
    for extension in model.extensions if model is not None else ():
        catalogue = view.extensions.get(extension.key)
        installed = _highest(sight, extension.name)
        if catalogue is None or not installed:
            continue
        for version in sorted(catalogue.versions, key=lambda v: versions.parse(v.version), reverse=True):
            if not versions.is_newer(version.version, installed):
                break
            told = f"extension {extension.name} {version.version} is newer than {installed}"
            if versions.parse(version.version)[:1] != versions.parse(installed)[:1]:
                if versions.is_stable(version, sight.now):
                    cure = f'set its typeHandlerVersion: "{version.version.rsplit(".", 1)[0]}"'
                    yield Finding(Weight.NOTE, "OtherMajor", f"{told}, but of another major version", cure)
                    break
            elif (why := _unusable(version, sight.now)) and not version.removed:
                yield Finding(Weight.NOTE, "NotLatest", f"{told}, but {why}")


def on_old_kubelets(sight: Sight) -> Iterator[Finding]:
    """Instances on nodes that don't restart a patched sidecar: their extensions stay as they are."""
    if who := sorted(sight.view.unpatchable):
        listed = words.listing(named(sight.view, who))
        message = f"the kubelet of their nodes is older than 1.32, so extensions are not upgraded there: {listed}"
        yield Finding(Weight.BLOCKS, "NodeTooOld", message, _of_old_kubelets(sight))


def _of_old_kubelets(sight: Sight) -> str:
    if sight.view.names:
        return "upgrade those nodes; or delete the pods: they come back, on other nodes if those are cordoned"
    return cures.of("NodeTooOld", sight.reference)


def _why(sight: Sight, extension: ModelExtension, target: ExtensionTarget) -> Finding:
    view, name = sight.view, target.name
    behind = [o for o, r in sight.census.releases.items() if extensions.goal((target,), name, r)]
    who = f"{words.share(len(behind), sight.replicas, sight.noun)} are" if sight.replicas > 1 else "it is"
    told = f"{name}: {who} older than {target.to}"
    by_hand = hint("start", sight.reference, "--extension", name)
    match extensions.automatic_upgrade(view, extension):
        case extensions.NOT_SUPPORTED:
            return Finding(
                Weight.NOTE, "ExtensionNotSupported", f"{told}; it doesn't support automatic upgrade", by_hand
            )
        case extensions.DISABLED:
            cure = f"{_enable(sight, name, behind)}, or once by hand: {by_hand}"
            return Finding(Weight.NOTE, "ExtensionDisabled", f"{told}; its automatic upgrade is disabled", cure)
    running = view.current_upgrade
    if running is not None and not running.finished and running.type is UpgradeType.EXTENSION:
        return Finding(Weight.NOTE, "ExtensionBehind", told)
    last = _last(sight.scale_set, name)
    if text(last, "version") == target.to and text(last, "outcome") in ("Faulted", "Cancelled"):
        return _tried(sight, target, last, told, by_hand)
    progressing = condition(sight.scale_set, "Progressing")
    if why := _turn(sight, progressing):
        return Finding(Weight.WAITS, WAITING_FOR_TURN, f"{told}; it waits for its turn: {why}")
    if view.availability_set:
        group = str(whose.Named(whose.AVAILABILITY_SET, view.availability_set))
        return Finding(Weight.NOTE, "ExtensionBehind", told, hint("explain", group))
    if (
        progressing is not None
        and progressing.reason in cures.HOLDS
        and progressing.message.startswith(ABOUT_EXTENSIONS)
    ):
        return Finding(Weight.WAITS, progressing.reason, f"{told}; {progressing.message}", f"now: {by_hand}")
    return Finding(Weight.NOTE, "ExtensionBehind", told, hint("plan", sight.reference, "--type", "Extension"))


def _enable(sight: Sight, name: str, behind: Sequence[int]) -> str:
    """How to opt in; of an availability set each machine by itself."""
    if not sight.view.is_group:
        return hint("extensions", sight.reference, "--enable", name)
    first, *others = named(sight.view, behind)
    more = f" (and {words.listing(others)})" if others else ""
    return f"{hint('extensions', str(whose.Named(whose.MACHINE, first)), '--enable', name)}{more}"


def _turn(sight: Sight, progressing: ConditionView | None) -> str:
    """Why a machine by itself must wait for others, as it is now, or as the operator said where we may not look."""
    turn = sight.around.turn
    if turn is None or turn.words or turn.whole:
        return turn.words if turn is not None else ""
    return progressing.message if progressing is not None and progressing.reason == WAITING_FOR_TURN else ""


def _tried(sight: Sight, target: ExtensionTarget, last: Obj, told: str, by_hand: str) -> Finding:
    ago = words.age(sight.now, when(last, "completedTime"))
    why = ": ".join(filter(None, [text(last, "code"), text(last, "reason")]))
    ended = f"{text(last, 'name')} was {text(last, 'outcome')} {ago} ago{f' ({why})' if why else ''}"
    retry = when(last, "retryTime")
    if retry is None:
        cure = f"{by_hand}, publish a newer version or change the model"
        return Finding(Weight.BLOCKS, "ExtensionCancelled", f"{told}; {ended}", cure)
    if retry > sight.now:
        again = f"it is tried again in {words.span(retry - sight.now)}"
        return Finding(Weight.WAITS, "ExtensionRetry", f"{told}; {ended}; {again}", f"now: {by_hand}")
    return Finding(Weight.NOTE, "ExtensionBehind", f"{told}; {ended}; it is tried again now")


def _too_many_unhealthy(sight: Sight) -> Iterator[Finding]:
    """Extension upgrades follow the set's own limit, OS upgrades may have another (E5d, E13)."""
    policy = rolling.policy_for(sight.view, UpgradeType.EXTENSION)
    os_policy = rolling.policy_for(sight.view, UpgradeType.OS_IMAGE)
    stop = checks.whole_set(sight.census, policy, code=checks.BEFORE)
    if stop is not None and checks.whole_set(sight.census, os_policy, code=checks.BEFORE) is None:
        cure = "heal them, or raise maxUnhealthyInstancePercent"
        yield Finding(Weight.BLOCKS, "TooManyUnhealthy", f"extension upgrades don't begin: {stop.message}", cure)


def _highest(sight: Sight, name: str) -> str:
    found = (dict(release.extensions).get(name, "") for release, _ in sight.census.kinds())
    return max(found, key=versions.parse, default="")


def _unusable(version: CatalogueVersion, now: datetime) -> str:
    if version.changed:
        return "it came back with another image: publish that under a new version"
    if version.published > now:
        return f"not published before {version.published:%Y-%m-%d %H:%M}"
    if version.available_since is None or version.available_since > now:
        return "not replicated here yet"
    if version.excluded:
        return "excluded from latest"
    if version.end_of_life is not None and version.end_of_life <= now:
        return f"past its end of life ({version.end_of_life:%Y-%m-%d})"
    return ""


def _last(scale_set: Obj, name: str) -> Obj:
    told: Obj = next((e for e in at(scale_set, "status.extensions", []) if text(e, "name") == name), {})
    found = at(told, "lastUpgrade", {})
    return found if isinstance(found, dict) else {}
