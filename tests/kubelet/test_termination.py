"""An instance that is taken down has its time: its preStop hook, then SIGTERM, and the grace period for both."""

from __future__ import annotations

import pytest
from builders import Body, an_image
from scene import code
from stage import Stage, a_real_set

HOOK = {"preStop": {"exec": {"command": ["/sample", "note", "preStop"]}}}


def lingering(seconds: int, grace: int) -> Body:
    """Two instances whose application takes so long to end, of which it is granted that much."""
    container = {"env": [{"name": "LINGER", "value": f"{seconds}s"}], "lifecycle": HOOK}
    return a_real_set(replicas=2, claims=True, container=container, pod={"terminationGracePeriodSeconds": grace})


@pytest.mark.requirement("O6")
@pytest.mark.parametrize(
    ("seconds", "grace", "ends"), [(3, 30, ["end 1.0.0"]), (60, 3, [])], ids=["granted", "not-granted"]
)
async def test_the_old_version_ends_before_the_new_one_starts(
    stage: Stage, seconds: int, grace: int, ends: list[str]
) -> None:
    stage.provide_disks(2)
    await stage.create(an_image("ubuntu", "1.0.0"), lingering(seconds, grace))
    await stage.until_ready(within=60)
    await stage.publish("ubuntu", "1.1.0")
    upgrade = await stage.until_ended(within=120)
    assert code(upgrade) == "Completed"
    for ordinal in (0, 1):
        assert stage.journal(ordinal) == ["start 1.0.0", "preStop 1.0.0", "asked to end 1.0.0", *ends, "start 1.1.0"]
