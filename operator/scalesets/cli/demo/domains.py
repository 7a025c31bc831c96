"""What an upgrade of an availability set leaves behind, seen from outside: its machines are worked on one update domain
after the other, and none is restarted (E5c, E9).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from scalesets.cli.demo.evidence import Finding, Witness, World, is_ready
from scalesets.cli.demo.in_place import Agent, restarted_beside
from scalesets.cli.fields import label
from scalesets.cli.views.upgrades import UpgradeView
from scalesets.kube.names import LABEL_UPDATE_DOMAIN


def of_machines(
    upgrade: UpgradeView, agent: Agent, places: Mapping[int, str], before: World, after: World, witness: Witness
) -> list[Finding]:
    """What an upgrade of one extension of all machines should have left; ``places`` are the machines' names."""
    everyone = before.pods.keys()
    domains = {name: label(pod, LABEL_UPDATE_DOMAIN) for name, pod in after.pods.items()}
    batches = [{places.get(o, "") for o in batch.members} for batch in upgrade.batches]
    visited = [{domains.get(name, "") for name in members} for members in batches]
    there = set(after.with_extension(agent.name, agent.to))
    ready = {name for name, pod in after.pods.items() if is_ready(pod)}
    largest = max(map(len, batches), default=0)
    another = sorted(name for name in everyone if before.uid(name) != after.uid(name))
    wrong = restarted_beside(before, after, {agent.name: set(everyone)})
    return [
        Finding(
            f"{agent.name} is on {agent.to} on all {len(everyone)} machines, and all are Ready",
            there == everyone == ready and upgrade.code == "Completed",
            f"{len(there)} are on it, {len(ready)} are Ready, the upgrade says {upgrade.code} {upgrade.error}",
        ),
        Finding(
            f"{len(batches)} batches, each one update domain whole: {_listed(batches)}",
            len(visited) == len(set(domains.values())) > 1
            and all(len(found) == 1 for found in visited)
            and set().union(*batches) == everyone,
            f"their update domains are {visited}",
        ),
        Finding(
            f"never machines of two update domains at once: the first was done with before the next, {largest} at most",
            _one_by_one(upgrade) and witness.most_unready <= largest < len(everyone),
            f"{witness.most_unready} were not Ready at once; {[(b.started, b.completed) for b in upgrade.batches]}",
        ),
        Finding(
            f"no machine was restarted, and of their containers only {agent.name}, once each",
            not another and not witness.touched and not wrong,
            "; ".join([*another, *sorted(witness.touched), *wrong]),
        ),
    ]


def _one_by_one(upgrade: UpgradeView) -> bool:
    """Whether each batch was judged before the next one began."""
    return all(
        former.completed is not None and following.started is not None and former.completed <= following.started
        for former, following in itertools.pairwise(upgrade.batches)
    )


def _listed(batches: list[set[str]]) -> str:
    return ", then ".join(" and ".join(sorted(members)) for members in batches)
