"""``plan``: a row per batch, under a sentence that says what would be done and how."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.render.shapes import table
from scalesets.cli.views.plan import PlanView
from scalesets.cli.views.upgrades import TYPE_WORDS

NAMES = 6


def render(view: PlanView, *, wide: bool = False) -> RenderableType:
    """The plan."""
    source = (
        f"{words.listing(view.from_versions, limit=2)} -> " if view.from_versions and view.type == "OSImage" else ""
    )
    kind = view.reference.removesuffix(view.name).replace("/", " ")
    subject = view.upgrade or f"{TYPE_WORDS[view.type]} of {kind}{view.namespace}/{view.name}"
    title = Text.assemble(
        (subject, "bold"), f", by {view.started_by}: ", f"{source}{view.target}" if view.target else ""
    )
    if not view.batches:
        left = "nothing is left to begin" if view.upgrade else f"nothing to do{_everybody(view)}"
        why = [Text(words.upper_first(view.blocked), style="yellow")] if view.blocked else []
        return Group(title, Text(left), *why, *_left_out(view))
    parts: list[RenderableType] = [title, Text(_sentence(view)), Text()]
    zoned = any(batch.zone for batch in view.batches)
    in_place = any(batch.extension for batch in view.batches)
    cell = [*(["EXTENSION"] if in_place else []), *(["ZONE"] if zoned else []), "DOMAIN"]
    grid = table("BATCH", *cell, "COUNT", "INSTANCES", right=("COUNT",), wide=wide)
    for batch in view.batches:
        names = ", ".join(batch.instances) if wide else words.listing(batch.instances, limit=NAMES)
        zone = [batch.zone or "all"] if zoned else []
        cell = [*([batch.extension] if in_place else []), *zone, str(batch.update_domain)]
        grid.add_row(str(batch.number), *cell, str(len(batch.instances)), names)
    parts.append(grid)
    if view.order:
        parts.append(Text(view.order))
    if view.blocked:
        held = "It would not go on now" if view.upgrade else "It does not begin by itself now"
        parts.append(Text(f"{held}: {view.blocked}", style="yellow"))
    return Group(*parts, *_left_out(view))


def _sentence(view: PlanView) -> str:
    failed = "one that fails is put back" if view.rolls_back else "one that fails stays"
    pause = f", {words.span(view.pause)} between batches" if view.pause else ""
    amount = f"{words.count(view.instances, view.noun)} in {words.count(len(view.batches), 'batch', 'batches')}"
    limit = f"of at most {view.batch_limit}{pause}"
    return f"{amount} {limit}; each has {words.span(view.health_timeout)} to become healthy, {failed}"


def _everybody(view: PlanView) -> str:
    if view.blocked:
        return " by itself"
    if view.left_out:
        return ", all others are on it"
    return f", all {view.replicas} are on it" if view.replicas > 1 else ", it is there already"


def _left_out(view: PlanView) -> list[RenderableType]:
    by_reason: dict[str, list[str]] = {}
    for one in view.left_out:
        by_reason.setdefault(one.reason, []).append(one.instance)
    return [Text(f"Left out: {words.listing(names)}: {reason}") for reason, names in by_reason.items()]
