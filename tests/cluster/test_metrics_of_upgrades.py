"""The metrics of a real upgrade, and the dashboard's panels over them, by Prometheus' own engine."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from builders import a_set, an_image
from operators import Operators
from prometheus_client.parser import text_string_to_metric_families
from scene import Scene

from goprograms import build_go

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "charts" / "scaleset-operator" / "files" / "dashboards" / "scaleset-operator.json"
SOURCE = ROOT / "tests" / "promql"
VARIABLES = {"$__rate_interval": "2m", "$namespace": ".*", "$name": ".*"}
APART = 15_000
"""Milliseconds between scrapes, as the engine is told: longer than the test takes."""


@pytest.fixture(scope="module")
def promql(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prometheus' engine and storage, in a small program."""
    return build_go(SOURCE, tmp_path_factory.mktemp("promql"))


def queries() -> dict[str, str]:
    """Each panel's expression, with the variables as Grafana would fill them in."""
    found = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression, f"a variable that nobody fills in: {expression}"
            found[panel["title"]] = expression
    return found


def samples(text: str, metric: str, /, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == metric and labels.items() <= sample.labels.items()
    )


async def scrape(port: int) -> str:
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        return await answer.text()


@pytest.mark.timeout(600)  # the engine is compiled, once
async def test_a_good_and_a_bad_upgrade_on_the_dashboard(own_operators: Operators, scene: Scene, promql: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own_operators.new(f"--metrics={port}").start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    scrapes = [await scrape(port)]
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    scrapes.append(await scrape(port))
    await scene.until_ended()
    scrapes.append(await scrape(port))
    await scene.publish("ubuntu", "3.0.0", "broken")
    await scene.until_ended(count=2)
    scrapes.append(await scrape(port))
    text = scrapes[-1]

    completed = {"type": "OSImage", "outcome": "Completed", "started_by": "Platform"}
    assert samples(text, "scalesets_upgrades_total", **completed) == 1
    assert samples(text, "scalesets_upgrades_total", type="OSImage", outcome="Faulted") == 1
    assert samples(text, "scalesets_batches_total", type="OSImage", outcome="Succeeded") == 5
    assert samples(text, "scalesets_instances_upgraded_total", outcome="succeeded") == 5
    assert samples(text, "scalesets_instances_upgraded_total", outcome="rolled_back") == 1
    assert samples(text, "scalesets_instance_health_wait_seconds_count", type="OSImage") >= 5
    mine = {"namespace": scene.namespace, "name": "web"}
    assert samples(text, "scalesets_instances", image_version="2.0.0", health="healthy", **mine) == 5
    assert samples(text, "scalesets_replicas", **mine) == 5
    assert samples(text, "leader_election_master_status") == 1
    assert samples(text, "rest_client_requests_total", method="POST", resource="pods", code="201") >= 10

    start = int(time.time() * 1000) - APART * len(scrapes)
    panels = queries()
    asked = {
        "scrapes": [
            {"time": start + APART * n, "text": each, "labels": {"job": "scaleset-operator-metrics", "pod": "one"}}
            for n, each in enumerate(scrapes)
        ],
        "queries": list(panels.values()),
    }
    done = await asyncio.to_thread(
        subprocess.run, [str(promql)], input=json.dumps(asked), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for title, answer in zip(panels, answers, strict=True):
        print(rendered(title, answer))
        assert "error" not in answer, f"{title}: {answer['error']}"
        assert answer["series"], f"{title}: no data for {answer['query']}"
    shown = {title: answer["series"] for title, answer in zip(panels, answers, strict=True)}
    of_images = [each for each in shown["Ended, by outcome"] if each["labels"]["type"] == "OSImage"]
    assert {e["labels"]["outcome"] for e in of_images if e["value"] > 0} == {"Completed", "Faulted"}, "each the first"
    assert {e["labels"]["image_version"]: e["value"] for e in shown["Instances by version"]} == {"2.0.0": 5}


def rendered(title: str, answer: dict[str, Any]) -> str:
    """The panel for people: `pytest -s` shows the dashboard."""
    lines = [f"\n{title}"]
    for each in answer["series"]:
        words = " ".join(f"{k}={v}" for k, v in sorted(each["labels"].items()) if not re.match(r"__|job|pod", k))
        lines.append(f"  {each['value']:>14.4g}  {words}")
    return "\n".join(lines)
