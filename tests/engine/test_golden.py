"""Whole upgrades, told line by line in golden/*.txt: a change of policy shows there at a glance (docs/rules.md)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import goldens
from engine.story import Story
from engine.world import MINUTE, SECOND, World, a_set, in_batch
from scalesets.engine.view import OSUpgradePolicy, RollingPolicy, UpgradeMode

DIRECTORY = Path(__file__).parent / "golden"
OFF = OSUpgradePolicy(enabled=False)
PATIENT = RollingPolicy()  # Azure's timeouts: five minutes to get healthy, fifteen to start


def published(story: Story, version: str = "1.1.0") -> None:
    story.happens(f"{version} is published")
    story.world.publish(version)


def five_domains() -> Story:
    story = Story("Ten instances in five update domains, a good version.", a_set(replicas=10))
    published(story)
    return story


def three_zones() -> Story:
    world = a_set(replicas=12, zones=("1", "2", "3"), update_domains=2)
    story = Story("Twelve instances in three zones of two update domains: one zone after the other.", world)
    published(story)
    return story


def broken_version() -> Story:
    world = a_set(replicas=10, policy=PATIENT, bad={"1.1.0"})
    story = Story("A version that never gets healthy: one batch, put back, and no more of it.", world)
    published(story)
    world.run(until=lambda w: w.upgrades and w.only_upgrade().finished)
    world.run(timedelta(hours=1))
    published(story, "1.2.0")
    return story


def too_many_unhealthy() -> Story:
    world = a_set(replicas=10)
    story = Story("Three of ten get sick during an upgrade: it stops, and goes on when they are well again.", world)
    published(story)
    world.run(until=in_batch(2))
    story.happens("web-{3,4,8} get sick")
    for ordinal in (3, 4, 8):
        world.break_instance(ordinal)
    world.run(10 * MINUTE)
    story.happens("they recover")
    for ordinal in (3, 4, 8):
        world.heal(ordinal)
    return story


def cancelled() -> Story:
    world = a_set(replicas=10)
    story = Story("A user cancels in the middle of a batch: it is finished, and nothing more.", world)
    published(story)
    world.run(until=lambda w: len(w.on("1.1.0")) == 4)
    story.happens("a user cancels the upgrade")
    world.cancel(world.only_upgrade().name)
    world.run(timedelta(hours=1))
    published(story, "1.2.0")
    return story


def deferred() -> Story:
    world = a_set(replicas=5, os_policy=OSUpgradePolicy(enabled=True, deferral=True))
    story = Story("A deferred upgrade waits for approval; before its first batch it goes to a newer version.", world)
    published(story)
    world.run(MINUTE)
    published(story, "1.2.0")
    world.run(MINUTE)
    story.happens("a user approves web-1")
    world.approve(world.only_upgrade().name, "web-1")
    world.run(MINUTE)
    story.happens("a user approves all")
    world.approve(world.only_upgrade().name, "*")
    return story


def scaled_in() -> Story:
    world = a_set(replicas=10)
    story = Story("Scaled in from ten to six while a batch is at work, and out to eight later.", world)
    published(story)
    world.run(until=in_batch(5))
    story.happens("down to 6 replicas")
    world.replicas = 6
    world.run(MINUTE)
    story.happens("up to 8 replicas")
    world.replicas = 8
    return story


def model_change_automatic() -> Story:
    world = a_set(replicas=6, os_policy=OFF, mode=UpgradeMode.AUTOMATIC)
    story = Story("Mode Automatic: a new model replaces all at once, a new flag none.", world)
    story.happens("the model changes to m2")
    world.change_model("m2")
    world.run(MINUTE)
    story.happens("a flag changes: model m3")
    world.change_model("m3", content=world.model.content, automatic_os_upgrade=True)
    return story


def model_change_rolling() -> Story:
    policy = RollingPolicy(health_timeout=30 * SECOND, pause=20 * SECOND, max_batch_percent=40)
    world = a_set(replicas=5, os_policy=OFF, policy=policy, update_domains=2)
    story = Story("Mode Rolling: the sick one first, then batches of 40% with pauses between them.", world)
    story.happens("web-4 gets sick")
    world.break_instance(4)
    story.happens("the model changes to m2")
    world.change_model("m2")
    return story


def withdrawn() -> Story:
    world = a_set(replicas=10)
    story = Story("The target is withdrawn in mid-upgrade: what is done stays, the rest waits for a newer one.", world)
    published(story)
    world.run(until=lambda w: len(w.on("1.1.0")) == 4)
    story.happens("1.1.0 is excluded from latest")
    world.exclude("1.1.0")
    world.run(timedelta(hours=1))
    published(story, "1.2.0")
    return story


@pytest.mark.parametrize(
    "tell",
    [
        five_domains,
        three_zones,
        broken_version,
        too_many_unhealthy,
        cancelled,
        deferred,
        scaled_in,
        model_change_automatic,
        model_change_rolling,
        withdrawn,
    ],
    ids=lambda tell: tell.__name__,
)
def test_story(tell: Callable[[], Story]) -> None:
    story = tell()
    world: World = story.world
    world.run()
    goldens.compare(DIRECTORY / f"{tell.__name__}.txt", story.text())
    story.refereed.check_rest()
