"""A container of a simulated pod: what its pod's spec says of it, and how it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from scalesets.local.machines.faults import Mode
from scalesets.local.machines.references import Reference, of_variables, of_volumes

JsonObject = dict[str, Any]

CREATING = "ContainerCreating"
CONFIG_ERROR = "CreateContainerConfigError"
_DEFAULT_PERIOD = 10.0
_FALSE_READY_WITHOUT_PROBES = 1.0
_MAIN = "os"


class Kind(Enum):
    """What a container is to its pod."""

    INIT = auto()
    SIDECAR = auto()
    MAIN = auto()


class State(Enum):
    """As in a container's status."""

    WAITING = auto()
    RUNNING = auto()
    TERMINATED = auto()


class Step(Enum):
    """What comes next for a container, when its time has come."""

    START = auto()
    READY = auto()
    COMPLETE = auto()
    RESTART = auto()
    TRUTH = auto()


@dataclass(slots=True)
class Ended:
    """How a former container of this name ended."""

    container_id: str
    exit_code: int
    started_at: float
    finished_at: float


@dataclass(slots=True)
class Container:
    """One container of a pod: what it is, and how it stands."""

    name: str
    kind: Kind
    image: str
    main: bool
    startup_budget: float | None
    """How long its start-up probe may fail; None without one."""
    false_ready_seconds: float
    initial_delay: float
    variables: tuple[Reference, ...] = ()
    """What its variables come from."""
    volumes: tuple[Reference, ...] = ()
    """What is mounted before the first container of the pod starts."""
    asking: bool = False
    """Its machine looks whether they are there; nothing happens to it until `told`."""
    may_start: bool = False
    """They were, just now."""
    state: State = State.WAITING
    reason: str = CREATING
    message: str = ""
    container_id: str = ""
    started_at: float = 0.0
    probed_at: float | None = None
    """When its start-up probe succeeds, or did; None: it doesn't, as things are."""
    started: bool = False
    ready: bool = False
    restarts: int = 0
    crashes: int = 0
    ended: Ended | None = None
    mode: Mode = Mode.GOOD
    step: Step | None = None
    due: float = 0.0
    next_image: str = ""
    patch_due: float = 0.0
    """When the machine takes note of `next_image`."""

    def plan(self, step: Step | None, due: float = 0.0) -> None:
        """Set what comes next."""
        self.step, self.due = step, due

    @property
    def replace_due(self) -> float | None:
        """When a patched image replaces this one: a sidecar's start-up probe has its end first, one way or the other.

        The kubelet goes by the probe's own result, so a container that is only reported as started waits too.
        """
        if not self.next_image:
            return None
        if self.kind is not Kind.SIDECAR or self.state is not State.RUNNING or self.startup_budget is None:
            return self.patch_due
        given_up = self.started_at + self.startup_budget
        return max(self.patch_due, given_up if self.probed_at is None else min(given_up, self.probed_at))

    @property
    def next_due(self) -> float | None:
        """When something happens to it next; None: nothing does by itself."""
        if self.asking:
            return None
        times = [self.due] if self.step is not None else []
        if (replaced := self.replace_due) is not None:
            times.append(replaced)
        return min(times, default=None)

    @property
    def untouched(self) -> bool:
        """Whether nothing was tried with it yet."""
        return self.state is State.WAITING and self.reason == CREATING and self.ended is None

    @property
    def done(self) -> bool:
        """Whether the next init container may start."""
        if self.kind is Kind.INIT:
            return self.state is State.TERMINATED and self.ended is not None and self.ended.exit_code == 0
        return self.started


def containers_of(spec: JsonObject) -> Iterator[Container]:
    """Return a pod's containers in the order of their start."""
    volumes = tuple(of_volumes(spec))
    for body in spec.get("initContainers") or ():
        kind = Kind.SIDECAR if body.get("restartPolicy") == "Always" else Kind.INIT
        yield _container(body, kind, main=False, volumes=volumes)
    named = any(body["name"] == _MAIN for body in spec["containers"])
    for index, body in enumerate(spec["containers"]):
        main = body["name"] == _MAIN if named else index == 0
        yield _container(body, Kind.MAIN, main=main, volumes=volumes)


def _container(body: JsonObject, kind: Kind, *, main: bool, volumes: tuple[Reference, ...]) -> Container:
    startup, readiness = body.get("startupProbe"), body.get("readinessProbe")
    probe = startup or readiness
    return Container(
        name=body["name"],
        kind=kind,
        image=body["image"],
        main=main,
        startup_budget=_budget(startup) if startup else None,
        false_ready_seconds=_period(probe) if probe else _FALSE_READY_WITHOUT_PROBES,
        initial_delay=max((each.get("initialDelaySeconds") or 0 for each in (startup, readiness) if each), default=0),
        variables=tuple(of_variables(body)),
        volumes=volumes,
    )


def _period(probe: JsonObject) -> float:
    return float(probe.get("periodSeconds") or _DEFAULT_PERIOD)


def _budget(probe: JsonObject) -> float:
    return float(probe.get("initialDelaySeconds") or 0) + _period(probe) * (probe.get("failureThreshold") or 3)
