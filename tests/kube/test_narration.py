"""The log's line for a decision: short, whatever the size of the set, and with what people look for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scalesets.engine.decision import (
    Action,
    CreateInstance,
    CreateUpgrade,
    DeleteClaims,
    DeleteInstance,
    DryRun,
    LabelInstance,
    PatchExtension,
    Preflight,
    ReleaseUpgrade,
    Write,
    WriteSetStatus,
    WriteUpgradeStatus,
)
from scalesets.engine.view import Batch, Code, Condition, Release, SetStatus, Target, UpgradeStatus, UpgradeType
from scalesets.kube import narration

NOW = datetime(2026, 11, 22, tzinfo=UTC)
OLD, NEW = Release("1.0.0", "m"), Release("2.0.0", "m")


def a_status(*members: int, waiting: str = "") -> UpgradeStatus:
    batch = Batch(3, "1", 0, NOW, dict.fromkeys(members, OLD))
    return UpgradeStatus(Code.ROLLING_FORWARD, Target("m"), NOW, waiting=waiting, batches=(batch,) if members else ())


@pytest.mark.parametrize(
    ("writes", "words"),
    [
        ([WriteSetStatus(SetStatus())], "status"),
        ([WriteSetStatus(SetStatus(), urgent=False)], "counts"),
        ([DryRun(4, NEW), Preflight("m")], "dry-run 4, preflight"),
        ([CreateUpgrade("web-os-1", UpgradeType.OS_IMAGE)], "create web-os-1"),
        ([ReleaseUpgrade("web-os-1", "uid")], "ReleaseUpgrade web-os-1"),
        ([WriteUpgradeStatus("up", "uid", a_status(0, 1, 2, 7))], "up RollingForward batch 3 = 0-2,7"),
        ([WriteUpgradeStatus("up", "uid", a_status(waiting="Pause"))], "up RollingForward waiting for Pause"),
    ],
)
def test_writes_are_told_in_order(writes: list[Write], words: str) -> None:
    assert narration.of_writes(writes) == words


def test_a_status_is_told_by_what_changes_of_its_conditions() -> None:
    before = (
        Condition("Ready", True, "AllReady"),
        Condition("Progressing", False, "Idle"),
        Condition("Odd", True, "X"),
    )
    after = (Condition("Ready", True, "AllReady", "5 of 5"), Condition("Progressing", None, "Batch"))
    write = WriteSetStatus(SetStatus(conditions=after))
    assert narration.of_writes([write], before) == "status (Progressing Unknown Batch, Odd gone)"
    assert narration.of_writes([write], after) == "status"
    assert narration.of_writes([write]) == "status", "the first time they are all new"
    many = WriteSetStatus(SetStatus(conditions=tuple(Condition(f"C{n}", True, "R") for n in range(6))))
    assert narration.of_writes([many], after).endswith("C3 True R and 4 more)")


def test_actions_are_grouped_by_what_is_done_and_why() -> None:
    actions: list[Action] = [
        *(CreateInstance(o, NEW) for o in (0, 1, 2)),
        DeleteInstance(4, "uid", "Upgrade"),
        DeleteInstance(9, "uid", "ScaleIn"),
        DeleteInstance(5, "uid", "Upgrade"),
        LabelInstance(6, "uid"),
        DeleteClaims(9),
    ]
    assert narration.of_actions(actions) == (
        "create 0-2 (2.0.0); delete 4-5 (Upgrade); delete 9 (ScaleIn); label 6; delete-claims 9"
    )


def test_patches_are_told_by_extension_and_version() -> None:
    patches = [PatchExtension(o, "uid", name, "1.1.0", "") for name in ("agent", "monitor") for o in (0, 1)]
    assert narration.of_actions(patches) == "patch 0-1 (agent 1.1.0); patch 0-1 (monitor 1.1.0)"
    status = a_status(0, 1)
    batch = replace(status.batches[0], extension="agent")
    write = WriteUpgradeStatus("up", "uid", replace(status, batches=(batch,)))
    assert narration.of_writes([write]) == "up RollingForward batch 3 = 0-1 (agent)"


def test_many_scattered_instances_are_counted() -> None:
    assert narration.of_actions([CreateInstance(o, NEW) for o in range(0, 1000, 2)]) == "create 500 instances (2.0.0)"
    assert narration.of_actions([CreateInstance(o, NEW) for o in range(1000)]) == "create 0-999 (2.0.0)"
