"""`make bench`: measure all in one go, write bench/results/latest.json, and print the table (bench/README.md)."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

import decisions
import fleet
import in_place
import kruise_program
import latency
import machines
import report
import upgrades
from plane import a_plane
from scalesets.local.binaries import find_binaries
from scalesets.local.errors import LocalError
from scalesets.local.progress import progress_for
from scalesets.local.versions import KUBERNETES

RESULTS = Path(__file__).parent / "results" / "latest.json"


class Part(Enum):
    """What can be measured by itself."""

    UPGRADE = "upgrade"
    LATENCY = "latency"
    AS_SHIPPED = "as-shipped"
    FLEET = "fleet"
    EXTENSION = "extension"
    OPENKRUISE = "openkruise"
    MACHINES = "machines"
    DECIDE = "decide"


def main(
    only: Annotated[list[Part] | None, typer.Option(help="Measure only this; may be repeated.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Upgrades of each of the three.")] = 3,
    instances: Annotated[int, typer.Option(min=20, help="Instances of each of the three sets.")] = 1000,
    results: Annotated[Path, typer.Option(help="Where the figures go.")] = RESULTS,
) -> None:
    """Measure the operator beside a bare script and a StatefulSet, on a control plane of its own."""
    parts = only or list(Part)
    console = Console(highlight=False)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {text}")

    progress = progress_for(console)
    binaries = find_binaries(progress)
    told: dict[str, float | str] = {**circumstances()}
    if Part.DECIDE in parts:
        told |= decisions.measure(10_000, rounds=100)
        say(f"one decision for 10,000 instances: {told['decide_10k_ms']:.1f} ms")
    gaps: list[float] = []
    if Part.UPGRADE in parts or Part.LATENCY in parts:
        with a_plane(binaries) as plane:
            say("the control plane is ready")
            if Part.UPGRADE in parts:
                compared, gaps = asyncio.run(upgrades.measure(plane, instances, runs, say))
                told |= compared
            if Part.LATENCY in parts:
                gaps += asyncio.run(latency.measure(plane, instances, say))
    if Part.EXTENSION in parts or Part.OPENKRUISE in parts:
        kruise = None
        if Part.OPENKRUISE in parts:
            try:
                kruise = kruise_program.find(progress)
                told["openkruise"] = kruise_program.version()
            except LocalError as why:
                say(f"OpenKruise is left out, its kruise-manager could not be built: {why}")
        with a_plane(binaries) as plane:
            told |= asyncio.run(in_place.measure(plane, instances, runs, say, kruise))
    if Part.MACHINES in parts:
        with a_plane(binaries) as plane:
            told |= asyncio.run(machines.measure(plane, runs, say))
    if Part.AS_SHIPPED in parts:
        with a_plane(binaries, gates=()) as plane:
            told |= asyncio.run(upgrades.measure_as_shipped(plane, say))
    if gaps:
        told["next_batch_latency_ms_p99"] = latency.percentile(gaps, 0.99)
        told["next_batch_latency_ms_p50"] = latency.percentile(gaps, 0.5)
        told["next_batch_latency_samples"] = len(gaps)
    if Part.FLEET in parts:
        with a_plane(binaries) as plane:
            told |= asyncio.run(fleet.measure(plane, say))
    told["bench_s"] = time.monotonic() - began
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    console.print()
    report.show(console, told)
    console.print(
        f"\n{told['bench_s']:.0f} s in all, load average {told['load_before']} before; every figure is in {results}"
    )


def circumstances() -> dict[str, float | str]:
    """When, where and of what: figures mean nothing without."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_model": _cpu_model(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "kubernetes": KUBERNETES,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
