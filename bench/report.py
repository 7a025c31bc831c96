"""The bars, and the table that says which were reached."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what it must not exceed."""

    key: str
    what: str
    limit: float
    unit: str = ""


_WIDE = 110

BARS = (
    Bar("os_upgrade_vs_floor", "OS upgrade: wall time over the bare script's", 1.25, "×"),
    Bar("os_upgrade_vs_statefulset", "the same over the StatefulSet's", 0.25, "×"),
    Bar("writes_per_instance", "API writes per upgraded instance, pods only", 2),
    Bar("status_writes_per_batch", "status writes per batch", 4),
    Bar("cpu_ms_per_instance", "operator CPU per upgraded instance", 1.5, "ms"),
    Bar("next_batch_latency_ms_p99", "last Ready to first touch of the next batch, p99", 250, "ms"),
    Bar("sync_10k_cpu_s", "CPU from start until 10,000 instances are known", 5, "s"),
    Bar("idle_writes_per_minute", "writes in a quiet minute, 100 sets × 100", 0),
    Bar("peak_rss_mb", "peak memory there", 250, "MB"),
    Bar("extension_upgrade_vs_floor", "extension upgrade in place: wall time over the bare script's", 1.25, "×"),
    Bar("extension_writes_per_instance", "API writes per instance of it, pods only", 1),
    Bar("decide_10k_ms", "one decision for 10,000 instances", 50, "ms"),
)


def show(console: Console, results: dict[str, float | str]) -> None:
    """Print the bars with what was measured, and the three contestants side by side."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("KEY", "BAR", "MEASURED", ""):
        table.add_column(heading, justify="right" if heading in ("BAR", "MEASURED") else "left", no_wrap=True)
    if console.width >= _WIDE:
        table.add_column("")
    for bar in BARS:
        measured = results.get(bar.key)
        limit = f"≤ {_number(bar.limit)} {bar.unit}".rstrip()
        if isinstance(measured, int | float):
            verdict = Text("ok", "green") if measured <= bar.limit else Text("miss", "bold red")
            shown = f"{_number(measured)} {bar.unit}".rstrip()
        else:
            shown, verdict = "-", Text("not run", "dim")
        row: list[RenderableType] = [bar.key, limit, shown, verdict]
        table.add_row(*row, *([Text(bar.what, "dim")] if console.width >= _WIDE else []))
    console.print(table)
    if "ours_s" in results:
        console.print()
        console.print(_sides(results))
    if "extension_ours_s" in results:
        console.print()
        console.print(_in_place(results))


def _sides(results: dict[str, float | str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), title_justify="left")
    for heading in ("", "SECONDS", "CPU MS EACH", "WRITES EACH", "MOST DOWN"):
        table.add_column(heading, justify="right" if heading else "left")
    names = {"ours": "scaleset-operator", "floor": "bare script", "statefulset": "StatefulSet"}
    for who, name in names.items():
        keys = ("s", "cpu_ms_per_instance", "writes_per_instance", "most_down")
        table.add_row(name, *(_number(results[f"{who}_{key}"]) for key in keys))
    if "statefulset_without_gate_s_per_instance" in results:
        seconds = _number(results["statefulset_without_gate_s_per_instance"])
        down = _number(results["statefulset_without_gate_most_down"])
        table.add_row("StatefulSet as shipped", f"{seconds} each", "", "", down)
    return table


def _in_place(results: dict[str, float | str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("IN PLACE", "SECONDS", "CPU MS EACH", "WRITES EACH"):
        table.add_column(heading, justify="left" if heading == "IN PLACE" else "right")
    rows = (
        ("scaleset-operator", "ours_s", "cpu_ms_per_instance", "writes_per_instance"),
        ("bare script", "floor_s", "floor_cpu_ms_per_instance", ""),
        ("OpenKruise CloneSet", "openkruise_s", "openkruise_cpu_ms_per_instance", "openkruise_writes_per_instance"),
    )
    for name, *keys in rows:
        if f"extension_{keys[0]}" in results:
            table.add_row(name, *(_number(results[f"extension_{key}"]) if key else "1" for key in keys))
    return table


def _number(value: float | str) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value >= 100 or value.is_integer() else f"{value:.3g}"
