"""Who is meant by an injected failure, and when (docs/local.md, "Breaking things")."""

from __future__ import annotations

import datetime

import pytest

from scalesets.local.machines.faults import Mode, Rule, Steering, Target, mode_of, share_of, tag_of
from scalesets.local.machines.nodes import patches_sidecars

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)


def a_rule(name: str = "r", **more: object) -> Rule:
    return Rule(**{"name": name, "mode": Mode.CRASH, "begins": NOW, **more})  # type: ignore[arg-type]


def a_target(**more: object) -> Target:
    given = {"namespace": "team-a", "pod": "web-3", "scaleset": "web", "image_version": "22.4.1", "main": True}
    return Target(**{**given, "image": "registry.example:5000/os:22.4.1@sha256:abc", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "target", "meant"),
    [
        (a_rule(version="22.4.1"), a_target(), True),
        (a_rule(version="22.4.1"), a_target(main=False, image="x/ext:1.0.0"), False),
        (a_rule(version="1.0.0"), a_target(main=False, image="x/ext:1.0.0"), True),
        (a_rule(version="22.4.2"), a_target(), False),
        (a_rule(instance="team-a/web-3"), a_target(), True),
        (a_rule(instance="team-b/web-3"), a_target(), False),
        (a_rule(instance="team-a/web-3"), a_target(main=False), False),
        (a_rule(scaleset="team-a/web"), a_target(), True),
        (a_rule(scaleset="team-a/web", version="22.4.2"), a_target(), False),
    ],
)
def test_whom_a_rule_is_for(rule: Rule, target: Target, meant: bool) -> None:
    assert rule.means(target) is meant


def test_a_share_takes_about_that_many_and_always_the_same() -> None:
    rule = a_rule(scaleset="team-a/web", share=0.2)

    struck = {ordinal for ordinal in range(1000) if rule.means(a_target(pod=f"web-{ordinal}"))}

    assert 150 < len(struck) < 250
    assert struck == {ordinal for ordinal in range(1000) if share_of(f"web-{ordinal}") < 0.2}


def test_a_rule_holds_from_its_begin_to_its_end() -> None:
    steering = Steering(rules=(a_rule(begins=NOW + SECOND, ends=NOW + 3 * SECOND),))

    assert [bool(steering.in_force(NOW + seconds * SECOND)) for seconds in range(5)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert [steering.next_change(NOW + seconds * SECOND) for seconds in (0, 1, 3)] == [
        NOW + SECOND,
        NOW + 3 * SECOND,
        None,
    ]


def test_the_newest_rule_that_means_a_container_decides_and_overrides_the_tag() -> None:
    steering = Steering.from_data(
        {
            f"rule-{rule.name}": rule.to_json()
            for rule in (
                a_rule("old", scaleset="team-a/web"),
                a_rule("new", instance="team-a/web-3", mode=Mode.SLOW, begins=NOW + SECOND),
            )
        }
    )
    rules = steering.in_force(NOW + 2 * SECOND)

    assert mode_of(a_target(), rules) is Mode.SLOW
    assert mode_of(a_target(pod="web-4"), rules) is Mode.CRASH
    assert mode_of(a_target(namespace="other", image="x/os:1-broken"), rules) is Mode.NEVER_READY


def test_a_rule_survives_being_written_and_read() -> None:
    rule = a_rule("abc", version="1.2.3", share=0.5, ends=NOW + SECOND)

    assert Rule.from_json("abc", rule.to_json()) == rule


def test_what_cant_be_read_is_told_and_the_rest_holds() -> None:
    steering = Steering.from_data(
        {
            "rule-a": a_rule("a", version="1").to_json(),
            "rule-b": "nonsense",
            "rule-c": '{"mode": "explode", "begins": "2026-01-01T00:00:00Z"}',
            "rule-d": "[]",
            "boot-time": "[1, 2]",
            "patch-time": "[0, 0.5]",
            "stopped-machine-1": "",
            "kubelet-machine-2": "v1.31.4",
        }
    )

    assert [rule.name for rule in steering.rules] == ["a"]
    assert [mistake.split(":")[0] for mistake in steering.mistakes] == ["rule-b", "rule-c", "rule-d"]
    assert steering.boot_seconds == (1.0, 2.0)
    assert steering.patch_seconds == (0.0, 0.5)
    assert steering.stopped_nodes == {"machine-1"}
    assert steering.kubelet_versions == {"machine-2": "v1.31.4"}


@pytest.mark.parametrize(
    ("kubelet", "restarts"),
    [(None, True), ("v1.36.3", True), ("v1.32.0-rc.1", True), ("v1.31.9", False), ("1.29.0", False), ("v2.0.0", True)],
)
def test_which_kubelets_restart_a_patched_sidecar(kubelet: str | None, restarts: bool) -> None:
    assert patches_sidecars(kubelet) is restarts


@pytest.mark.parametrize(
    ("image", "tag"),
    [("os", ""), ("os:1", "1"), ("registry:5000/os", ""), ("registry:5000/a/os:1-x", "1-x"), ("os:1@sha256:ff", "1")],
)
def test_the_tag_of_an_image(image: str, tag: str) -> None:
    assert tag_of(image) == tag
