"""Simulated machines against the real API server, scheduler and controllers (docs/local.md, "Simulated machines")."""

from __future__ import annotations

import datetime
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pod_bodies import container, pod_body, probe, sidecar

from controlplane import eventually
from scalesets.local.api import Api, ApiError
from scalesets.local.controlplane import ControlPlane
from scalesets.local.machines import steering
from scalesets.local.machines.faults import Mode

JsonObject = dict[str, Any]

_NUMBERS = itertools.count(1)


class World:
    """One namespace of a control plane."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.pods = f"/api/v1/namespaces/{namespace}/pods"
        self.claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"

    def create(self, body: JsonObject) -> str:
        """Create a pod and return its UID."""
        body["metadata"]["namespace"] = self.namespace
        return str(self.api.create(self.pods, body)["metadata"]["uid"])

    def pod(self, name: str = "web-0") -> JsonObject:
        return self.api.get(f"{self.pods}/{name}")

    def all(self) -> dict[str, JsonObject]:
        return {pod["metadata"]["name"]: pod for pod in self.api.get(self.pods)["items"]}

    def container(self, name: str, pod: str = "web-0") -> JsonObject:
        return container_of(self.pod(pod), name)

    def waits_for(self, name: str = "os", pod: str = "web-0") -> str:
        return str(self.container(name, pod).get("state", {}).get("waiting", {}).get("reason", ""))

    def ready(self, *names: str) -> bool:
        return all(is_ready(pod) for pod in map(self.pod, names or ("web-0",)))

    def delete(self, name: str, **options: object) -> None:
        self.api.delete(f"{self.pods}/{name}", dict(options))

    def patch_image(self, name: str, image: str, *, pod: str = "web-0", kind: str = "containers") -> None:
        patch = {"spec": {kind: [{"name": name, "image": image}]}}
        self.api.strategic(f"{self.pods}/{pod}", patch)


def a_patch_takes(world: World) -> float:
    """Patch the sidecar `monitor`; returns how long that goes unnoticed."""
    image = f"x/monitor:2-{next(_NUMBERS)}"
    begun = time.monotonic()
    world.patch_image("monitor", image, kind="initContainers")
    eventually(lambda: world.container("monitor")["image"] == image)
    return time.monotonic() - begun


def container_of(pod: JsonObject, name: str) -> JsonObject:
    """The status of one container of a pod; empty before it has one."""
    status = pod["status"]
    statuses = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return next((each for each in statuses if each["name"] == name), {})


def is_ready(pod: JsonObject) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


def a_world(api: Api) -> World:
    namespace = f"machines-{next(_NUMBERS)}"
    api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    eventually(lambda: api.find(account) is not None, what=account)
    return World(api, namespace)


@pytest.fixture
def world(control_plane: ControlPlane) -> Iterator[World]:
    with control_plane.api() as api:
        given = a_world(api)
        yield given
        steering.heal(api)
        api.delete(f"/api/v1/namespaces/{given.namespace}")


class TestPods:
    def test_many_pods_get_ready_together(self, world: World) -> None:
        names = [f"web-{index}" for index in range(200)]
        for name in names:
            world.create(pod_body(name=name))

        eventually(lambda: all(map(is_ready, world.all().values())), what="200 ready pods")

        pods = world.all().values()
        assert len({pod["status"]["podIP"] for pod in pods}) == 200
        assert {pod["spec"]["nodeName"] for pod in pods} <= {"machine-0", "machine-1", "machine-2"}
        assert all(pod["status"]["observedGeneration"] == 1 for pod in pods)

    def test_pods_fail_as_their_tags_say(self, world: World) -> None:
        for word in ("broken", "crash", "missing", "good"):
            world.create(pod_body(container(image=f"x/os:1-{word}"), name=word))

        eventually(lambda: world.ready("good"))
        eventually(lambda: world.pod("broken")["status"]["phase"] == "Running")
        eventually(lambda: world.waits_for(pod="missing") == "ImagePullBackOff")
        eventually(lambda: world.container("os", "crash").get("restartCount", 0) >= 2)
        assert not any(map(is_ready, map(world.pod, ("broken", "crash", "missing"))))

    def test_init_containers_come_first(self, world: World) -> None:
        world.create(pod_body(init=(container("custom-data"), sidecar("health", startupProbe=probe(1)))))

        eventually(world.ready)

        assert world.container("custom-data")["state"]["terminated"]["exitCode"] == 0
        assert world.container("health")["started"] and world.container("health")["ready"]

    def test_a_patched_image_restarts_that_container_alone(self, world: World) -> None:
        extension = sidecar("monitor", "x/monitor:1", startupProbe=probe(2), readinessProbe=probe(1))
        uid = world.create(pod_body(init=(extension,)))
        eventually(world.ready)
        before, os_before = world.container("monitor"), world.container("os")

        world.patch_image("monitor", "x/monitor:2-broken", kind="initContainers")
        eventually(lambda: world.container("monitor")["containerID"] != before["containerID"])
        falsely = world.pod()
        eventually(lambda: not world.ready())
        world.patch_image("monitor", "x/monitor:1", kind="initContainers")
        eventually(world.ready)

        assert is_ready(falsely)
        assert world.pod()["metadata"]["uid"] == uid
        assert world.container("monitor")["image"] == "x/monitor:1"
        assert world.container("monitor")["restartCount"] >= 2
        assert world.container("os") == os_before

    def test_a_bad_image_and_the_way_back_as_a_watcher_sees_them(self, world: World) -> None:
        """The way back is asked for at once, while the bad version is still reported as ready."""
        probes = {"startupProbe": probe(1, failureThreshold=5), "readinessProbe": probe(1)}
        uid = world.create(pod_body(init=(sidecar("monitor", "x/monitor:1", **probes), sidecar("health"))))
        eventually(world.ready)
        others = [world.container("health"), world.container("os")]
        seen: list[tuple[str, int, bool]] = []
        back = 0.0

        world.patch_image("monitor", "x/monitor:2-broken", kind="initContainers")
        deadline = time.monotonic() + 30
        while not seen or seen[-1] != ("x/monitor:1", 2, True):
            assert time.monotonic() < deadline, seen
            pod = world.pod()
            monitor = container_of(pod, "monitor")
            state = (monitor["image"], monitor["restartCount"], is_ready(pod))
            if not seen or seen[-1] != state:
                seen.append(state)
            if monitor["restartCount"] == 1 and not back:
                back = time.monotonic()
                world.patch_image("monitor", "x/monitor:1", kind="initContainers")

        assert seen == [
            ("x/monitor:1", 0, True),
            ("x/monitor:2-broken", 1, True),
            ("x/monitor:2-broken", 1, False),
            ("x/monitor:1", 2, True),
        ]
        assert time.monotonic() - back > 3, "not before the start-up probe had used up its budget"
        assert world.pod()["metadata"]["uid"] == uid
        assert [world.container("health"), world.container("os")] == others

    def test_how_long_a_patch_goes_unnoticed_can_be_set(self, world: World) -> None:
        world.create(pod_body(init=(sidecar("monitor", "x/monitor:1"),)))
        eventually(world.ready)

        steering.set_patch_seconds(world.api, 2.5, 2.6)
        eventually(lambda: a_patch_takes(world) > 2.4)
        steering.set_patch_seconds(world.api, 0.0, 0.1)
        eventually(lambda: a_patch_takes(world) < 0.4)

        steering.set_patch_seconds(world.api, 0.0, 2.0)
        assert world.container("monitor")["restartCount"] >= 2 and world.ready()

    def test_an_old_kubelet_restarts_no_sidecar(self, own: World) -> None:
        steering.set_kubelet_version(own.api, "machine-0", "v1.31.4")
        node = "/api/v1/nodes/machine-0"
        eventually(lambda: own.api.get(node)["status"]["nodeInfo"]["kubeletVersion"] == "v1.31.4")
        own.create(pod_body(init=(sidecar("monitor", "x/monitor:1"),)))
        eventually(own.ready)

        own.patch_image("monitor", "x/monitor:2", kind="initContainers")
        own.patch_image("os", "x/os:2")
        eventually(lambda: own.container("os")["image"] == "x/os:2")
        assert own.container("monitor")["image"] == "x/monitor:1"

        steering.set_kubelet_version(own.api, "machine-0", None)
        eventually(lambda: own.api.get(node)["status"]["nodeInfo"]["kubeletVersion"] != "v1.31.4")
        own.patch_image("monitor", "x/monitor:3", kind="initContainers")
        eventually(lambda: own.container("monitor")["image"] == "x/monitor:3")

    def test_a_pod_that_is_deleted_ends_within_its_grace(self, world: World) -> None:
        world.create(pod_body(terminationGracePeriodSeconds=30))
        eventually(world.ready)

        world.delete("web-0")

        eventually(lambda: not world.all(), seconds=10)

    def test_a_pod_with_a_finalizer_stays_until_it_is_taken_off(self, world: World) -> None:
        body = pod_body()
        body["metadata"]["finalizers"] = ["example.com/hold"]
        world.create(body)
        eventually(world.ready)

        world.delete("web-0")
        eventually(lambda: world.pod()["metadata"].get("deletionGracePeriodSeconds") == 0)
        world.api.merge(f"{world.pods}/web-0", {"metadata": {"finalizers": None}})

        eventually(lambda: not world.all())

    def test_no_pod_that_comes_back_under_its_name_is_lost(self, world: World) -> None:
        """Delete each of 50 instances six times, and create it anew in the moment that it is gone."""
        names = [f"web-{index}" for index in range(50)]
        alive = {name: world.create(pod_body(name=name)) for name in names}
        rounds = dict.fromkeys(names, 0)
        deadline = time.monotonic() + 60
        while min(rounds.values()) < 6 or any(not is_ready(pod) for pod in world.all().values()):
            assert time.monotonic() < deadline, rounds
            seen = world.all()
            for name in names:
                if name not in seen:
                    assert name not in alive, f"{name} was deleted by nobody that was asked to"
                    alive[name] = world.create(pod_body(name=name))
                elif name in alive and rounds[name] < 6 and is_ready(seen[name]):
                    world.delete(name, preconditions={"uid": alive.pop(name)})
                    rounds[name] += 1

        assert {name: pod["metadata"]["uid"] for name, pod in world.all().items()} == alive


class TestInjectedFailures:
    def labelled(self, name: str, version: str) -> JsonObject:
        return pod_body(name=name, labels={"scalesets.dev/scaleset": "web", "scalesets.dev/image-version": version})

    def test_a_version_never_gets_ready_until_it_is_healed(self, world: World) -> None:
        rule = steering.fail(world.api, version="7.0.1")
        for name, version in (("web-0", "7.0.1"), ("web-1", "7.0.0")):
            world.create(self.labelled(name, version))

        eventually(lambda: world.ready("web-1") and world.pod("web-0")["status"]["phase"] == "Running")
        assert not world.ready("web-0")
        steering.heal(world.api, [rule.name])

        eventually(lambda: world.ready("web-0"))

    def test_a_set_loses_its_readiness_for_a_while(self, world: World) -> None:
        world.create(self.labelled("web-0", "1.0.0"))
        eventually(world.ready)

        steering.fail(
            world.api,
            scaleset=f"{world.namespace}/web",
            mode=Mode.UNREADY,
            after=datetime.timedelta(seconds=0.2),
            lasts=datetime.timedelta(seconds=1),
        )
        eventually(lambda: not world.ready())

        eventually(world.ready)
        assert world.container("os")["restartCount"] == 0

    def test_an_instance_is_powered_off(self, world: World) -> None:
        for name in ("web-0", "web-1"):
            world.create(self.labelled(name, "1.0.0"))
        eventually(lambda: world.ready("web-0", "web-1"))

        steering.fail(world.api, instance=f"{world.namespace}/web-1", mode=Mode.STOP)

        eventually(lambda: world.pod("web-1")["status"]["phase"] == "Failed")
        assert world.ready("web-0")

    def test_the_boot_time_can_be_set(self, world: World) -> None:
        steering.set_boot_seconds(world.api, 1.5, 1.6)
        eventually(lambda: steering.read(world.api).boot_seconds == (1.5, 1.6))
        world.create(pod_body(name="probe"))
        eventually(lambda: world.ready("probe"))
        begun = time.monotonic()
        world.create(pod_body())

        eventually(world.ready)

        steering.set_boot_seconds(world.api, 0.05, 0.3)
        assert time.monotonic() - begun > 1.4


class TestClaims:
    def test_a_claim_is_bound_grows_and_takes_its_volume_with_it(self, world: World) -> None:
        claim = {
            "metadata": {"name": "data-web-0"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        world.api.create(world.claims, claim)
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]
        world.create(pod_body(volumes=volumes))
        path = f"{world.claims}/data-web-0"

        eventually(lambda: world.api.get(path)["status"].get("phase") == "Bound")
        eventually(world.ready)
        volume = f"/api/v1/persistentvolumes/{world.api.get(path)['spec']['volumeName']}"
        world.api.merge(path, {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
        eventually(lambda: world.api.get(path)["status"]["capacity"]["storage"] == "2Gi")
        assert world.api.get(volume)["spec"]["capacity"]["storage"] == "2Gi"

        world.api.delete(path)
        assert world.api.get(path)["metadata"]["deletionTimestamp"], "a claim in use stays until its pod is gone"
        world.delete("web-0")

        eventually(lambda: world.api.find(path) is None and world.api.find(volume) is None)


@pytest.fixture(scope="module")
def own_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a control plane of which parts may be stopped, with a machine that is soon thought lost."""
    place: Path = tmp_path_factory.mktemp("trouble")
    with ControlPlane(place, say=print, nodes=1, node_grace_seconds=3, install=False) as running:
        yield running


