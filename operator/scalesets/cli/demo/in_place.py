"""What an upgrade of two extensions leaves behind, seen from outside: the pods are the same, and of their containers
only those were started anew that had to be (E6, E9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalesets.cli.demo.evidence import SHARE, Finding, Witness, World, in_domains, is_ready, names
from scalesets.cli.views.upgrades import UpgradeView


@dataclass(frozen=True, slots=True)
class Agent:
    """An extension that is to go from a version to another."""

    name: str
    former: str
    to: str


def of_extensions(
    upgrade: UpgradeView, good: Agent, bad: Agent, before: World, after: World, witness: Witness
) -> list[Finding]:
    """What an upgrade of two extensions should have left of which the first fails and the second is well (E6, E9)."""
    everyone = before.pods.keys()
    count = len(everyone)
    most = max(1, int(SHARE * count))
    mine = {e: [b for b in upgrade.batches if b.extension == e] for e in (good.name, bad.name)}
    struck = {name for batch in mine[bad.name] for name in names(batch.members, before)}
    ready = {name for name, pod in after.pods.items() if is_ready(pod)}
    sizes = [len(batch.members) for batch in upgrade.batches]
    another = sorted(name for name in everyone if before.uid(name) != after.uid(name))
    outcomes = {e.name: e.outcome for e in upgrade.extensions}
    wrong = restarted_beside(before, after, {good.name: set(everyone), bad.name: struck})
    return [
        Finding(
            f"{good.name} is on {good.to} on all {count} instances, and all are Ready",
            set(after.with_extension(good.name, good.to)) == everyone == ready,
            f"{len(after.with_extension(good.name, good.to))} are on it, {len(ready)} are Ready",
        ),
        Finding(
            f"{bad.name} failed on its first batch ({len(struck)}), was put back, and no second was begun",
            len(mine[bad.name]) == 1
            and set(names(mine[bad.name][0].rolled_back, before)) == struck
            and set(after.with_extension(bad.name, bad.former)) == everyone,
            f"{len(mine[bad.name])} batches; {len(after.with_extension(bad.name, bad.former))} are on {bad.former}",
        ),
        Finding(
            f"no instance was restarted: all {count} pods are the same as before",
            not another and not witness.touched and after.pods.keys() == everyone,
            f"others: {', '.join(sorted({*another, *witness.touched}))}",
        ),
        Finding(
            f"{good.name} was restarted once each, {bad.name} only where it failed, no other container at all",
            not wrong,
            "; ".join(wrong),
        ),
        Finding(
            f"never more than {most} were worked on at the same time",
            bool(sizes) and max(sizes) <= most and 0 < witness.most_unready <= most and in_domains(upgrade, after),
            f"their sizes are {sizes}, {witness.most_unready} were not Ready at once",
        ),
        Finding(
            f"the upgrade says that {bad.name} stopped and {good.name} succeeded",
            upgrade.code == "Faulted"
            and outcomes == {bad.name: "Stopped", good.name: "Succeeded"}
            and bad.name in upgrade.error
            and good.name not in upgrade.error,
            f"it says {upgrade.code}, {outcomes}: {upgrade.error}",
        ),
    ]


def restarted_beside(before: World, after: World, meant: Mapping[str, set[str]]) -> list[str]:
    """Containers that were started anew although nobody meant them, or were not although somebody did."""
    wrong = []
    for name in sorted(before.pods):
        now = after.restarts(name)
        for container, former in before.restarts(name).items():
            more = now.get(container, former) - former
            if more != 0 if name not in meant.get(container, ()) else more < 1:
                wrong.append(f"{container} of {name} {more} times")
    return wrong
