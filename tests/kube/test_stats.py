"""The figures that the bench reads: what counts as a write, and that they stay small and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.kube import stats
from scalesets.kube.client import Refusal
from scalesets.kube.kinds import EVENTS, LEASES, PODS, SCALE_SETS
from scalesets.kube.stats import Stats

POD: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "a"}}


async def test_what_a_cluster_pays_for_differently_is_counted_apart() -> None:
    async def answer(request: web.Request) -> web.Response:
        return status_object(409, "Conflict", "modified") if request.path.endswith("/status") else json(POD)

    async with serving(answer) as cluster:
        await cluster.create(PODS, "n", POD)
        await cluster.create(PODS, "n", POD, dry_run=True)
        await cluster.create(EVENTS, "n", POD)
        await cluster.replace(LEASES, "n", "l", POD)
        await cluster.delete(PODS, "n", "a", uid="u")
        with pytest.raises(Refusal):
            await cluster.write_status(SCALE_SETS, "n", "web", {}, version="1")
        told = cluster.stats.figures()
    assert told["writes"] == {"POST pods": 1, "DELETE pods": 1}
    assert told["writes_apart"] == {"POST pods": 1, "POST events": 1, "PUT leases": 1}
    assert told["failed_requests"] == {"409 PATCH scalesets/status": 1}


def test_a_series_says_how_it_is_spread_and_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_SAMPLES", 100)
    figures = Stats()
    for number in range(1, 251):
        figures.sample("decide", float(number))
    told = figures.figures()["milliseconds"]["decide"]  # type: ignore[index]
    assert told["count"] == 250
    assert (told["p50"], told["p99"], told["max"]) == (201.0, 250.0, 250.0), "the last hundred: 151 to 250"
    assert len(told["last"]) == 100


def test_the_first_moment_of_a_name_counts() -> None:
    figures = Stats()
    figures.mark("synced")
    first = dict(figures.marks["synced"])
    figures.mark("synced")
    assert figures.marks["synced"] == first
    assert first["rss_mb"] > 1


def test_they_are_written_whole(tmp_path: Path) -> None:
    figures, path = Stats(), tmp_path / "figures.json"
    figures.next_batch_touched(0.0)
    for _ in range(2):
        figures.dump(path)
    assert orjson.loads(path.read_bytes())["milliseconds"]["next_batch_latency"]["count"] == 1
    assert list(tmp_path.iterdir()) == [path]
