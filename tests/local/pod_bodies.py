"""Pods as the API server would show them, for the tests of the simulated machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scalesets.local.machines.containers import Container
from scalesets.local.machines.faults import Mode
from scalesets.local.machines.lifecycle import Pod, Tempo
from scalesets.local.machines.references import Reference

JsonObject = dict[str, Any]

BOOT = 1.0
PATCH_DELAY = 1.5
SLOW = 3.0


def container(name: str = "os", image: str = "registry.example/os:1.0.0", **more: Any) -> JsonObject:
    return {"name": name, "image": image, **more}


def sidecar(name: str, image: str = "registry.example/ext:1.0.0", **more: Any) -> JsonObject:
    return container(name, image, restartPolicy="Always", **more)


def probe(period: int, **more: Any) -> JsonObject:
    return {"httpGet": {"path": "/", "port": 80}, "periodSeconds": period, **more}


def pod_body(
    *containers: JsonObject,
    init: tuple[JsonObject, ...] = (),
    name: str = "web-0",
    node: str | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> JsonObject:
    """Return a pod; with a `node` it is as if bound to it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {
            "containers": list(containers) or [container()],
            **({"initContainers": list(init)} if init else {}),
            **({"nodeName": node} if node else {}),
            **spec,
        },
    }


class PlayedPod:
    """One pod under virtual time: every boot takes 1 s, a patch is seen after 1.5 s."""

    def __init__(self, body: JsonObject, *, modes: dict[str, Mode] | None = None) -> None:
        from scalesets.local.machines.faults import Target, mode_of

        self.modes: dict[str, Mode] = modes if modes is not None else {}
        self.objects: dict[tuple[str, str], JsonObject] = {}  # Secrets and ConfigMaps, by kind and name
        self.now = 1_000_000.0
        metadata = {**body["metadata"], "uid": "11111111-2222", "generation": 1}
        self.body = {**body, "metadata": metadata, "spec": {"nodeName": "machine-0", **body["spec"]}}

        def behave(pod: Pod, each: Container) -> Mode:
            target = Target(pod.namespace, pod.name, "", "", each.image, each.main)
            return self.modes.get(each.name) or mode_of(target, ())

        self._behave = behave
        self._tempo = Tempo(boot=lambda: BOOT, patch_delay=lambda: PATCH_DELAY, slow_seconds=SLOW)
        self.pod = self._take_over(self.body)

    def restart_of_the_machines(self) -> None:
        """Forget everything but what the status says."""
        spec = self.body["spec"]
        for each in self.pod.containers:
            for listed in (*spec.get("initContainers", ()), *spec["containers"]):
                if listed["name"] == each.name:
                    listed["image"] = each.next_image or each.image
        self.pod = self._take_over({**self.body, "status": self.pod.status(self.now)})

    def after(self, seconds: float) -> PlayedPod:
        """Let time pass, event by event."""
        end = self.now + seconds
        while (due := self.pod.next_due) is not None and due <= end:
            self.now = max(due, self.now)
            self.pod.advance(self.now)
            self._answer()
        self.now = end
        return self

    def _answer(self) -> None:
        """Look at once for what containers need."""
        while self.pod.questions:
            each = self.pod.questions.pop()
            unmounted = self._problem(self.pod.mounts(each))
            self.pod.told(each, self.now, unmounted=unmounted, missing=self._problem(each.variables))

    def _problem(self, references: Iterable[Reference]) -> str:
        found = (each.problem(self.objects.get((each.kind, each.name)), "default") for each in references)
        return next((words for words in found if words), "")

    def patch(self, name: str, image: str) -> PlayedPod:
        self.pod.set_image(name, image, self.now)
        return self

    def set_mode(self, name: str, mode: Mode | None) -> PlayedPod:
        if mode is None:
            self.modes.pop(name, None)
        else:
            self.modes[name] = mode
        self.pod.react(self.now)
        return self

    @property
    def phase(self) -> str:
        return str(self.pod.status(self.now)["phase"])

    @property
    def ready(self) -> bool:
        conditions = {each["type"]: each["status"] for each in self.pod.status(self.now)["conditions"]}
        return conditions["Ready"] == "True"

    @property
    def ready_since(self) -> str:
        conditions = {each["type"]: each["lastTransitionTime"] for each in self.pod.status(self.now)["conditions"]}
        return str(conditions["Ready"])

    def __getitem__(self, name: str) -> JsonObject:
        """Return the status of one container."""
        status = self.pod.status(self.now)
        statuses = [*status.get("initContainerStatuses", ()), *status["containerStatuses"]]
        return next(each for each in statuses if each["name"] == name)

    def waits_for(self, name: str) -> str:
        return str(self[name]["state"].get("waiting", {}).get("reason", ""))

    def _take_over(self, body: JsonObject) -> Pod:
        return Pod(body, now=self.now, ip="10.64.0.1", node_ip="10.0.0.0", tempo=self._tempo, mode_of=self._behave)
