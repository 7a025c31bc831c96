"""A collector of traces on loopback: what an OTLP/HTTP endpoint does, with the protocol's own messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from controlplane import eventually


@dataclass(frozen=True)
class Received:
    """One span, as it came over the wire."""

    service: dict[str, Any]
    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    failed: bool
    message: str


QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
"""Milliseconds until what waits is sent; five seconds otherwise."""


@dataclass
class Collector:
    """What came in; ``status`` is what it answers, when ``answers`` is set."""

    url: str = ""
    status: int = 200
    answers: threading.Event = field(default_factory=threading.Event)
    tries: int = 0
    spans: list[Received] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def until(self, count: int, name: str = "", *, seconds: float = 20) -> list[Received]:
        """Wait for so many spans (of this name)."""

        def came() -> list[Received]:
            found = self.named(name) if name else list(self.spans)
            return found if len(found) >= count else []

        return eventually(came, seconds=seconds, what=f"{count} spans {name}")


def _plain(value: Any) -> Any:
    which = value.WhichOneof("value")
    return [_plain(each) for each in value.array_value.values] if which == "array_value" else getattr(value, which)


def _read(body: bytes) -> Iterator[Received]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = {each.key: _plain(each.value) for each in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Received(
                    service=service,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    kind=span.kind,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes={each.key: _plain(each.value) for each in span.attributes},
                    failed=span.status.code == 2,
                    message=span.status.message,
                )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for a while."""
    collector = Collector()
    collector.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.tries += 1
            collector.answers.wait(30)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if collector.status == 200:
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.spans += _read(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(collector.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        collector.answers.set()
        server.shutdown()
        server.server_close()
