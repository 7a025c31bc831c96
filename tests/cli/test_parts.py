"""Small parts that the drawings rest on: words, bars, plain data, pod states, which instances are meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.scenes import MODEL, NEW, NOW, OLD, a_set
from scalesets.cli import options, output, words
from scalesets.cli.errors import CommandError, ExitCode
from scalesets.cli.render.shapes import fit
from scalesets.cli.views import instances, pods
from scalesets.cli.views.goals import Goal
from scalesets.cli.views.instances import Standing
from scalesets.cli.views.selection import select


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3600, "60m"),
        (4 * 3600 + 300, "4h5m"),
        (24 * 3600, "24h"),
        (3 * 86400, "3d"),
        (3 * 86400 + 7200, "3d2h"),
        (40 * 86400, "40d"),
    ],
)
def test_spans_read_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == text


def test_a_clock_that_is_ahead_gives_no_negative_age() -> None:
    assert words.age(NOW, NOW + timedelta(minutes=5)) == "0s"


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (list("abcde"), "a, b, c, d and e"),
        (list("abcdef"), "a, b, c, d and 2 more"),
    ],
)
def test_listing(items: list[str], text: str) -> None:
    assert words.listing(items) == text


@pytest.mark.parametrize(
    ("amounts", "width", "cells"),
    [
        ([1, 1, 2], 8, [2, 2, 4]),
        ([1, 0, 999], 10, [1, 0, 9]),
        ([1, 1, 1], 10, [4, 3, 3]),
        ([0, 0], 10, [0, 0]),
        ([5], 0, [0]),
    ],
)
def test_bars_fit_and_hide_nothing(amounts: list[int], width: int, cells: list[int]) -> None:
    assert fit(amounts, width) == cells


def test_plain_data() -> None:
    view = Goal(image_version="1.0.0", model="m")

    assert output.plain(view) == {"imageVersion": "1.0.0", "model": "m", "extensions": []}
    assert output.plain({"when": datetime(2026, 1, 2, tzinfo=UTC)}) == {"when": "2026-01-02T00:00:00Z"}
    assert output.plain([Standing.WORKING, frozenset({3, 1}), timedelta(minutes=1)]) == ["InProgress", [1, 3], 60.0]


@pytest.mark.parametrize(
    ("given", "limit"),
    [("0", 0), ("90", 90), ("90s", 90), ("1h30m", 5400), ("0.5s", 0.5), ("2h", 7200)],
)
def test_timeouts(given: str, limit: float) -> None:
    assert options.duration(given) == timedelta(seconds=limit)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["web-3"], ["web-3"]),
        (["3"], ["web-3"]),
        (["0-2,7"], ["web-0", "web-1", "web-2", "web-7"]),
        (["7", "web-0", "0"], ["web-0", "web-7"]),
        (["web-1,web-3,5"], ["web-1", "web-3", "web-5"]),
    ],
)
def test_which_instances_are_meant(given: list[str], names: list[str]) -> None:
    assert select(given, "web", 8) == names


@pytest.mark.parametrize(
    ("given", "exit_code"),
    [
        ("db-3", ExitCode.USAGE),
        ("web-03", ExitCode.USAGE),
        ("8", ExitCode.NOT_FOUND),
        ("5-9", ExitCode.NOT_FOUND),
        ("0-999999999", ExitCode.NOT_FOUND),  # told without counting so far
        ("3-1", ExitCode.USAGE),  # as an empty set it would mean all instances
        ("", ExitCode.USAGE),
        ("1,", ExitCode.USAGE),
        ("3-", ExitCode.USAGE),
    ],
)
def test_which_are_not(given: str, exit_code: ExitCode) -> None:
    with pytest.raises(CommandError) as refused:
        select([given], "web", 8)

    assert refused.value.exit_code is exit_code


# -- pod states --------------------------------------------------------------------------------------------------------


def a_pod(**status: Any) -> dict[str, Any]:
    pod = a_set(replicas=1).on(OLD).starting(0, version=NEW).pods[0]
    pod["status"] |= status
    return pod


def a_container(name: str = "os", **fields: Any) -> dict[str, Any]:
    return {"name": name, "ready": False, "started": False, "restartCount": 0, "state": {}, **fields}


@pytest.mark.parametrize(
    ("pod", "word", "detail", "sick"),
    [
        (None, "Missing", "no pod", True),
        (a_pod(), "Starting", "os not ready", False),
        (a_pod(containerStatuses=[a_container()]), "Starting", "os not started yet", False),
        (a_pod(containerStatuses=[]), "Starting", "containers being made", False),
        (a_pod(phase="Failed", reason="Evicted", message="low on memory"), "Evicted", "low on memory", True),
        (
            a_pod(containerStatuses=[a_container(state={"waiting": {"reason": "CrashLoopBackOff"}})]),
            "CrashLoopBackOff",
            "CrashLoopBackOff (os)",
            True,
        ),
        (
            a_pod(containerStatuses=[a_container(state={"terminated": {"exitCode": 2, "reason": "Error"}})]),
            "Error",
            "Error (os): exit code 2",
            True,
        ),
        (
            a_pod(initContainerStatuses=[a_container("custom-data")], containerStatuses=[]),
            "Starting",
            "init container custom-data not finished",
            False,
        ),
        (
            a_pod(
                conditions=[
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ]
            ),
            "Unschedulable",
            "0/3 nodes",
            True,
        ),
    ],
)
def test_pod_states(pod: dict[str, Any] | None, word: str, detail: str, sick: bool) -> None:
    state = pods.describe(pod)

    assert (state.word, state.detail, state.sick) == (word, detail, sick)


def test_a_sidecar_that_holds_up_the_start() -> None:
    pod = a_pod(initContainerStatuses=[a_container("health")], containerStatuses=[])
    pod["spec"]["initContainers"] = [{"name": "health", "restartPolicy": "Always"}]

    assert pods.describe(pod).detail == "health not started yet"


def test_lost_readiness_is_not_a_start() -> None:
    scene = a_set(replicas=1).on(OLD).unhealthy(0)

    assert pods.describe(scene.pods[0]).word == "NotReady"
    assert pods.describe(scene.terminating(0).pods[0]).word == "Terminating"


# -- where instances stand ---------------------------------------------------------------------------------------------


def standings(scene: Any) -> dict[str, Standing]:
    return {i.name: i.standing for i in instances.read(scene.snapshot())}


def test_a_foreign_pod_of_the_name_is_no_instance() -> None:
    scene = a_set(replicas=1).on(OLD)
    scene.pods[0]["metadata"]["ownerReferences"] = [{"uid": "somebody-else", "controller": True}]

    (instance,) = instances.read(scene.snapshot())

    assert instance.status == "Missing"


def test_in_manual_mode_only_the_version_counts() -> None:
    scene = a_set(replicas=1, mode="Manual").on(NEW)
    scene.pods[0]["metadata"]["labels"]["scalesets.dev/model"] = "older"

    assert standings(scene) == {"web-0": Standing.UPGRADED}


def test_a_failed_instance_that_was_put_back() -> None:
    scene = a_set(replicas=5).on(OLD).upgrading_to(NEW, done=1)
    scene.upgrades[0]["status"]["batches"][0] |= {"failed": "0", "rolledBack": "0", "outcome": "RolledBack"}
    scene.pods[0] = scene.a_pod(0, OLD, MODEL)

    instance = instances.read(scene.snapshot())[0]

    assert instance.notes == ("failed in batch 1, put back",)
    assert instance.standing is Standing.PENDING


def test_an_instance_that_failed_and_stays_is_unhealthy_not_starting() -> None:
    scene = a_set(replicas=5).on(OLD).upgrading_to(NEW, done=1, running=False).starting(0)
    scene.upgrades[0]["status"]["batches"][0] |= {"failed": "0", "outcome": "Failed"}
    scene.upgrades[0]["status"]["runningStatus"]["code"] = "Faulted"

    instance = instances.read(scene.snapshot())[0]

    assert (instance.status, instance.standing) == ("NotReady", Standing.UNHEALTHY)
    assert instance.notes == ("failed in web-os-7f3c2a10",)


def test_who_takes_longer_than_the_health_timeout_is_not_starting_any_more() -> None:
    scene = a_set(replicas=2).on(OLD).starting(0, seconds=250).starting(1, seconds=350)

    assert [i.status for i in instances.read(scene.snapshot())] == ["Starting", "NotReady"]
    scene.spec["upgradePolicy"]["rollingUpgradePolicy"] = {"healthTimeout": "PT4M"}
    assert [i.status for i in instances.read(scene.snapshot())] == ["NotReady", "NotReady"]


def test_objects_of_another_version_are_read_as_far_as_they_go() -> None:
    scene = a_set(replicas=2).on(OLD)
    scene.status["instances"] = [{"ordinals": "what?"}]
    scene.upgrades = [{"metadata": {"name": "web-os-1"}, "spec": {}, "status": {"scope": "?", "batches": [{}]}}]

    assert len(instances.read(scene.snapshot())) == 2
