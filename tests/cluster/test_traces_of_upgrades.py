"""The traces of real upgrades, through a real OpenTelemetry Collector: they say what the status says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from builders import a_set, an_image
from operators import Operators
from scene import Scene

from collector import QUICKLY, Collector, Received, collecting
from controlplane import eventually
from goprograms import build_go
from scalesets.kube import times, tracing, upgrade_spans
from scalesets.local.processes import spawn

SOURCE = Path(__file__).resolve().parents[1] / "otelcol"
CONFIGURATION = (
    "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n"
    "exporters: {{otlp_http: {{endpoint: '{url}', sending_queue: {{enabled: false}}}}}}\n"
    "service: {{pipelines: {{traces: {{receivers: [otlp], exporters: [otlp_http]}}}}, "
    "telemetry: {{metrics: {{level: none}}}}}}\n"
)


@pytest.fixture(scope="module")
def otelcol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenTelemetry Collector, with its receiver and its exporter of OTLP."""
    return build_go(SOURCE, tmp_path_factory.mktemp("otelcol"))


@pytest.fixture
def collector(otelcol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """What a real collector hands on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with collecting() as behind:
        configuration = CONFIGURATION.format(port=port, url=behind.url)
        process: Popen[bytes] = spawn(
            [str(otelcol), f"--config=yaml:{configuration}"], log=tmp_path / "otelcol.log", bound=True
        )
        monkeypatch.setenv(tracing.ENDPOINT, f"http://127.0.0.1:{port}")
        for name, value in QUICKLY.items():
            monkeypatch.setenv(name, value)
        try:
            until_listening(port, process, tmp_path / "otelcol.log")
            yield behind
        finally:
            process.kill()
            process.wait()


def until_listening(port: int, process: Popen[bytes], log: Path) -> None:
    def listening() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    eventually(listening, seconds=20, what=f"the collector to listen; {log} tells of it")


def when(span: Received) -> tuple[int, int]:
    return span.start, span.end


def recorded(of: dict[str, Any]) -> tuple[int, int]:
    start, end = (upgrade_spans.nanoseconds(times.parse(of[field])) for field in ("startTime", "completedTime"))
    return start, end


@pytest.mark.timeout(600)  # the collector is compiled, once
async def test_a_good_and_a_bad_upgrade_as_traces(own_operators: Operators, scene: Scene, collector: Collector) -> None:
    operator = own_operators.new().start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    good = await scene.until_ended()
    await scene.publish("ubuntu", "3.0.0", "broken")
    await scene.until_ended(count=2)
    (bad,) = [each for each in scene.upgrades() if each["metadata"]["uid"] != good["metadata"]["uid"]]
    operator.stop()

    traces = {upgrade["metadata"]["uid"].replace("-", ""): upgrade for upgrade in (good, bad)}
    assert {span.trace for span in collector.named("upgrade OSImage")} >= set(traces)  # and of namespaces before
    for trace, upgrade in traces.items():
        spans = [span for span in collector.spans if span.trace == trace]
        (root,) = [span for span in spans if span.name == "upgrade OSImage"]
        batches = [span for span in spans if span.name == "batch"]
        status = upgrade["status"]
        assert when(root) == recorded(status["runningStatus"])
        assert [when(span) for span in batches] == [recorded(batch) for batch in status["batches"]]
        assert [span.attributes["scaleset.ordinals"] for span in batches] == [b["ordinals"] for b in status["batches"]]
        assert {span.parent for span in batches} == {root.id}
        assert all(root.start <= span.start <= span.end <= root.end for span in batches)
        print("\n".join(f"{(s.start - root.start) / 1e9:7.3f} {(s.end - s.start) / 1e9:7.3f} {s.name}" for s in spans))

    roots = {span.trace: span for span in collector.named("upgrade OSImage")}
    (ok, stopped) = (roots[trace] for trace in traces)
    assert not ok.failed and ok.attributes["scaleset.image.version.to"] == "2.0.0"
    assert stopped.failed and stopped.attributes["error.type"] == bad["status"]["error"]["code"]
    (back,) = [span for span in collector.named("roll back") if span.trace == stopped.trace]
    began = times.parse(bad["status"]["batches"][0]["rollBackTime"])
    assert back.start == upgrade_spans.nanoseconds(began)

    looks = collector.named("reconcile scaleset")
    by_look = {span.id: {part.name for part in collector.spans if part.parent == span.id} for span in looks}
    assert len(looks) > 10 and any("decide" in parts for parts in by_look.values())
    assert {"POST pods", "DELETE pods", "PATCH rollingupgrades/status"} <= set().union(*by_look.values())


@pytest.mark.timeout(600)
async def test_a_leader_that_comes_later_tells_the_same(
    own_operators: Operators, scene: Scene, collector: Collector
) -> None:
    first = own_operators.new().start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_ended()
    first.stop()
    second = own_operators.new().start()
    second.stop()

    here = [span for span in collector.spans if span.attributes.get("k8s.namespace.name") == scene.namespace]
    upgrades = [span for span in here if span.name in ("upgrade OSImage", "batch")]
    assert len(upgrades) == 6
    assert len({(span.trace, span.id, span.parent, when(span), span.name) for span in upgrades}) == 3
    assert len({span.service["service.instance.id"] for span in upgrades}) == 2
