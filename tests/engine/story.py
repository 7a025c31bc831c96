"""Tells what the engine decides, a line each, in words that a person can follow.

A line that begins with a star is what users, publishers and fate do; the others are decisions: what is stored first,
then what is told, then what is done to instances.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.refereed import Refereed
from engine.world import World
from scalesets.engine import decision as d
from scalesets.engine import ordinals
from scalesets.engine.view import Batch, SetStatus, UpgradeStatus, UpgradeType

_PLAIN = ("Starting", "RollingForward", "RollingBack", "UpToDate")


class Story:
    """The timeline of a world from now on, with the referee watching."""

    def __init__(self, title: str, world: World) -> None:
        self.world = world
        self.refereed = Refereed(world)
        self._start = world.now
        self._lines = [title, ""]
        self._upgrades: dict[str, UpgradeStatus] = {}
        self._said = ""
        world.tellers.append(self._decided)

    def happens(self, words: str) -> None:
        """Somebody or something does this."""
        self._add(f"* {words}")

    def text(self) -> str:
        """The whole story, with how it ended."""
        self._add("* nothing more happens")
        versions = sorted((v, o) for v, o in self._where().items())
        ends = [f"{names(self.world, members)} on {what}" for what, members in versions]
        for upgrade in self.world.upgrades.values():
            status = upgrade.status
            if status is not None:
                p = status.progress
                counts = f"{p.successful} successful, {p.failed} failed, {p.pending} pending"
                ends.append(f"{upgrade.name} {status.code.value}: {counts}")
        return "\n".join([*self._lines, "", *ends]) + "\n"

    def _where(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for ordinal, pod in sorted(self.world.pods.items()):
            found.setdefault(f"{pod.release.image_version}, model {pod.release.model}", []).append(ordinal)
        return found

    def _add(self, words: str) -> None:
        seconds = int((self.world.now - self._start).total_seconds())
        self._lines.append(f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} {words}")

    def _decided(self, decision: d.Decision) -> None:
        for write in decision.writes:
            for words in self._stored(write):
                self._add(f"  {words}")
        for event in decision.events:
            self._add(f"  {'! ' if event.warning else ''}{event.message}")
        for words in self._done(decision.actions):
            self._add(f"    {words}")

    # -- what is stored ------------------------------------------------------------------------------------------------

    def _stored(self, write: d.Write) -> Iterable[str]:
        match write:
            case d.WriteSetStatus(status):
                yield from self._set(status)
            case d.WriteUpgradeStatus(name, _, status):
                yield from self._upgrade(name, status)
            case d.CreateUpgrade(name, kind):
                yield f"{'model' if kind is UpgradeType.MODEL else 'OS'} upgrade {name} is made"
            case d.ClearApprovals(name):
                yield f"the approvals of {name} are cleared"
            case d.DryRun(ordinal, release):
                yield f"try whether web-{ordinal} could be made on {release.image_version}, model {release.model}"
            case d.DeleteUpgrade(name):
                yield f"{name} falls out of the history"

    def _set(self, status: SetStatus) -> Iterable[str]:
        before = self.world.status
        if status.current_upgrade != before.current_upgrade:
            held = status.current_upgrade
            yield f"{held} takes the set" if held else "the set is free"
        moved = [o for o, r in status.record.items() if o in before.record and before.record[o] != r]
        if moved:
            kinds = {f"{r.image_version}, model {r.model}" for o, r in status.record.items() if o in moved}
            yield f"on record: {names(self.world, moved)} on {'; '.join(sorted(kinds))}"
        progress = next(c for c in status.conditions if c.type == "Progressing")
        said = f"{progress.reason}: {progress.message}"
        if said != self._said and progress.reason not in _PLAIN:
            yield f"the set says {said}"
        self._said = said

    def _upgrade(self, name: str, status: UpgradeStatus) -> Iterable[str]:
        known = self._upgrades.get(name)
        before = {b.number: b for b in known.batches} if known is not None else {}
        for batch in status.batches:
            old = before.get(batch.number)
            if old is None:
                yield f"batch {batch.number} in {_cell(batch)}: {names(self.world, batch.members)}"
            elif batch.rolled_back != old.rolled_back:
                yield f"{names(self.world, batch.rolled_back - old.rolled_back)} are to go back"
        if status.waiting and (known is None or known.waiting != status.waiting):
            yield f"{name} waits ({status.waiting}): {status.waiting_message}"
        left = (known.scope if known is not None else status.scope) - status.scope
        if left:
            yield f"{names(self.world, left)} left the scope"
        self._upgrades[name] = status

    def _done(self, actions: Iterable[d.Action]) -> Iterable[str]:
        groups: dict[str, list[int]] = {}
        for action in actions:
            groups.setdefault(_verb(action), []).append(action.ordinal)
        for verb, some in groups.items():
            what, _, rest = verb.partition("|")
            yield f"{what} {names(self.world, some)}{rest}"


def names(world: World, some: Iterable[int]) -> str:
    """``web-3`` or ``web-{0-3,7}``."""
    text = ordinals.render(some)
    return f"web-{text}" if text.isdecimal() else f"web-{{{text}}}"


def _cell(batch: Batch) -> str:
    zone = f"zone {batch.zone}, " if batch.zone else ""
    return f"{zone}update domain {batch.update_domain}"


def _verb(action: d.Action) -> str:
    match action:
        case d.CreateInstance(_, release):
            return f"create| on {release.image_version}, model {release.model}"
        case d.DeleteInstance(_, _, reason):
            return f"delete| ({reason})"
        case d.LabelInstance(_, _, labels, annotations):
            marks = ", ".join(f"{key.partition('/')[2]}={value or 'none'}" for key, value in (*labels, *annotations))
            return f"label| {marks}"
    return "delete the claims of|"