@pytest.fixture
def own(own_plane: ControlPlane) -> Iterator[World]:
    with own_plane.api() as api:
        yield a_world(api)


class TestTrouble:
    def test_a_stopped_machine_is_found_out_and_comes_back(self, own: World) -> None:
        own.create(pod_body(name="before"))
        own.create(pod_body(name="leaving"))
        eventually(lambda: own.ready("before", "leaving"))

        steering.stop_node(own.api, "machine-0")
        own.delete("leaving")
        node = "/api/v1/nodes/machine-0"
        eventually(lambda: not is_ready(own.api.get(node)), what="a node that is not ready")
        eventually(lambda: not own.ready("before"), what="a pod that is not ready")
        assert own.pod("leaving")["metadata"]["deletionTimestamp"], "nobody ends what a lost machine holds"

        steering.start_node(own.api, "machine-0")
        eventually(lambda: is_ready(own.api.get(node)) and own.ready("before"))
        eventually(lambda: set(own.all()) == {"before"})

    def test_the_machines_go_on_after_the_api_server_was_away(self, own_plane: ControlPlane, own: World) -> None:
        own.create(pod_body())
        eventually(own.ready)

        own_plane.restart_apiserver()
        own = World(own_plane.api(), own.namespace)
        own.create(pod_body(name="after"))

        eventually(lambda: own.ready("web-0", "after"))
        assert own.container("os")["restartCount"] == 0

    def test_the_machines_go_on_after_they_were_killed(self, own_plane: ControlPlane, own: World) -> None:
        own.create(pod_body())
        eventually(own.ready)
        before = own.container("os")

        own_plane.stop_machines()
        own.create(pod_body(name="meanwhile"))
        own.delete("web-0")
        own_plane.start_machines()

        eventually(lambda: set(own.all()) == {"meanwhile"} and own.ready("meanwhile"))
        assert before["restartCount"] == 0
        with pytest.raises(ApiError, match="not found"):
            own.pod("web-0")
