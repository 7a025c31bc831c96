"""Extension upgrades on real kubelets: in place, with everything else in the pod running on (E9)."""

from __future__ import annotations

import pytest
from builders import an_image, follows, uses
from scene import code, image_of, installed, progress
from stage import Stage, a_real_extension, a_real_set

BAD = {"healthTimeout": "PT15S"}
"""Longer than the five seconds for which the bad version's start-up probe holds the put-back up."""


async def machines(stage: Stage) -> None:
    """Three instances with two extensions, one of which follows its publisher."""
    await stage.create(a_real_extension("monitor", 8081, "1.0.0"), a_real_extension("other", 8082, "1.0.0"))
    both = [follows("monitor"), uses("other")]
    await stage.create(an_image("ubuntu", "1.0.0"), a_real_set(replicas=3, extensions=both, rolling=BAD))
    await stage.until_ready(within=60)


@pytest.mark.requirement("E1", "E2", "E9")
async def test_a_new_version_reaches_every_instance_in_place(stage: Stage) -> None:
    await machines(stage)
    uids, before = stage.uids("Pod"), stage.containers()

    await stage.publish_extension("monitor", "1.1.0")
    upgrade = await stage.until_ended(within=90)

    assert (code(upgrade), progress(upgrade)) == ("Completed", (3, 0, 0, 0))
    assert stage.uids("Pod") == uids, "no machine was restarted"
    assert await stage.answers(8081) == dict.fromkeys(range(3), "1.1.0")
    assert await stage.answers(8082) == dict.fromkeys(range(3), "1.0.0")
    for ordinal, pod in stage.pods().items():
        assert installed(pod) == {"monitor": "1.1.0", "other": "1.0.0"}
        assert image_of(pod, "monitor") == "registry.example/ext/monitor:1.1.0"
        was, now = before[ordinal], stage.containers()[ordinal]
        assert now["monitor"][0] != was["monitor"][0] and now["monitor"][1] == 1
        assert {n: c for n, c in now.items() if n != "monitor"} == {n: c for n, c in was.items() if n != "monitor"}


@pytest.mark.requirement("E3", "E9", "E13")
@pytest.mark.parametrize("word", ["broken", "hanging", "crash", "missing"])
async def test_what_does_not_work_is_put_back_in_place(stage: Stage, word: str) -> None:
    """A probe that never passes, at the start or later; a program that ends at once; an image that isn't there."""
    await machines(stage)
    uids, before = stage.uids("Pod"), stage.containers()

    await stage.publish_extension("monitor", "1.1.0", word)
    upgrade = await stage.until_ended(within=120)

    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 2))
    await stage.until_ready()
    assert stage.uids("Pod") == uids
    assert await stage.answers(8081) == dict.fromkeys(range(3), "1.0.0")
    for ordinal, pod in stage.pods().items():
        assert installed(pod)["monitor"] == "1.0.0"
        was, now = before[ordinal], stage.containers()[ordinal]
        assert {n: c for n, c in now.items() if n != "monitor"} == {n: c for n, c in was.items() if n != "monitor"}
        assert (now["monitor"] == was["monitor"]) == (ordinal != 0), "only the first was touched"
