"""The life of one pod on a simulated machine, pure: its status at a time, and when it changes next.

What a kubelet does is played as it is seen from outside (docs/rules.md, "Health"):

- Init containers run one after the other; a native sidecar holds the next one back until it has started. Each takes a
  boot time, and so do the containers, which start together. A container without a readiness probe is ready when
  started.
- An image that is patched restarts that container alone: its old status stays for 0 to 2 s, then a new container ID
  is reported started and ready for one period of its start-up probe whatever the truth, then the truth. A patch of a
  sidecar whose start-up probe has neither succeeded nor used up its budget waits for that; one that is taken back
  before anybody took note of it never was.
- A container that crashes is started again with a back-off that doubles; a changed image starts at once.
- A container that needs a Secret or ConfigMap starts when that is there (references.py): its machine is asked at each
  start (`questions`) and tells (`told`).

Times are seconds since the epoch, passed in by the caller, who also draws the random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from scalesets.local.machines.containers import CONFIG_ERROR, Container, Ended, Kind, State, Step, containers_of
from scalesets.local.machines.faults import Mode
from scalesets.local.machines.references import Reference
from scalesets.local.machines.statuses import (
    condition,
    container_status,
    container_statuses,
    parse_time,
    restore,
    time_text,
)

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How fast things go; draws are seeded by the process."""

    boot: Callable[[], float]
    patch_delay: Callable[[], float]
    slow_seconds: float
    crash_backoff_seconds: float = 1.0
    crash_backoff_limit: float = 60.0
    config_retry_seconds: float = 2.0


