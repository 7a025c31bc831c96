"""A Hypothesis state machine plays against the engine: scale, publish, exclude, fail, heal, kill, cancel, opt out,
model changes, users' upgrades, crashes in the middle of a decision, and time. After every single write the invariants
of docs/design.md are looked at.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.watcher import Watcher
from engine.world import World
from scalesets.engine.view import (
    OSUpgradePolicy,
    RollingPolicy,
    UpgradeMode,
    UpgradeType,
)

ordinal = st.integers(0, 30)


class Machine(RuleBasedStateMachine):
    """The user, the application and fate, against the engine."""

    @initialize(
        replicas=st.integers(1, 25),
        zones=st.sampled_from([(), ("1", "2"), ("1", "2", "3")]),
        domains=st.integers(1, 6),
        mode=st.sampled_from(list(UpgradeMode)),
        percent=st.sampled_from([5, 20, 50, 100]),
        cross_zone=st.booleans(),
        prioritize=st.booleans(),
        use_policy=st.booleans(),
        pause=st.sampled_from([0, 7]),
        breach=st.booleans(),
        deferral=st.booleans(),
    )
    def begin(
        self, replicas, zones, domains, mode, percent, cross_zone, prioritize, use_policy, pause, breach, deferral
    ):
        self.world = World(
            replicas=replicas,
            zones=zones,
            update_domains=domains,
            mode=mode,
            policy=RollingPolicy(
                max_batch_percent=percent,
                max_unhealthy_percent=max(percent, 20),
                pause=timedelta(seconds=pause),
                health_timeout=timedelta(seconds=20),
                provisioning_timeout=timedelta(seconds=40),
                cross_zone=cross_zone,
                prioritize_unhealthy=prioritize,
                roll_back_on_breach=breach,
            ),
            os_policy=OSUpgradePolicy(enabled=True, use_rolling_policy=use_policy, deferral=deferral),
        )
        self.patch = 0
        self.models = 1
        self.starts = 0
        self.world.publish("1.0.0")
        self.watcher = Watcher(self.world)
        self.world.watchers.append(self.watcher.look)
        self.world.run(timedelta(minutes=1))

    # -- the user --------------------------------------------------------------------------------------------------

    @rule(bad=st.booleans())
    def publish(self, bad):
        self.patch += 1
        version = f"1.{self.patch}.0"
        if bad:
            self.world.bad.add(version)
        self.world.publish(version)

    @rule(index=st.integers(0, 10))
    def exclude(self, index):
        versions = self.world.published[1:]
        if versions:
            self.world.exclude(versions[index % len(versions)].version)

    @rule(replicas=st.integers(1, 30))
    def scale(self, replicas):
        self.world.replicas = replicas
        self.world.generation += 1

    @rule(bad=st.booleans(), flags_only=st.booleans())
    def change_model(self, bad, flags_only):
        self.models += 1
        name = f"m{self.models}"
        if flags_only:
            self.world.change_model(name, content=self.world.model.content)
            if self.world.model.content in self.world.bad:
                self.world.bad.add(name)
        else:
            self.world.change_model(name)
            if bad:
                self.world.bad.add(name)

    @rule(enabled=st.booleans())
    def opt(self, enabled):
        self.world.os_policy = replace(self.world.os_policy, enabled=enabled)
        self.world.generation += 1

    @rule(
        kind=st.sampled_from([UpgradeType.OS_IMAGE, UpgradeType.MODEL]), named=st.lists(st.integers(0, 24), max_size=3)
    )
    def start(self, kind, named):
        self.starts += 1
        names = [f"web-{o}" for o in named if o < self.world.replicas] if kind is UpgradeType.MODEL else []
        self.world.start_upgrade(f"by-hand-{self.starts}", kind, *names)

    @rule(index=st.integers(0, 10), delete=st.booleans())
    def cancel(self, index, delete):
        live = [u for u in self.world.upgrades.values() if not u.finished]
        if live:
            name = live[index % len(live)].name
            if delete:
                self.world.delete_upgrade(name)
            else:
                self.world.cancel(name)

    @rule(index=st.integers(0, 10), everyone=st.booleans(), some=st.lists(st.integers(0, 24), max_size=4))
    def approve(self, index, everyone, some):
        live = [u for u in self.world.upgrades.values() if not u.finished]
        if live:
            names = ["*"] if everyone else [f"web-{o}" for o in some]
            self.world.approve(live[index % len(live)].name, *names)

    @rule(which=ordinal, on=st.booleans())
    def protect(self, which, on):
        (self.world.protected.add if on else self.world.protected.discard)(which)

    # -- the application and fate ----------------------------------------------------------------------------------

    @rule(which=ordinal)
    def sicken(self, which):
        if which in self.world.pods:
            self.world.break_instance(which)
            self.watcher.excuse(which)

    @rule(which=ordinal)
    def heal(self, which):
        if which in self.world.pods and self.world.pods[which].ready_at is None:
            self.world.heal(which)

    @rule(which=ordinal, at_once=st.booleans())
    def kill(self, which, at_once):
        if which in self.world.pods:
            self.world.kill(which, at_once=at_once)
            self.watcher.excuse(which)

    @rule(which=ordinal)
    def end(self, which):
        if which in self.world.pods:
            self.world.end(which)
            self.watcher.excuse(which)

    @rule(which=ordinal)
    def hang(self, which):
        """The node of a terminating pod is gone."""
        pod = self.world.pods.get(which)
        if pod is not None and pod.gone_at is not None:
            pod.gone_at = None

    @rule(steps=st.integers(0, 4))
    def crash(self, steps):
        self.world.turn(crash_after=steps)

    @rule(turns=st.integers(1, 30))
    def work(self, turns):
        for _ in range(turns):
            self.world.turn()

    @rule(seconds=st.sampled_from([1, 2, 5, 30, 120]))
    def wait(self, seconds):
        self.world.run(timedelta(seconds=seconds))

    # -- what always holds -----------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "watcher"))
    @invariant()
    def nothing_was_broken(self):
        assert not self.watcher.violations, "\n".join([*self.watcher.violations, *self.world.log[-12:]])

    def teardown(self):
        """Faults end, health returns, everything is approved: every started upgrade ends and the set comes to rest
        (I7, I9).
        """
        if not hasattr(self, "world"):
            return
        world = self.world
        world.bad.clear()
        world.protected.clear()
        for pod in world.pods.values():
            if pod.deleting_since is not None and pod.gone_at is None:
                pod.gone_at = world.now
            if pod.ready_at is None:
                pod.ready_at = world.now
        world.os_policy = replace(world.os_policy, deferral=False)
        world.run(timedelta(hours=6))
        unfinished = [u.name for u in world.upgrades.values() if not u.finished]
        assert not unfinished, (unfinished, world.log[-10:])
        assert world.status.current_upgrade == ""
        assert world.all_ready(), ({o: p for o, p in world.pods.items() if not p.ready_at}, world.log[-10:])
        before = world.writes
        world.run(timedelta(minutes=30))
        assert world.writes == before, "a quiet set is written"
        assert not self.watcher.violations, "\n".join(self.watcher.violations)


Machine.TestCase.settings = settings(
    max_examples=int(os.environ.get("SCALESETS_EXAMPLES", "150")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestInvariants = Machine.TestCase
