"""OS image upgrades on real kubelets: data stays, what doesn't work is found out by real probes and put back."""

from __future__ import annotations

import pytest
from builders import an_image
from scene import batches, code, error_code, image_of, progress
from stage import Stage, a_real_set

STOPPED = "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"


@pytest.mark.requirement("O1", "O6", "O8", "O12")
async def test_data_disks_keep_their_data(stage: Stage) -> None:
    stage.provide_disks(3)
    await stage.create(an_image("ubuntu", "1.0.0"), a_real_set(replicas=3, claims=True))
    await stage.until_ready(within=60)
    pods, disks = stage.uids("Pod"), stage.uids("PersistentVolumeClaim")

    await stage.publish("ubuntu", "1.1.0")
    upgrade = await stage.until_ended(within=90)

    assert (code(upgrade), progress(upgrade)) == ("Completed", (3, 0, 0, 0))
    await stage.until_on("1.1.0")
    assert stage.uids("PersistentVolumeClaim") == disks
    assert not set(pods.values()) & set(stage.uids("Pod").values()), "each has a new OS disk"
    for ordinal, pod in stage.pods().items():
        assert image_of(pod) == "registry.example/os/ubuntu:1.1.0"
        assert stage.journal(ordinal) == ["start 1.0.0", "asked to end 1.0.0", "end 1.0.0", "start 1.1.0"]


OLD = ["start 1.0.0", "asked to end 1.0.0", "end 1.0.0"]
TRIED = {"broken": ["start 1.1.0", "asked to end 1.1.0", "end 1.1.0"], "missing": [], "crash": ["start 1.1.0"]}
"""What the bad version notes on the disk; one that crashes does so at each of its starts."""


@pytest.mark.requirement("O12", "O13")
@pytest.mark.parametrize("word", TRIED)
async def test_what_does_not_work_is_put_back(stage: Stage, word: str) -> None:
    """A probe that never passes, an image that can't be pulled, a program that ends at once."""
    stage.provide_disks(3)
    await stage.create(an_image("ubuntu", "1.0.0"), a_real_set(replicas=3, claims=True))
    await stage.until_ready(within=60)
    pods, disks = stage.uids("Pod"), stage.uids("PersistentVolumeClaim")

    await stage.publish("ubuntu", "1.1.0", word)
    upgrade = await stage.until_ended(within=90)

    assert (code(upgrade), error_code(upgrade)) == ("Faulted", STOPPED)
    assert progress(upgrade) == (0, 1, 0, 2)
    assert [(b["ordinals"], b["rolledBack"], b["outcome"]) for b in batches(upgrade)] == [("0", "0", "RolledBack")]
    await stage.until_on("1.0.0")
    now = stage.uids("Pod")
    assert {name for name, uid in pods.items() if now[name] == uid} == {"web-1", "web-2"}, "the others were left alone"
    assert stage.uids("PersistentVolumeClaim") == disks
    journal = stage.journal(0)
    starts = journal.count("start 1.1.0")
    tried = TRIED[word] * starts if word == "crash" else TRIED[word]
    assert journal == [*OLD, *tried, "start 1.0.0"], "one disk, on which all of it stands"
    assert word != "crash" or starts > 1, "in a loop"
    assert [stage.journal(ordinal) for ordinal in (1, 2)] == [["start 1.0.0"]] * 2
    assert stage.status()["lastOSUpgrade"]["outcome"] == "Faulted"


@pytest.mark.requirement("O12")
async def test_a_slow_start_is_waited_for(stage: Stage) -> None:
    await stage.create(an_image("ubuntu", "1.0.0"), a_real_set(replicas=2))
    await stage.until_ready(within=60)
    await stage.publish("ubuntu", "1.1.0", "slow")
    upgrade = await stage.until_ended(within=90)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (2, 0, 0, 0))