class Pod:
    """A pod on one of our machines, from the time it is bound until it is gone. Known by its UID."""

    __slots__ = (
        "changed_at",
        "containers",
        "failed",
        "gates",
        "gates_open",
        "generation",
        "ip",
        "labels",
        "mode_of",
        "name",
        "namespace",
        "node",
        "node_ip",
        "questions",
        "ready_since",
        "restarts_containers",
        "since",
        "tempo",
        "uid",
        "was_initialized",
        "was_ready",
    )

    def __init__(
        self,
        body: JsonObject,
        *,
        now: float,
        ip: str,
        node_ip: str,
        tempo: Tempo,
        mode_of: Callable[[Pod, Container], Mode],
    ) -> None:
        """Take a pod over: a new one boots, one that ran before goes on as its status says."""
        metadata, spec = body["metadata"], body["spec"]
        self.uid: str = metadata["uid"]
        self.namespace: str = metadata["namespace"]
        self.name: str = metadata["name"]
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.generation: int = metadata.get("generation", 0)
        self.node: str = spec["nodeName"]
        self.node_ip = node_ip
        self.ip = ip
        self.tempo = tempo
        self.mode_of = mode_of
        self.restarts_containers: bool = spec.get("restartPolicy", "Always") != "Never"
        self.gates: list[str] = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
        self.containers = list(containers_of(spec))
        self.questions: list[Container] = []
        """Containers that wait for the machine to look for what they need."""
        self.failed = False
        self.gates_open = not self.gates
        self.since = now
        self.was_ready: bool | None = None
        self.was_initialized: bool | None = None
        self.ready_since = self.changed_at = now
        status = body.get("status") or {}
        if status.get("containerStatuses"):
            self._adopt(status, now)
            self.react(now)
        if not self.failed:
            self._start_next(now)

    # What the world asks.

    @property
    def next_due(self) -> float | None:
        """When something happens by itself next; None: nothing does."""
        return min((due for each in self.containers if (due := each.next_due) is not None), default=None)

    @property
    def ready(self) -> bool:
        """Whether every container that counts is ready, and every readiness gate open."""
        return self.gates_open and self._containers_ready

    @property
    def _containers_ready(self) -> bool:
        return not self.failed and all(
            container.ready for container in self.containers if container.kind is not Kind.INIT
        )

    def advance(self, now: float) -> bool:
        """Let happen what is due; says whether anything did."""
        changed = False
        while not self.failed:
            due = [each for each in self.containers if (time := each.next_due) is not None and time <= now]
            if not due:
                break
            changed = True
            for container in due:
                replaced = container.replace_due
                if replaced is not None and (container.step is None or replaced <= container.due):
                    self._replace(container, now)
                else:
                    self._take_step(container, now)
        return changed

    def told(self, container: Container, now: float, *, unmounted: str = "", missing: str = "") -> bool:
        """Take note of what the machine found; says whether it changes the status.

        `unmounted` and `missing` say what keeps the pod from being set up, and the container from being made.
        """
        container.asking = False
        if self.failed:
            return False
        if not (unmounted or missing):
            container.may_start = True
            if not container.next_image:
                container.plan(Step.START, now)
            return False
        container.plan(Step.START, now + self.tempo.config_retry_seconds)
        if unmounted:
            return False
        before = (container.state, container.reason, container.message, container.image)
        if container.next_image:
            container.image, container.next_image, container.crashes = container.next_image, "", 0
        if container.state is State.RUNNING:
            self._end(container, 0, now)
        self._wait(container, CONFIG_ERROR)
        container.message = missing
        container.plan(Step.START, now + self.tempo.config_retry_seconds)
        return before != (container.state, container.reason, container.message, container.image)

    def see_conditions(self, conditions: Iterable[JsonObject]) -> None:
        """Take note of the conditions that others write: readiness gates."""
        if self.gates:
            true = {each["type"] for each in conditions if each["status"] == "True"}
            self.gates_open = true.issuperset(self.gates)

    def set_image(self, name: str, image: str, now: float) -> None:
        """Take note of an image patched in place."""
        container = next((each for each in self.containers if each.name == name), None)
        if self.failed or container is None or image == (container.next_image or container.image):
            return
        if container.untouched or container.kind is Kind.INIT:
            container.image = image
        elif image == container.image:
            container.next_image = ""
        else:
            if not container.next_image:
                container.patch_due = now + self.tempo.patch_delay()
            container.next_image = image

    def react(self, now: float) -> bool:
        """Follow a change of the rules; says whether anything follows, now or later."""
        if self.failed:
            return False
        changed = False
        for container in self.containers:
            mode = self.mode_of(self, container)
            if mode is Mode.STOP:
                self._fail(now)
                return True
            decides_later = container.untouched or container.step in (Step.START, Step.TRUTH)
            if mode is not container.mode and not decides_later:
                container.mode = mode
                changed |= self._change_mode(container, mode, now)
        return changed

    # How a container's life goes.

    def _start_next(self, now: float) -> None:
        """Plan the start of the next init container that waits, or of all containers."""
        for container in self.containers:
            if container.kind is not Kind.MAIN and not container.done:
                if container.untouched and container.step is None:
                    container.plan(Step.START, now + self.tempo.boot())
                return
        waiting = [each for each in self.containers if each.untouched and each.step is None]
        if waiting:
            due = now + self.tempo.boot()
            for container in waiting:
                container.plan(Step.START, due)

    def _take_step(self, container: Container, now: float) -> None:
        step, container.step = container.step, None
        match step:
            case Step.START:
                self._start(container, now)
            case Step.RESTART:
                if container.state is State.RUNNING:
                    self._end(container, 137, now)
                self._start(container, now)
            case Step.READY:
                self._succeed(container, now)
            case Step.COMPLETE:
                self._end(container, 0, now)
                container.state, container.ready, container.started = State.TERMINATED, True, False
                self._start_next(now)
            case Step.TRUTH:
                container.mode = mode = self.mode_of(self, container)
                if mode is Mode.STOP:
                    self._fail(now)
                elif mode is Mode.CRASH:
                    self._crash(container, now)
                else:
                    self._run(container, mode, now)

    def _must_ask(self, container: Container) -> bool:
        """Whether the machine has to look first for what the container needs."""
        if container.may_start or not (container.variables or self.mounts(container)):
            container.may_start = False
            return False
        container.asking = True
        self.questions.append(container)
        return True

    def mounts(self, container: Container) -> tuple[Reference, ...]:
        """What is mounted for the pod before its first container starts."""
        return () if any(each.container_id for each in self.containers) else container.volumes

    def _start(self, container: Container, now: float) -> None:
        if self._must_ask(container):
            return
        container.mode = mode = self.mode_of(self, container)
        if mode is Mode.STOP:
            self._fail(now)
        elif mode is Mode.MISSING:
            self._wait(container, "ImagePullBackOff")
        elif mode is Mode.CRASH:
            self._crash(container, now)
        else:
            self._begin(container, now)
            self._run(container, mode, now)

    def _begin(self, container: Container, now: float) -> None:
        container.state, container.reason = State.RUNNING, ""
        container.restarts += bool(container.container_id)
        container.container_id = f"simulated://{self.uid}-{container.name}-{container.restarts}"
        container.started_at, container.probed_at = now, None
        container.started = container.ready = False

    def _run(self, container: Container, mode: Mode, now: float) -> None:
        """Show what a running container's probes say."""
        good = mode in (Mode.GOOD, Mode.SLOW)
        late = self.tempo.slow_seconds if mode is Mode.SLOW else 0.0
        if container.kind is Kind.INIT:
            if good:
                container.plan(Step.COMPLETE, now + self.tempo.boot() + late)
            return
        delay = max(0.0, container.started_at + container.initial_delay - now) + late
        if good and delay <= 0:
            self._succeed(container, now)
            return
        container.ready = False
        container.started = container.startup_budget is None
        if good:
            container.probed_at = now + delay
            container.plan(Step.READY, container.probed_at)
        elif container.startup_budget is not None:
            container.plan(Step.RESTART, container.started_at + container.startup_budget)
        if container.started:
            self._start_next(now)

    def _succeed(self, container: Container, now: float) -> None:
        container.started = container.ready = True
        container.probed_at = now
        self._start_next(now)

    def _replace(self, container: Container, now: float) -> None:
        if self._must_ask(container):
            return
        container.image, container.next_image = container.next_image, ""
        container.crashes = 0
        container.plan(None)
        if container.state is State.RUNNING:
            self._end(container, 0, now)
        container.mode = mode = self.mode_of(self, container)
        if mode is Mode.MISSING:
            self._wait(container, "ImagePullBackOff")  # its former container's ID and count stay: there is no new one
            return
        if mode in (Mode.STOP, Mode.CRASH) or container.ended is None:
            self._start(container, now)
            return
        self._begin(container, now)
        container.started = container.ready = True  # falsely, or not: the probes have not spoken yet
        told = now + container.false_ready_seconds
        if mode is Mode.GOOD:
            container.probed_at = told
        else:
            container.plan(Step.TRUTH, told)
        self._start_next(now)

    def _crash(self, container: Container, now: float) -> None:
        if container.state is not State.RUNNING:
            self._begin(container, now)
        self._end(container, 1, now)
        if not self.restarts_containers:
            self._fail(now)
            return
        self._wait(container, "CrashLoopBackOff")
        backoff = self.tempo.crash_backoff_seconds * 2**container.crashes
        container.crashes = min(container.crashes + 1, 30)
        container.plan(Step.RESTART, now + min(backoff, self.tempo.crash_backoff_limit))

    def _wait(self, container: Container, reason: str) -> None:
        container.state, container.reason = State.WAITING, reason
        container.started = container.ready = False
        container.plan(None)

    def _end(self, container: Container, exit_code: int, now: float) -> None:
        container.ended = Ended(container.container_id, exit_code, container.started_at, now)

    def _fail(self, now: float) -> None:
        """Power off: every container ends, and the pod with them, for good."""
        self.failed = True
        for container in self.containers:
            container.plan(None)
            container.next_image = ""
            container.ready = container.started = False
            if container.state is State.RUNNING:
                self._end(container, 137, now)
            if container.ended is not None:
                container.state = State.TERMINATED

    def _change_mode(self, container: Container, mode: Mode, now: float) -> bool:
        running = container.state is State.RUNNING
        if mode is Mode.CRASH and running:
            self._crash(container, now)
        elif mode is Mode.UNREADY and running and container.kind is not Kind.INIT:
            container.ready = False
            container.plan(None)
        elif mode is Mode.NEVER_READY and running and not container.ready:
            container.probed_at = None
            container.plan(None)
            if not container.started and container.startup_budget is not None:
                container.plan(Step.RESTART, container.started_at + container.startup_budget)
        elif mode is Mode.GOOD and running and not container.ready and container.kind is not Kind.INIT:
            container.probed_at = now + self.tempo.boot()
            container.plan(Step.READY, container.probed_at)
        elif mode is Mode.GOOD and running and container.kind is Kind.INIT:
            container.plan(Step.COMPLETE, now + self.tempo.boot())
        elif mode is Mode.GOOD and container.state is State.WAITING:
            container.plan(Step.START, now + self.tempo.boot())
        else:
            return False
        return True

    def _adopt(self, status: JsonObject, now: float) -> None:
        """Go on with a pod as its status says: the machines were started again."""
        self.since = parse_time(status.get("startTime")) or now
        self.ip = status.get("podIP") or self.ip
        self.failed = status.get("phase") in ("Failed", "Succeeded")
        for each in status.get("conditions") or ():
            if each["type"] == "Ready":
                self.was_ready = each["status"] == "True"
                self.ready_since = parse_time(each.get("lastTransitionTime")) or now
        known = container_statuses(status)
        patched = {each.name: each.image for each in self.containers}
        ran = [each for each in self.containers if each.name in known]
        for container in ran:
            restore(container, known[container.name], now=now)
        for container in ran:
            if container.state is State.RUNNING and not container.ready:
                container.mode = self.mode_of(self, container)
                self._run(container, container.mode, now)
            elif container.state is State.RUNNING:
                container.probed_at = container.started_at
                if container.ended and self.mode_of(self, container) is Mode.NEVER_READY:
                    # Ready only because the probes of a patched container had not spoken yet.
                    container.probed_at = None
                    container.plan(Step.TRUTH, max(now, container.started_at + container.false_ready_seconds))
            elif container.reason == "CrashLoopBackOff":
                container.mode = Mode.CRASH
                container.plan(Step.RESTART, now + self.tempo.crash_backoff_seconds)
            elif container.reason == CONFIG_ERROR:
                container.plan(Step.START, now)
            elif container.reason == "ImagePullBackOff":
                container.mode = Mode.MISSING
            self.set_image(container.name, patched[container.name], now)

    # What its status says.

    def status(self, now: float) -> JsonObject:
        """Return the status as a strategic merge patch: others' conditions stay."""
        initialized = all(each.done for each in self.containers if each.kind is not Kind.MAIN)
        ready = self.ready
        if initialized is not self.was_initialized:
            self.was_initialized, self.changed_at = initialized, now
        if ready is not self.was_ready:
            self.was_ready, self.ready_since = ready, now
        since, moved, readied = time_text(self.since), time_text(self.changed_at), time_text(self.ready_since)
        unready: dict[str, str] = {}
        if not self._containers_ready:
            names = [each.name for each in self.containers if not each.ready and each.kind is not Kind.INIT]
            unready = {"reason": "ContainersNotReady", "message": f"containers with unready status: {names}"}
        closed = {"reason": "ReadinessGatesNotReady", "message": "a readiness gate is not open"}
        status: JsonObject = {
            "phase": self._phase(),
            "observedGeneration": self.generation,
            "hostIP": self.node_ip,
            "hostIPs": [{"ip": self.node_ip}],
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "startTime": since,
            "conditions": [
                condition("PodReadyToStartContainers", not self.failed, since),
                condition("Initialized", initialized, moved),
                condition("ContainersReady", self._containers_ready, readied, **unready),
                condition("Ready", ready, readied, **(unready or ({} if ready else closed))),
            ],
            "containerStatuses": [container_status(each) for each in self.containers if each.kind is Kind.MAIN],
        }
        if self.containers[0].kind is not Kind.MAIN:
            status["initContainerStatuses"] = [
                container_status(each) for each in self.containers if each.kind is not Kind.MAIN
            ]
        if self.failed:
            status["reason"] = "Terminated"
            status["message"] = "The simulated machine powered this pod off."
        return status

    def _phase(self) -> str:
        if self.failed:
            return "Failed"
        mains = [each for each in self.containers if each.kind is Kind.MAIN]
        if any(each.state is State.WAITING and each.ended is None for each in mains):
            return "Pending"
        return "Running"
