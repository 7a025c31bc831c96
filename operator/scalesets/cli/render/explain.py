"""``explain``: the verdict, then a line per finding with its cure below it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.views.explain import ExplainView
from scalesets.cli.views.findings import Weight

# Marks that also exist in ASCII; the colours only underline them.
MARKS = {
    Weight.BLOCKS: ("x", "bold red"),
    Weight.WAITS: ("~", "yellow"),
    Weight.WORKS: (">", "green"),
    Weight.NOTE: ("-", "cyan"),
    Weight.FINE: ("+", "green"),
}


def render(view: ExplainView) -> RenderableType:
    """The findings."""
    heaviest = view.findings[0].weight if view.findings else Weight.FINE
    title = Text.assemble(
        (f"{_kind(view)}{view.namespace}/{view.name}: ", "bold"), (f"{view.verdict}.", MARKS[heaviest][1])
    )
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in view.findings:
        mark, style = MARKS[finding.weight]
        told = Text(words.upper_first(finding.message), style="" if finding.weight is not Weight.FINE else "dim")
        grid.add_row(Text(mark, style=style), told)
        if finding.cure:
            cure = Table.grid(padding=(0, 1, 0, 0))
            cure.add_row("->", finding.cure, style="bold")
            grid.add_row("", cure)
    parts: list[RenderableType] = [title, Text(), grid]
    if view.unread:
        parts.append(Text(f"Not looked at, for you may not read them: {words.listing(view.unread)}", style="dim"))
    return Group(*parts)


def _kind(view: ExplainView) -> str:
    return view.reference.removesuffix(view.name).replace("/", " ")
