"""A Hypothesis state machine plays machines and availability sets against the engine: they come and go, extensions are
published, broken, withdrawn, opted in and out, pods get sick, are lost or hang, models change, users start and cancel
upgrades, nodes are too old, secrets are missing, views lag, workers are slow, the operator crashes; and time.

The referees of the cluster tests look at every single write: at each machine and availability set by itself as if it
were a set (I1 to I8), and at all of a subscription in a location together (I10). In the end faults are over, health
returns, and every upgrade that was started must end, with whoever has opted in on the newest version.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine import reached
from engine.site import HERE, THERE, Site
from engine.state import Gallery
from engine.world import FIRST_MODEL, IMAGE, SECOND
from scalesets.engine.catalogue import PublishedVersion
from scalesets.engine.reasons import CANCELLED_BY_USER
from scalesets.engine.view import ModelExtension, RollingPolicy, Timing, UpgradeStatus

which = st.integers(0, 30)
EXTENSIONS = tuple(ModelExtension(name, f"acme/{name}", "1.0") for name in ("backup", "monitor"))
NAMESPACES = ("team-a", "team-b", "team-c")
GROUP = "dbs"
QUICKLY = {"health_timeout": 20 * SECOND, "provisioning_timeout": 40 * SECOND}
STALE = 2 * SECOND


class Machine(RuleBasedStateMachine):
    """Users, applications and fate, against the engine."""

    @initialize(
        alone=st.sampled_from([0, 1, 3, 6, 11, 16]),
        grouped=st.sampled_from([0, 0, 1, 2, 5, 9]),
        domains=st.integers(1, 5),
        zones=st.integers(0, 3),
        far=st.integers(0, 3),
        lag=st.sampled_from([0.0, 0.0, 0.5, 1.5]),
        max_unhealthy=st.sampled_from([20, 50, 100]),
        pause=st.sampled_from([0, 0, 7]),
        extensions=st.sampled_from([EXTENSIONS, EXTENSIONS, EXTENSIONS[:1], EXTENSIONS[1:]]),
    )
    def begin(self, alone, grouped, domains, zones, far, lag, max_unhealthy, pause, extensions):
        self.site = Site(
            policy=RollingPolicy(
                max_unhealthy_percent=max_unhealthy,
                max_unhealthy_upgraded_percent=max_unhealthy,
                pause=timedelta(seconds=pause),
                **QUICKLY,
            ),
            timing=Timing(extension_retry_interval=timedelta(minutes=3)),
            lag=timedelta(seconds=lag),
            subscriptions={"team-c": "another"},
        )
        self.zones, self.patch, self.count = zones, 0, 0
        self.late = []
        self.model = replace(
            FIRST_MODEL, extensions=tuple(replace(e, enable_automatic_upgrade=True) for e in extensions)
        )
        self.site.images[IMAGE].published.append(PublishedVersion("1.0.0", "registry.example/os:1.0.0"))
        for extension in EXTENSIONS:
            gallery = self.site.extensions[extension.key] = Gallery()
            gallery.published.append(PublishedVersion("1.0.0", f"registry.example/{extension.key}:1.0.0"))
        for number in range(alone):
            self.add_alone(NAMESPACES[number % 7 // 3], far and number % far == 1)
        if grouped:
            self.site.add_group(GROUP, domains)
            for _ in range(grouped):
                self.join()
        self.site.run(timedelta(minutes=1))

    # -- the publisher ------------------------------------------------------------------------------------------------

    @rule(what=st.sampled_from(EXTENSIONS), how=st.sampled_from(["good", "good", "bad", "major", "elsewhere"]))
    def publish(self, what, how):
        self.patch += 1
        version = f"{2 if how == 'major' else 1}.{self.patch}.0"
        if how == "bad":
            self.site.bad.add(f"{what.name}:{version}")
        fields = {"target_regions": (THERE,)} if how == "elsewhere" else {}
        published = PublishedVersion(version, f"registry.example/{what.key}:{version}", **fields)
        self.site.extensions[what.key].published.append(published)
        self.site.wake_all()

    @rule(how=st.sampled_from(["good", "bad"]))
    def publish_both(self, how):
        """Two are due at once; the first may fail."""
        self.publish(EXTENSIONS[0], how)
        self.publish(EXTENSIONS[1], "good")

    @rule(what=st.sampled_from(EXTENSIONS))
    def withdraw(self, what):
        published = self.site.extensions[what.key].published
        if len(published) > 1:
            published.pop()
            self.site.wake_all()

    # -- users ---------------------------------------------------------------------------------------------------------

    @rule(namespace=st.sampled_from(NAMESPACES), far=st.booleans())
    def add_alone(self, namespace, far):
        self.count += 1
        zones = (str(self.count % self.zones + 1),) if self.zones else ()
        location = THERE if far else HERE
        self.site.add(f"vm-{self.count}", self.model, namespace=namespace, location=location, zones=zones)

    @precondition(lambda self: hasattr(self, "site") and self.site.groups)
    @rule()
    def join(self):
        self.count += 1
        self.site.add(f"db-{self.count}", self.model, group=GROUP)

    @rule(which=which, joins=st.booleans())
    def leave(self, which, joins):
        """A machine is deleted; another one may come at once, and get its place in the availability set."""
        if key := self._some(which):
            joins = joins and self.site.machines[key].group is not None
            self.site.remove(key)
            if joins:
                self.join()

    @rule(which=which, what=st.sampled_from(EXTENSIONS), enabled=st.booleans(), everywhere=st.booleans())
    def opt(self, which, what, enabled, everywhere):
        """A flag: a change of the model that restarts nobody."""
        for key in self.site.machines if everywhere else filter(None, [self._some(which)]):
            machine = self.site.machines[key]
            some = [
                replace(e, enable_automatic_upgrade=enabled) if e.name == what.name else e
                for e in machine.model.extensions
            ]
            self._change_model(key, machine.model.content, extensions=tuple(some))

    @rule(which=which, bad=st.booleans(), what=st.sampled_from(["same", "other extensions"]))
    def change_model(self, which, bad, what):
        """Of one machine: it is made anew."""
        if key := self._some(which):
            fields = {"extensions": self.site.machines[key].model.extensions[:1]} if what != "same" else {}
            self._change_model(key, None, **fields)
            if bad:
                self.site.bad.add(self.site.machines[key].model.name)

    def _change_model(self, key, content, **fields):
        self.count += 1
        machine = self.site.machines[key]
        before = machine.model
        machine.change_model(f"m{self.count}", content=content, **fields)
        if content is not None and {before.name, content} & self.site.bad:
            self.site.bad.add(machine.model.name)
        self.site.wake(key)

    @rule(which=which, of_group=st.booleans(), some=st.lists(st.sampled_from(EXTENSIONS), unique=True))
    def start(self, which, of_group, some):
        keys = list(self.site.groups) if of_group else [self._some(which)]
        for key in filter(None, keys):
            self.count += 1
            self.site.worlds[key].upgrade_extensions(f"by-hand-{self.count}", *(e.name for e in some))
            self.site.wake(key)

    @rule(which=which, delete=st.booleans())
    def cancel(self, which, delete):
        live = [(k, u) for k, w in self.site.worlds.items() for u in w.upgrades.values() if not u.finished]
        if live:
            key, upgrade = live[which % len(live)]
            world = self.site.worlds[key]
            (world.delete_upgrade if delete else world.cancel)(upgrade.name)
            self.site.wake(key)

    # -- applications and fate -----------------------------------------------------------------------------------------

    @rule(which=which, what=st.sampled_from(["sicken", "heal", "kill", "kill softly", "end", "hang", "protect", "old"]))
    def befall(self, which, what):
        key = self._some(which)
        if not key or 0 not in self.site.machines[key].pods:
            return
        machine = self.site.machines[key]
        pod = machine.pods[0]
        match what:
            case "sicken":
                machine.break_instance(0)
            case "heal":
                machine.heal(0)
            case "kill" | "kill softly":
                self.site.excuse(key)
                machine.kill(0, at_once=what == "kill")
            case "end":
                self.site.excuse(key)
                machine.end(0)
            case "hang":
                pod.gone_at = None
            case "protect":
                pod.protected = not pod.protected
            case "old":
                self._change_node(machine)
        self.site.wake(key)

    def _change_node(self, machine):
        """Its kubelet doesn't restart patched sidecars, or does again."""
        of = machine.unpatchable
        (of.discard if 0 in of else of.add)(0)

    @rule(which=which, what=st.sampled_from(["secrets", "quota", "watch"]), on=st.booleans())
    def trouble(self, which, what, on):
        if key := self._some(which):
            machine = self.site.machines[key]
            match what:
                case "secrets":
                    machine.missing_secrets = "Secret team-a/keys is missing" if on else ""
                case "quota":
                    machine.quota_full = on
                case "watch":
                    machine.fresh_since = None if on else self.site.now
            self.site.wake(key)

    # -- the operator ----------------------------------------------------------------------------------------------

    @rule(which=which, steps=st.integers(0, 6))
    def crash(self, which, steps):
        """Killed between any two writes, and started again."""
        if self.site.worlds:
            self.site.turn(list(self.site.worlds)[which % len(self.site.worlds)], crash_after=steps)
        self.site.restart()
        self.late.clear()

    @rule(which=which)
    def decide_late(self, which):
        """A worker decides, and takes its time."""
        keys = [k for k in self.site.worlds if k not in {key for key, _ in self.late}]
        if keys and (decided := self.site.look(key := keys[which % len(keys)])) is not None:
            self.late.append((key, decided))

    @precondition(lambda self: self.late)
    @rule()
    def arrive_late(self):
        for key, decided in self.late:
            if self.site.now - decided.at <= STALE:
                self.site.carry_out(key, decided)
            self.site.wake(key)
        self.late.clear()

    @rule(turns=st.integers(1, 30))
    def work(self, turns):
        self.site.work(turns)

    @rule(seconds=st.sampled_from([1, 2, 5, 30, 200]))
    def wait(self, seconds):
        self.site.run(timedelta(seconds=seconds))

    @rule(seconds=st.sampled_from([1, 3, 10]))
    def wait_a_little(self, seconds):
        """Much of what happens should meet an upgrade at work."""
        self.wait(seconds)

    @rule(how=st.sampled_from(["good", "bad"]), batches=st.integers(1, 3))
    def publish_and_wait_for_a_batch(self, how, batches):
        self.publish_both(how)
        end, wanted = self.site.now + timedelta(minutes=2), self._batches() + batches
        while self._batches() < wanted and self.site.now < end:
            self.site.run(SECOND)

    def _batches(self):
        return sum(len(s.batches) for s in self._statuses())

    def _statuses(self) -> list[UpgradeStatus]:
        return [u.status for w in self.site.worlds.values() for u in w.upgrades.values() if u.status is not None]

    def _some(self, which):
        keys = list(self.site.machines)
        return keys[which % len(keys)] if keys else None

    # -- what always holds -----------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "site"))
    @invariant()
    def nothing_was_broken(self):
        self.site.check()

    def teardown(self):
        """Faults end and health returns: every upgrade ends, whoever has opted in gets the newest, and it is quiet."""
        if not hasattr(self, "site"):
            return
        site = self.site
        reached.tell(u for w in site.worlds.values() for u in w.upgrades.values())
        site.bad.clear()
        for key, machine in site.machines.items():
            machine.quota_full, machine.missing_secrets, machine.fresh_since = False, "", site.now
            machine.unpatchable.clear()
            for pod in machine.pods.values():
                pod.protected = False
                if pod.deleting_since is not None and pod.gone_at is None:
                    pod.gone_at = site.now
                if pod.ready_at is None:
                    pod.ready_at = site.now
                for container in pod.containers.values():
                    container.bad = False
            site.wake(key)
        for what in EXTENSIONS:
            self.publish(what, "good")
        site.run(3 * SECOND)
        site.restart()  # while some are at work: the others must be told all the same when these are done
        site.run(timedelta(hours=6))
        for (_, name), world in site.worlds.items():
            unfinished = [u.name for u in world.upgrades.values() if not u.finished]
            assert not unfinished, (name, unfinished, site.log())
            assert world.status.current_upgrade == ""
        for (_, name), machine in site.machines.items():
            assert machine.all_ready(), (name, machine.pods, site.log())
            for extension in machine.model.extensions:
                if extension.enable_automatic_upgrade:
                    self._is_on_newest(name, machine, extension)
        site.check_rest()

    def _is_on_newest(self, name, machine, extension):
        installed = dict(machine.pods[0].release.extensions)[extension.name]
        major = installed.partition(".")[0]
        there = [
            tuple(map(int, p.version.split(".")))
            for p in self.site.extensions[extension.key].published
            if p.version.startswith(f"{major}.") and (p.target_regions is None or machine.location in p.target_regions)
        ]
        newest = ".".join(map(str, max(there)))
        last = (machine.group or machine).status.last_extension_upgrades.get(extension.name)
        if last is not None and last.version == newest and last.code == CANCELLED_BY_USER:
            return  # the user's word: not by itself again
        assert installed == newest, (name, extension.name, installed, newest, self.site.log())


Machine.TestCase.settings = settings(
    max_examples=int(os.environ.get("SCALESETS_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestMachineInvariants = pytest.mark.requirement("E5b", "E5c")(Machine.TestCase)
