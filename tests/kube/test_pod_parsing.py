"""A pod as an instance: health signals, start failures, and what is carried over from the event before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from kube_objects import NOW, a_pod, a_set, at, running, waiting

from scalesets.engine.decision import PatchExtension
from scalesets.engine.view import Instance, Release, Sidecar
from scalesets.kube import pods, times
from scalesets.kube.names import instance_ordinal


def instance(raw, previous: Instance | None = None, now=NOW) -> Instance:
    pod = pods.parse(raw, previous=previous, now=now)
    assert pod is not None
    return pod.instance


# -- whose it is -------------------------------------------------------------------------------------------------------


def test_a_pod_of_the_set_is_known_by_label_name_and_controller():
    pod = pods.parse(a_pod(7, status=running()), previous=None, now=NOW)

    assert (pod.namespace, pod.name, pod.set_name, pod.owner_uid) == ("team-a", "web-7", "web", "set-uid")
    assert pod.instance.ordinal == 7
    assert pod.image == "registry/os/ubuntu:1.0.0"
    assert pod.resource_version > 1000


@pytest.mark.parametrize(
    ("name", "ordinal"),
    [
        ("web-0", 0),
        ("web-12", 12),
        ("web-012", None),
        ("web-", None),
        ("web", None),
        ("web-1a", None),
        ("web-x-1", None),
        ("webx1", None),
        ("other-1", None),
        ("web--1", None),
    ],
)
def test_only_set_dash_ordinal_is_an_instances_name(name, ordinal):
    assert instance_ordinal(name, "web") == ordinal
    raw = a_pod(metadata={"name": name})
    parsed = pods.parse(raw, previous=None, now=NOW)
    assert (parsed.instance.ordinal if parsed else None) == ordinal


def test_a_pod_without_the_sets_label_is_no_instance():
    raw = a_pod()
    del raw["metadata"]["labels"]["scalesets.dev/scaleset"]

    assert pods.parse(raw, previous=None, now=NOW) is None


def test_an_orphan_has_no_owner_and_is_adopted_by_its_uid():
    pod = pods.parse(a_pod(owner=""), previous=None, now=NOW)

    assert pod.owner_uid == ""
    patch = pods.adoption_patch(a_set(), pod)["metadata"]
    assert patch["uid"] == pod.uid
    assert [(o["uid"], o["controller"]) for o in patch["ownerReferences"]] == [("set-uid", True)]


# -- what it runs ------------------------------------------------------------------------------------------------------


def test_the_release_is_read_from_labels_and_annotations_and_shared():
    annotations = {
        "extension.scalesets.dev/monitor": "9.5.1",
        "extension.scalesets.dev/health": "1.0.4",
        "extension.scalesets.dev/health.before": "containerd://abc",
        "settings.extension.scalesets.dev/health": "{}",
        "team": "a",
    }
    one, other = instance(a_pod(0, annotations=annotations)), instance(a_pod(1, annotations=annotations))

    assert one.release == Release("1.0.0", "abc", (("health", "1.0.4"), ("monitor", "9.5.1")))
    assert one.release is other.release


def test_protection_and_a_pending_upgrade_are_annotations():
    raw = a_pod(
        annotations={"scalesets.dev/protect-from-upgrade": "true", "scalesets.dev/pending-os-upgrade": "1.2.3"},
        spec={"nodeName": "node-1"},
    )

    found = instance(raw)

    assert (found.protected, found.pending_os_upgrade, found.node) == (True, "1.2.3", "node-1")
    assert not instance(a_pod(annotations={"scalesets.dev/protect-from-upgrade": "no"})).protected


# -- ready and started -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O3")
def test_ready_is_the_pods_condition_with_its_time():
    assert instance(a_pod(status=running())).ready_since == times.parse(at(-60))
    assert instance(a_pod(status=running(ready=False))).ready_since is None
    assert not instance(a_pod()).ready


def test_first_ready_is_when_it_was_first_seen_and_is_kept():
    raw = a_pod(status=running(ready=False))
    first = instance(raw)
    ready = instance({**raw, "status": running(since=-1)}, first, NOW + timedelta(seconds=1))
    later = instance({**raw, "status": running(ready=False)}, ready, NOW + timedelta(seconds=9))

    assert first.first_ready is None
    assert ready.first_ready == NOW + timedelta(seconds=1)
    assert later.first_ready == ready.first_ready


def test_after_a_restart_of_the_operator_first_ready_is_since_when_it_is_ready():
    assert instance(a_pod(status=running())).first_ready == times.parse(at(-60))


def test_what_was_known_of_an_earlier_pod_of_the_name_does_not_count():
    before = instance(a_pod(status=running()))
    after = instance({**a_pod(), "metadata": {**a_pod()["metadata"], "uid": "another"}}, before)

    assert after.first_ready is None


@pytest.mark.requirement("O3")
def test_started_needs_every_container_and_sidecar():
    spec = {
        "containers": [{"name": "os"}, {"name": "log"}],
        "initContainers": [{"name": "init"}, {"name": "health", "restartPolicy": "Always"}],
    }

    def status(**started: int | None):
        def entry(name):
            seconds = started[name]
            state = {"running": {"startedAt": at(seconds)}} if seconds is not None else {"waiting": {}}
            return {"name": name, "started": seconds is not None, "state": state}

        return {
            "containerStatuses": [entry("os"), entry("log")],
            "initContainerStatuses": [
                {"name": "init", "started": False, "state": {"terminated": {"exitCode": 0}}},
                entry("health"),
            ],
        }

    assert instance(a_pod(spec=spec, status=status(os=-9, log=-5, health=-20))).started_at == times.parse(at(-5))
    assert instance(a_pod(spec=spec, status=status(os=-9, log=None, health=-20))).started_at is None
    assert instance(a_pod(spec=spec, status=status(os=-9, log=-5, health=None))).started_at is None
    assert instance(a_pod(spec=spec)).started_at is None


def test_a_container_before_its_start_up_probe_has_not_started():
    assert instance(a_pod(status=running(ready=False, started=False))).started_at is None


def test_with_a_start_up_probe_the_clock_starts_when_the_probe_succeeded():
    raw = a_pod(spec={"containers": [{"name": "os", "startupProbe": {"periodSeconds": 10}}]})
    before = instance({**raw, "status": running(ready=False, started=False, since=-200)})

    now = NOW + timedelta(seconds=1)
    started = instance({**raw, "status": running(ready=False, since=-200)}, before, now)
    later = instance({**raw, "status": running(since=-200)}, started, NOW + timedelta(seconds=30))

    assert started.started_at == now
    assert later.started_at == now


def test_without_a_start_up_probe_it_is_the_containers_own_time():
    raw = a_pod(status=running(ready=False, started=False))
    before = instance(raw)

    assert instance({**raw, "status": running(since=-3)}, before).started_at == times.parse(at(-3))


# -- start failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "RunContainerError"],
)
def test_a_definite_start_failure_is_dated_and_said(reason):
    found = instance(a_pod(status=waiting(reason, "no such thing")))

    assert found.failed_to_start == NOW
    assert found.failure == f"{reason}: container os: no such thing"


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_waiting_to_be_created_is_no_failure(reason):
    found = instance(a_pod(status=waiting(reason)))

    assert (found.failed_to_start, found.failure) == (None, "")


def test_a_crash_is_dated_by_its_end():
    ended = {"lastState": {"terminated": {"exitCode": 1, "finishedAt": at(-12)}}}
    found = instance(a_pod(status=waiting("CrashLoopBackOff", "back-off", **ended)))

    assert found.failed_to_start == times.parse(at(-12))


def test_a_machines_clock_that_is_ahead_does_not_date_a_failure_into_the_future():
    status = running(ready=False)
    status["containerStatuses"][0]["state"] = {
        "terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": at(99)}
    }

    found = instance(a_pod(status=status))

    assert found.failed_to_start == NOW
    assert found.failure == "OOMKilled: container os: exit code 137"


@pytest.mark.parametrize(("code", "fails"), [(0, False), (2, True)])
def test_an_init_container_fails_only_with_an_exit_code(code, fails):
    init = [{"name": "custom-data", "state": {"terminated": {"exitCode": code, "reason": "Error"}}}]
    found = instance(a_pod(status={"phase": "Pending", "initContainerStatuses": init}))

    assert (found.failed_to_start is not None) == fails
    assert found.failure == ("Error: container custom-data: exit code 2" if fails else "")


def test_a_start_failure_holds_through_a_crash_loops_runs_until_the_pod_is_ready():
    raw = a_pod(status=waiting("CrashLoopBackOff", "back-off 10s"))
    failed = instance(raw)
    again = instance({**raw, "status": running(ready=False)}, failed, NOW + timedelta(seconds=10))
    well = instance({**raw, "status": running()}, again, NOW + timedelta(seconds=20))

    assert (again.failed_to_start, again.failure) == (NOW, "CrashLoopBackOff: container os: back-off 10s")
    assert (well.failed_to_start, well.failure) == (None, "")


def test_long_words_are_cut():
    assert len(instance(a_pod(status=waiting("ErrImagePull", "x" * 5000))).failure) == pods.LONGEST_FAILURE


# -- the end -----------------------------------------------------------------------------------------------------------


def test_deletion_is_dated_when_it_was_asked_for_and_is_no_failure():
    raw = a_pod(
        metadata={"deletionTimestamp": at(20), "deletionGracePeriodSeconds": 30},
        status=waiting("CrashLoopBackOff"),
    )

    found = instance(raw)

    assert found.deleting_since == times.parse(at(-10))
    assert found.grace == timedelta(seconds=30)
    assert found.failed_to_start is None
    assert not found.live


@pytest.mark.parametrize(("seconds", "grace"), [(None, 30), (0, 0), (90, 90)])
def test_the_grace_period_is_the_pods(seconds, grace):
    spec = {} if seconds is None else {"terminationGracePeriodSeconds": seconds}

    assert instance(a_pod(spec=spec)).grace == timedelta(seconds=grace)


@pytest.mark.parametrize(
    ("phase", "lost"), [("Failed", True), ("Succeeded", True), ("Running", False), ("Pending", False)]
)
def test_a_pod_that_ended_is_lost(phase, lost):
    assert instance(a_pod(status={"phase": phase})).lost is lost


def test_a_label_patch_names_the_uid_and_takes_annotations_off():
    patch = pods.label_patch("pod-1", [("scalesets.dev/model", "new")], [("scalesets.dev/pending-os-upgrade", None)])

    assert patch == {
        "metadata": {
            "uid": "pod-1",
            "labels": {"scalesets.dev/model": "new"},
            "annotations": {"scalesets.dev/pending-os-upgrade": None},
        }
    }
    assert pods.label_patch("pod-1") == {"metadata": {"uid": "pod-1"}}


def test_a_pod_may_ask_for_a_longer_grace_period_than_times_reach():
    """The API server takes any 64-bit number."""
    forever = 2**62
    living = instance(a_pod(spec={"terminationGracePeriodSeconds": forever}))
    metadata = {"deletionTimestamp": at(5), "deletionGracePeriodSeconds": forever}
    dying = instance(a_pod(metadata=metadata), now=NOW)
    later = instance(a_pod(metadata=metadata), previous=dying, now=NOW + timedelta(minutes=1))

    assert living.grace == dying.grace == times.LONGEST
    assert dying.deleting_since == later.deleting_since == NOW


# -- extensions --------------------------------------------------------------------------------------------------------


def sidecars(raw, previous: Instance | None = None):
    return instance(raw, previous).sidecars


def an_extended_pod(*statuses, **annotations):
    noted = {f"extension.scalesets.dev/{name}": value for name, value in annotations.items()}
    return a_pod(annotations=noted, status=running(initContainerStatuses=list(statuses)))


def a_container(name: str, container_id: str = "containerd://1", **status):
    since = {"running": {"startedAt": at(-30)}}
    return {"name": name, "containerID": container_id, "started": True, "ready": True, "state": since, **status}


@pytest.mark.requirement("E3")
def test_the_containers_of_extensions_are_read_by_name():
    raw = an_extended_pod(
        a_container("custom-data", "containerd://0"),
        a_container("monitor", "containerd://2", started=False, ready=False),
        a_container("health"),
        **{"monitor": "9.5.1", "health": "1.0.4", "monitor.before": "containerd://1"},
    )

    health, monitor = sidecars(raw)

    assert health == Sidecar("health", "containerd://1", started=True, started_at=times.parse(at(-30)), ready=True)
    assert (monitor.name, monitor.container_id, monitor.before) == ("monitor", "containerd://2", "containerd://1")
    assert not monitor.started
    assert not monitor.ready


@pytest.mark.parametrize("status", [{}, {"containerID": None, "state": {}}, {"state": {"waiting": {"reason": "x"}}}])
def test_a_container_that_is_not_there_yet_is_empty(status):
    raw = an_extended_pod({"name": "monitor", **status}, monitor="1.0.0")

    assert sidecars(raw) == (Sidecar("monitor"),)
    assert sidecars(an_extended_pod(monitor="1.0.0")) == (Sidecar("monitor"),)


def test_a_pod_without_extensions_has_none_of_them():
    assert sidecars(an_extended_pod(a_container("users-own"))) == ()


def test_containers_that_are_as_they_were_are_the_same_object():
    raw = an_extended_pod(a_container("monitor"), monitor="1.0.0")
    before = instance(raw)

    assert sidecars(raw, before) is before.sidecars
    other = an_extended_pod(a_container("monitor", "containerd://9"), monitor="1.0.0")
    assert sidecars(other, before) != before.sidecars


@pytest.mark.parametrize("value", ["", "latest", "1.0.0 ", "١.٠", "9" * 300])
def test_whatever_users_write_into_an_annotation_is_taken_as_it_is(value):
    raw = an_extended_pod(a_container("monitor"), **{"monitor": value, "monitor.before": value})

    found = instance(raw)

    assert found.release.extensions == (("monitor", value),)
    assert found.sidecars[0].before == value


@pytest.mark.requirement("E9")
def test_an_extension_is_patched_by_one_write():
    patch = pods.extension_patch(
        PatchExtension(3, "pod-3", "monitor", "1.1.0", "containerd://1"), "registry/monitor:1.1.0"
    )

    assert patch == {
        "metadata": {
            "uid": "pod-3",
            "annotations": {
                "extension.scalesets.dev/monitor": "1.1.0",
                "extension.scalesets.dev/monitor.before": "containerd://1",
            },
        },
        "spec": {"initContainers": [{"name": "monitor", "image": "registry/monitor:1.1.0"}]},
    }
    nothing = pods.extension_patch(PatchExtension(3, "pod-3", "monitor", "1.1.0", ""), "i")
    assert nothing["metadata"]["annotations"]["extension.scalesets.dev/monitor.before"] is None


@pytest.mark.requirement("O15", "O21")
def test_the_secret_that_a_patched_extension_misses_is_said():
    message = 'secret "keys" not found'
    state = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    broken = a_container("monitor", started=False, ready=False, state=state)
    noted = {"extension.scalesets.dev/monitor": "1.1.0"}
    found = instance(a_pod(annotations=noted, status=running(ready=False, initContainerStatuses=[broken])))

    assert found.failure == 'CreateContainerConfigError: container monitor: secret "keys" not found'
    assert found.failed_to_start == NOW
