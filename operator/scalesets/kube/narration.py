"""One readable line in the log per decision that does something."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from scalesets.engine import ordinals
from scalesets.engine.decision import (
    Action,
    CreateInstance,
    CreateUpgrade,
    DeleteClaims,
    DeleteInstance,
    DryRun,
    LabelInstance,
    PatchExtension,
    Preflight,
    Write,
    WriteSetStatus,
    WriteUpgradeStatus,
)
from scalesets.engine.view import Condition
from scalesets.kube.phrases import first_of


def of_writes(writes: Iterable[Write], before: Sequence[Condition] = ()) -> str:
    """What is stored, in words. ``before`` are the conditions that the set has: what changes of them is why it is
    written.
    """
    return ", ".join(_write(write, before) for write in writes)


def of_actions(actions: Sequence[Action]) -> str:
    """What is done to instances, in words: ``create 0-3; delete 4-7 (Upgrade)``."""
    groups: dict[str, list[int]] = {}
    for action in actions:
        groups.setdefault(_action(action), []).append(action.ordinal)
    parts = []
    for words, members in groups.items():
        verb, _, why = words.partition(" ")
        parts.append(f"{verb} {_members(members)}" + (f" ({why})" if why else ""))
    return "; ".join(parts)


_LONGEST = 60
_MOST_CHANGES = 4
_STATUS = {True: "True", False: "False", None: "Unknown"}


def _members(some: Collection[int]) -> str:
    """Ordinals, or how many there are when they would fill the line."""
    text = ordinals.render(some)
    return text if len(text) <= _LONGEST else f"{len(some)} instances"


def _write(write: Write, before: Sequence[Condition]) -> str:
    match write:
        case WriteSetStatus(status=status, urgent=urgent):
            return f"status{_changes(before, status.conditions)}" if urgent else "counts"
        case WriteUpgradeStatus(name=name, status=status):
            batch = status.running_batch
            where = f" batch {batch.number} = {_members(batch.members)}" if batch is not None else ""
            where += f" ({batch.extension})" if batch is not None and batch.extension else ""
            return f"{name} {status.code.value}{where}" + (f" waiting for {status.waiting}" if status.waiting else "")
        case CreateUpgrade(name=name):
            return f"create {name}"
        case DryRun(ordinal=ordinal):
            return f"dry-run {ordinal}"
        case Preflight():
            return "preflight"
        case _:
            return f"{type(write).__name__} {write.name}"


def _changes(before: Sequence[Condition], after: Sequence[Condition]) -> str:
    """The conditions that are otherwise than before: `` (Progressing True Batch, UpgradeFailed gone)``. A set that has
    none yet gets them all, which tells nothing.
    """
    if not before:
        return ""
    known = {c.type: (c.status, c.reason) for c in before}
    parts = [f"{c.type} {_STATUS[c.status]} {c.reason}" for c in after if known.get(c.type) != (c.status, c.reason)]
    parts += [f"{kind} gone" for kind in sorted(known.keys() - {c.type for c in after})]
    return f" ({first_of(parts, _MOST_CHANGES)})" if parts else ""


def _action(action: Action) -> str:
    match action:
        case CreateInstance(release=release):
            return f"create {release.image_version}"
        case DeleteInstance(reason=reason):
            return f"delete {reason}"
        case LabelInstance():
            return "label"
        case PatchExtension(name=name, version=version):
            return f"patch {name} {version}"
        case DeleteClaims():
            return "delete-claims"
