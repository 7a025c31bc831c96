"""OpenTelemetry traces, for who asks for them (docs/reference/traces.md): of each upgrade, and of the operator's looks.

Nothing of OpenTelemetry is imported here: whether it is wanted is read from the variables that its specification
names, and otlp.py does the sending. Without them every call is next to nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Protocol
from urllib.parse import urlsplit

from scalesets.kube.names import Raw
from scalesets.kube.queue import Again
from scalesets.kube.upgrade_spans import Attributes
from scalesets.kube.work import Work

Look = Callable[[Work], Awaitable[Again]]

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
EXPORTER = "OTEL_TRACES_EXPORTER"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_DEFAULT_ENDPOINT = "http://localhost:4318"


class CannotTrace(Exception):  # noqa: N818
    """Traces are asked for and can't be had; the message says what to do."""


class Part(Protocol):
    """A look under way, or whatever else has parts that take time."""

    def had(self, name: str, *, seconds: float, attributes: Attributes, error: str = "", request: bool = False) -> None:
        """Something of it is over now, and took so long."""


_part_of: ContextVar[tuple[Part, int] | None] = ContextVar("part_of", default=None)
"""What the running task belongs to, and how often its request failed before."""


class Traces:
    """Where traces are told. This one tells nobody."""

    def followed(self, look: Look) -> Look:
        """The same look, traced."""
        return look

    def lead(self, upgrades: Iterable[Raw]) -> None:
        """This process leads from now on: it tells of upgrades, these that ended just now among them."""

    def upgrade_changed(self, before: Raw | None, after: Raw | None) -> None:
        """A RollingUpgrade was stored anew, or is gone."""

    async def close(self) -> None:
        """Send what waits, within a few seconds."""


OFF = Traces()


def endpoint(environment: Mapping[str, str]) -> str:
    """Where traces go; empty when nobody asked for any. CannotTrace when what was asked for isn't there.

    An endpoint switches them on, or ``OTEL_TRACES_EXPORTER=otlp``; the other variables only switch off.
    """
    exporters = {each.strip().lower() for each in environment.get(EXPORTER, "").split(",")} - {""}
    named = environment.get(TRACES_ENDPOINT) or environment.get(ENDPOINT)
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or "none" in exporters:
        return ""
    if environment.get("OTEL_TRACES_SAMPLER", "").strip().lower() in ("always_off", "parentbased_always_off"):
        return ""
    if not named and "otlp" not in exporters:
        return ""
    if unknown := sorted(exporters - {"otlp"}):
        raise CannotTrace(f"{EXPORTER}={','.join(unknown)}: there is only otlp, and none")
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise CannotTrace(
            f"traces are sent by http/protobuf only, and {' or '.join(_PROTOCOLS)} says {protocol}: set "
            f"{_PROTOCOLS[0]}=http/protobuf, and the endpoint to the collector's port for it (mostly 4318)"
        )
    where = environment.get(TRACES_ENDPOINT) or f"{(named or _DEFAULT_ENDPOINT).removesuffix('/')}/v1/traces"
    if not _is_url(where):
        raise CannotTrace(f"the endpoint of traces, {named!r}, is no URL like {_DEFAULT_ENDPOINT}")
    return where


def _is_url(where: str) -> bool:
    try:
        parts = urlsplit(where)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check(environment: Mapping[str, str]) -> str:
    """As ``endpoint``, fit to be shown; and CannotTrace when the packages are missing."""
    where = _without_password(endpoint(environment))
    if where and not _installed():
        raise CannotTrace(
            f"traces are to go to {where}, but the packages for it aren't installed: install "
            f"scaleset-operator[tracing] (the operator's image has it), or unset {ENDPOINT} and {TRACES_ENDPOINT}"
        )
    return where


def _without_password(where: str) -> str:
    parts = urlsplit(where)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _installed() -> bool:
    try:
        return all(
            find_spec(name) is not None
            for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
        )
    except ModuleNotFoundError:
        return False


def start(environment: Mapping[str, str], *, instance: str) -> Traces:
    """Traces as the environment wants them, ``instance`` being this process. Raises CannotTrace."""
    where = check(environment)
    if not where:
        return OFF
    from scalesets.kube import otlp  # a sixth of a second, and only an extra

    return otlp.Sending(where, instance=instance)


# -- within a look -----------------------------------------------------------------------------------------------------


def part_of() -> Part | None:
    """What the running task belongs to."""
    found = _part_of.get()
    return found[0] if found is not None else None


def belong_to(part: Part | None, *, failures: int = 0) -> None:
    """The running task belongs to this, for its rest. A task that is started later may belong to another's look."""
    _part_of.set((part, failures) if part is not None else None)


def decided(seconds: float) -> None:
    """A decision was made."""
    if (part := part_of()) is not None:
        part.had("decide", seconds=seconds, attributes={})


def requested(method: str, resource: str, path: str, code: int, seconds: float) -> None:
    """A request to the API server was answered; code 0 when it wasn't."""
    found = _part_of.get()
    if found is None:
        return
    part, failures = found
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.path": path.partition("?")[0],
        "scaleset.api.resource": resource,
    }
    if code:
        attributes["http.response.status_code"] = code
    if failures:
        attributes["http.request.resend_count"] = failures
    error = "" if 0 < code < 400 else str(code or "no answer")
    if error:
        attributes["error.type"] = error
    part.had(f"{method} {resource}", seconds=seconds, attributes=attributes, error=error, request=True)
