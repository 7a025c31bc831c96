"""A Hypothesis state machine plays against the engine: scale, publish, exclude, withdraw, fail, heal, kill, cancel, opt
out, protect, approve, model changes in all modes, extensions that are published, opted out and fail, users' upgrades,
quotas, refused templates, missing secrets, late views, late writes, crashes in the middle of a decision, and time. The
referee of the cluster tests looks at every single write. In the end faults are over, health returns, and every upgrade
that was started must end.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine import reached
from engine.refereed import Refereed
from engine.world import FIRST_MODEL, IMAGE, SECOND, World
from scalesets.engine.reasons import CANCELLED_BY_USER
from scalesets.engine.view import (
    Code,
    ModelExtension,
    OSUpgradePolicy,
    RollingPolicy,
    StartedBy,
    TargetOutcome,
    Timing,
    UpgradeMode,
    UpgradeType,
)

ordinal = st.integers(0, 30)
index = st.integers(0, 10)
POLICIES = st.fixed_dictionaries(
    {
        "max_batch_percent": st.sampled_from([5, 20, 50, 100]),
        "max_unhealthy_percent": st.sampled_from([20, 50, 100]),
        "max_unhealthy_upgraded_percent": st.sampled_from([0, 20, 50, 100]),
        "pause": st.sampled_from([0, 7]).map(lambda seconds: timedelta(seconds=seconds)),
        "cross_zone": st.booleans(),
        "prioritize_unhealthy": st.booleans(),
        "roll_back_on_breach": st.booleans(),
    }
)
OS_POLICIES = st.fixed_dictionaries(
    {"use_rolling_policy": st.booleans(), "deferral": st.booleans(), "disable_roll_back": st.booleans()}
)
EXTENSIONS = tuple(ModelExtension(name, f"acme/{name}", "1.0") for name in ("backup", "monitor"))
SECOND_MAJOR = "2.0.0"
FAULTS = ["bad", "unmade", "unknown"]
"""What may be the matter with a version: its container fails, can't be made, or has no image."""
QUICKLY = {"health_timeout": 20 * SECOND, "provisioning_timeout": 40 * SECOND}

RETRY = timedelta(minutes=3)

STALE = 2 * SECOND
"""A write that comes later than this after its decision isn't sent any more: the operator's lease is over."""


class Machine(RuleBasedStateMachine):
    """The user, the application and fate, against the engine."""

    @initialize(
        replicas=st.integers(1, 25),
        zones=st.sampled_from([(), ("1", "2"), ("1", "2", "3")]),
        domains=st.integers(1, 6),
        mode=st.sampled_from(list(UpgradeMode)),
        policy=POLICIES,
        os_policy=OS_POLICIES,
        lag=st.sampled_from([0.0, 0.0, 0.5, 1.5]),
        keep_claims=st.booleans(),
        extensions=st.sampled_from([EXTENSIONS, EXTENSIONS, EXTENSIONS[::-1], EXTENSIONS[:1], ()]),
    )
    def begin(self, replicas, zones, domains, mode, policy, os_policy, lag, keep_claims, extensions):
        self.world = World(
            model=replace(FIRST_MODEL, extensions=tuple(replace(e, enable_automatic_upgrade=True) for e in extensions)),
            timing=Timing(extension_retry_interval=RETRY),
            replicas=replicas,
            zones=zones,
            update_domains=domains,
            mode=mode,
            policy=RollingPolicy(**policy, **QUICKLY),
            os_policy=OSUpgradePolicy(enabled=True, **os_policy),
            lag=timedelta(seconds=lag),
            delete_claims_when_scaled=not keep_claims,
        )
        self.patch = 0
        self.models = 1
        self.starts = 0
        self.late = None
        self.withdrawn = []
        self.world.publish("1.0.0")
        for extension in EXTENSIONS:
            self.world.publish_extension(extension.key, "1.0.0")
        self.refereed = Refereed(self.world)
        self.world.run(timedelta(minutes=1))

    # -- the publisher -----------------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["good", "good", "bad", "failing", "later", "elsewhere"]))
    def publish(self, how):
        self.patch += 1
        version = f"1.{self.patch}.0"
        world = self.world
        if how == "bad":
            world.bad.add(version)
        if how == "failing":
            world.failing.add(version)
        fields = {"published_date": world.now + 60 * SECOND} if how == "later" else {}
        fields |= {"target_regions": ("elsewhere",)} if how == "elsewhere" else {}
        world.publish(version, **fields)

    @rule(which=index, how=st.sampled_from(["exclude", "include", "withdraw", "publish again"]))
    def edit_catalogue(self, which, how):
        world, versions = self.world, self.world.published[1:]
        if how == "publish again":
            world.published.extend(self.withdrawn)
            self.withdrawn.clear()
        elif versions:
            chosen = versions[-1 - which % min(2, len(versions))]  # one of the two newest: likely a target
            if how == "withdraw":
                self.withdrawn.append(chosen)
                world.withdraw(chosen.version)
            else:
                world.exclude(chosen.version, excluded=how == "exclude")

    @rule(which=st.sampled_from(EXTENSIONS), how=st.sampled_from(["good", *FAULTS, "major", "withdraw"]))
    def publish_extension(self, which, how):
        world, gallery = self.world, self.world.extensions[which.key]
        if how == "withdraw":
            if len(gallery.published) > 1:
                world.withdraw_extension(which.key, gallery.published[-1].version)
            return
        self.patch += 1
        if how == "major":
            self._publish_major(which)
        there = {p.version.partition(".")[0] for p in gallery.published}
        fault = {"bad": world.bad, "unmade": world.unmade, "unknown": world.unknown_images}.get(how, set())
        for version in sorted(f"{major}.{self.patch}.0" for major in there):
            fault.add(f"{which.name}:{version}")
            world.publish_extension(which.key, version)

    def _publish_major(self, which):
        if not any(p.version == SECOND_MAJOR for p in self.world.extensions[which.key].published):
            self.world.publish_extension(which.key, SECOND_MAJOR)

    @rule(faults=st.permutations(["good", *FAULTS]))
    def publish_both(self, faults):
        """Two are due at once; the first may fail, or the second, or both."""
        for extension, how in zip(EXTENSIONS, faults, strict=False):
            self.publish_extension(extension, how)

    @rule(faults=st.permutations(["good", "good", *FAULTS]), batches=st.integers(1, 3))
    def publish_both_and_wait_for_a_batch(self, faults, batches):
        self.publish_both(faults)
        self.wait_for_a_batch(batches)

    @rule(which=st.sampled_from(EXTENSIONS), how=st.sampled_from(FAULTS[:2]), mended=st.booleans())
    def break_the_way_back(self, which, how, mended):
        """A version fails, and the former one isn't what it was either."""
        world = self.world
        fault = {"bad": world.bad, "unmade": world.unmade}[how]
        runs = {dict(p.release.extensions).get(which.name) for p in world.pods.values()} - {None}
        broken = {f"{which.name}:{version}" for version in runs} - fault
        self.publish_extension(which, how)
        self.wait_for_a_batch(1)
        fault |= broken  # whoever is patched from now on
        end = world.now + timedelta(minutes=2)
        while not self._puts_back() and world.now < end:
            world.run(SECOND)
        world.run(3 * SECOND)
        fault -= broken
        if mended:
            self.mend()

    @rule()
    def mend(self):
        """Whatever is the matter with versions of extensions, they are mended; who runs one gets well."""
        world = self.world
        for fault in (world.bad, world.unmade):
            fault -= {what for what in fault if ":" in what}
        world.unknown_images.clear()
        for pod in world.pods.values():
            for container in pod.containers.values():
                container.mend()

    @rule(mended=st.booleans())
    def wait_for_the_retry(self, mended):
        """What failed is tried again."""
        if mended:
            self.mend()
        self.wait(200)

    def _puts_back(self):
        live = [u.status for u in self.world.upgrades.values() if u.status is not None and not u.finished]
        return any(status.running_batch is not None and status.running_batch.rolled_back for status in live)

    # -- the user --------------------------------------------------------------------------------------------------

    @rule(replicas=st.integers(0, 30), owned=st.booleans())
    def scale(self, replicas, owned):
        self.world.replicas = replicas
        self.world.replicas_owned = owned or replicas != 1
        self.world.generation += 1

    @rule(how=st.sampled_from(["good", "good", "bad", "flags", "image", "pinned"]))
    def change_model(self, how):
        self.models += 1
        name, world = f"m{self.models}", self.world
        match how:
            case "flags":
                world.change_model(name, content=world.model.content)
                if world.model.content in world.bad:
                    world.bad.add(name)
            case "image":
                other = "debian" if world.model.image == IMAGE else IMAGE
                if "debian" not in world.images:
                    world.publish("7.0.0", image="debian")
                world.change_model(name, image=other, version="latest")
            case "pinned":
                pinned = world.model.version == "latest" and world.model.image == IMAGE and world.published
                world.change_model(name, version=world.published[0].version if pinned else "latest")
            case _:
                world.change_model(name)
                if how == "bad":
                    world.bad.add(name)

    @rule(which=st.sampled_from(EXTENSIONS), enabled=st.booleans())
    def opt_extension(self, which, enabled):
        """A flag: a change of the model that restarts nobody."""
        model = self.world.model
        if any(e.name == which.name for e in model.extensions):
            changed = [
                replace(e, enable_automatic_upgrade=enabled) if e.name == which.name else e for e in model.extensions
            ]
            self.models += 1
            self.world.change_model(f"m{self.models}", content=model.content, extensions=tuple(changed))
            if model.content in self.world.bad or model.name in self.world.bad:
                self.world.bad.add(f"m{self.models}")

    @rule(
        some=st.lists(st.sampled_from(EXTENSIONS), unique=True),
        major=st.booleans(),
        newest=st.booleans(),
        at_work=st.booleans(),
    )
    def change_extensions(self, some, major, newest, at_work):
        """The list, its order, the versions that it names: a change of the model that replaces everybody."""
        self.models += 1
        handler = SECOND_MAJOR[:3] if major else "1.0"
        for extension in some if major else ():
            self._publish_major(extension)
        fields = {"enable_automatic_upgrade": True, "auto_upgrade_minor_version": newest}
        changed = tuple(replace(e, type_handler_version=handler, **fields) for e in some)
        self.world.change_model(f"m{self.models}", extensions=changed)
        if at_work:
            self.wait_for_a_batch(1)

    @rule(some=st.lists(st.sampled_from(EXTENSIONS), unique=True))
    def start_extensions(self, some):
        self.starts += 1
        self.world.upgrade_extensions(f"by-hand-{self.starts}", *(e.name for e in some))

    @rule(some=st.sets(ordinal, max_size=6), old=st.booleans())
    def change_nodes(self, some, old):
        """Their kubelets don't restart patched sidecars, or do again."""
        if old:
            self.world.unpatchable |= some
        else:
            self.world.unpatchable -= some

    @rule(mode=st.sampled_from(list(UpgradeMode)))
    def change_mode(self, mode):
        self.world.mode = mode
        self.world.generation += 1

    @rule(policy=POLICIES, os_policy=OS_POLICIES)
    def change_policy(self, policy, os_policy):
        self.world.policy = RollingPolicy(**policy, **QUICKLY)
        self.world.os_policy = replace(self.world.os_policy, **os_policy)
        self.world.generation += 1

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

    @rule(which=index, delete=st.booleans())
    def cancel(self, which, delete):
        live = [u for u in self.world.upgrades.values() if not u.finished]
        if live:
            name = live[which % len(live)].name
            if delete:
                self.world.delete_upgrade(name)
            else:
                self.world.cancel(name)

    @rule(which=index, everyone=st.booleans(), some=st.lists(st.integers(0, 24), max_size=4))
    def approve(self, which, everyone, some):
        live = [u for u in self.world.upgrades.values() if not u.finished]
        if live:
            names = ["*"] if everyone else [f"web-{o}" for o in some]
            self.world.approve(live[which % len(live)].name, *names)

    @rule(which=ordinal, on=st.booleans(), lasting=st.booleans())
    def protect(self, which, on, lasting):
        """By spec.instanceProtection, or by the pod's annotation."""
        world = self.world
        if lasting:
            (world.protected.add if on else world.protected.discard)(which)
            world.generation += 1
        elif which in world.pods:
            world.pods[which].protected = on

    @rule(which=ordinal)
    def delete_claim(self, which):
        if which in self.world.claims and which in self.world.pods:
            self.refereed.referee.excuse("PersistentVolumeClaim", "team-a", f"data-web-{which}")
            self.world.delete_claim(which)

    @rule(orphans=st.booleans())
    def recreate(self, orphans):
        self._excuse(*self.world.pods)
        self.world.recreate(orphans=orphans)
        self.work(2)  # what becomes of orphans before somebody adopts them isn't known; a trial may end the first turn
        self.late = None

    # -- the application and fate ----------------------------------------------------------------------------------

    @rule(which=ordinal)
    def sicken(self, which):
        if which in self.world.pods:
            self.world.break_instance(which)

    @rule(which=ordinal)
    def heal(self, which):
        if which in self.world.pods and self.world.pods[which].ready_at is None:
            self.world.heal(which)

    @rule(which=ordinal, at_once=st.booleans())
    def kill(self, which, at_once):
        if which in self.world.pods:
            self._excuse(which)
            self.world.kill(which, at_once=at_once)

    @rule(which=ordinal)
    def end(self, which):
        if which in self.world.pods:
            self._excuse(which)
            self.world.end(which)

    def _excuse(self, *some):
        """Their pods go by somebody else's doing: in an extension upgrade the operator takes none down."""
        for which in some:
            self.refereed.referee.excuse("Pod", "team-a", f"web-{which}")

    @rule(which=ordinal)
    def hang(self, which):
        """The node of a terminating pod is gone."""
        pod = self.world.pods.get(which)
        if pod is not None and pod.gone_at is not None:
            pod.gone_at = None

    @rule(
        kind=st.sampled_from(["quota", "template", "secrets", "secrets of the model", "catalogue", "watch"]),
        on=st.booleans(),
    )
    def trouble(self, kind, on):
        """It comes or goes: a full quota, a refused template, a missing secret, no catalogue, no watch of pods."""
        world = self.world
        match kind:
            case "quota":
                world.quota_full = on
            case "template":
                (world.refused.add if on else world.refused.discard)(world.model.name)
            case "secrets":
                world.missing_secrets = "Secret team-a/keys is missing" if on else ""
                world.missing_for = set()
            case "secrets of the model":
                world.missing_secrets = "Secret team-a/keys is missing" if on else ""
                world.missing_for = {world.model.name} if on else set()
            case "catalogue":
                world.images[IMAGE].exists = not on
            case "watch":
                world.fresh_since = None if on else world.now

    @rule(what=st.sampled_from(["exclude", "withdraw", "scale", "cancel", "opt out", "model", "mode"]), which=index)
    def in_mid_upgrade(self, what, which):
        """A good version comes, and as soon as a batch is at work somebody changes their mind."""
        self.publish("good")
        self.wait_for_a_batch(1)
        match what:
            case "exclude" | "withdraw":
                self.edit_catalogue(0, what)
            case "scale":
                self.scale(which, owned=True)
            case "cancel":
                self.cancel(which, delete=False)
            case "opt out":
                self.opt(enabled=False)
            case "model":
                self.change_model("good")
            case "mode":
                self.change_mode(list(UpgradeMode)[which % 3])

    # -- the operator ----------------------------------------------------------------------------------------------

    @rule(steps=st.integers(0, 6))
    def crash(self, steps):
        """Killed between any two writes, and started again."""
        self.world.turn(crash_after=steps)
        self.world.restart()

    @rule()
    def decide_late(self):
        self.late = self.world.look()

    @precondition(lambda self: self.late is not None)
    @rule()
    def arrive_late(self):
        """What was decided then is sent only now: by a slow operator, or one that was replaced."""
        if self.world.now - self.late.at <= STALE:
            self.world.carry_out(self.late)
        self.late = None

    @rule(turns=st.integers(1, 30))
    def work(self, turns):
        for _ in range(turns):
            self.world.turn()

    @rule(seconds=st.sampled_from([1, 2, 5, 30, 120]))
    def wait(self, seconds):
        self.world.run(timedelta(seconds=seconds))

    @rule(seconds=st.sampled_from([3, 10, 60]))
    def wait_more(self, seconds):
        """As often again: much of what happens should meet an upgrade at work."""
        self.wait(seconds)

    @rule(batches=st.integers(1, 3))
    def wait_for_a_batch(self, batches):
        """Until a batch more was written, if one comes soon."""
        end = self.world.now + timedelta(minutes=2)
        wanted = self._batches() + batches
        while self._batches() < wanted and self.world.now < end:
            self.world.run(SECOND)

    def _batches(self):
        return sum(len(u.status.batches) for u in self.world.upgrades.values() if u.status is not None)

    # -- what always holds -----------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "refereed"))
    @invariant()
    def nothing_was_broken(self):
        self.refereed.check()

    @precondition(lambda self: hasattr(self, "refereed"))
    @invariant()
    def what_failed_has_its_rest(self):
        """What failed isn't tried again by itself before the retry interval is over (E4), unless something else was
        tried meanwhile.
        """
        last = {}  # extension and major -> what was tried last, and how that went
        for upgrade in sorted(self.world.upgrades.values(), key=lambda u: u.created):
            status = upgrade.status
            if status is None or upgrade.type is not UpgradeType.EXTENSION or upgrade.created < self.world.created:
                continue
            for target in status.extensions:
                which = target.name, target.to.partition(".")[0]
                to, failed = last.get(which, ("", None))
                if failed is not None and to == target.to and upgrade.started_by is StartedBy.PLATFORM:
                    assert upgrade.created - failed.completed >= RETRY, (failed, upgrade)
                fails = status.completed and target.outcome in (TargetOutcome.FAILED, TargetOutcome.STOPPED)
                last[which] = target.to, status if fails else None

    def teardown(self):
        """Faults end, health returns, everything is approved, and good versions of all images are out (a set whose only
        version failed has none for new instances): every started upgrade ends and the set comes to rest (I7, I9).
        """
        if not hasattr(self, "world"):
            return
        world = self.world
        reached.tell(world.upgrades.values())
        self.mend()
        for trouble in (world.bad, world.failing, world.protected, world.refused, world.unpatchable, world.missing_for):
            trouble.clear()
        world.quota_full, world.missing_secrets, world.fresh_since = False, "", world.now
        world.replicas_owned = True
        for gallery in world.images.values():
            gallery.exists = True
        world.published.extend(self.withdrawn)
        self.publish("good")
        for extension in EXTENSIONS:
            self._publish_major(extension)
            self.publish_extension(extension, "good")
        if "debian" in world.images:
            world.publish("7.1.0", image="debian")
        for ordinal, pod in list(world.pods.items()):
            if pod.deleting_since is not None and pod.gone_at is None:
                pod.gone_at = world.now
            if pod.ready_at is None:
                pod.ready_at = world.now
            pod.fails_to_start = pod.protected = False
            if ordinal in world.claims_deleting:
                self._excuse(ordinal)
                world.kill(ordinal)  # its user lets it go, with its data
        world.os_policy = replace(world.os_policy, deferral=False)
        world.generation += 1
        world.run(timedelta(hours=6))
        unfinished = [u.name for u in world.upgrades.values() if not u.finished]
        assert not unfinished, (unfinished, world.log[-10:])
        assert world.status.current_upgrade == ""
        assert world.all_ready(), ({o: p for o, p in world.pods.items() if not p.ready_at}, world.log[-10:])
        for extension in world.model.extensions:
            if extension.enable_automatic_upgrade:
                self._is_on_newest(extension)
        self.refereed.check_rest()

    def _is_on_newest(self, extension):
        """Whoever follows the model has the newest version of its major, unless a user said otherwise (E1, E8b)."""
        world = self.world
        last = world.status.last_extension_upgrades.get(extension.name)
        for ordinal, pod in world.pods.items():
            installed = dict(pod.release.extensions).get(extension.name)
            if installed is None or pod.release.model != world.model.name:
                assert world.mode is UpgradeMode.MANUAL or self._model_was_given_up(), (ordinal, pod.release)
                continue
            published = [p.version for p in world.extensions[extension.key].published]
            newest = max(
                (v for v in published if v.partition(".")[0] == installed.partition(".")[0]),
                key=lambda v: tuple(map(int, v.split("."))),
            )
            if last is not None and (last.version, last.code) == (newest, CANCELLED_BY_USER):
                continue
            assert installed == newest, (ordinal, extension.name, installed, newest, world.log[-10:])

    def _model_was_given_up(self):
        """The upgrade to the model was cancelled, or failed: it stays so until its user says otherwise."""
        last = self.world.status.last_model_upgrade
        return last is not None and last.model == self.world.model.name and last.outcome is not Code.COMPLETED


Machine.TestCase.settings = settings(
    max_examples=int(os.environ.get("SCALESETS_EXAMPLES", "150")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestInvariants = Machine.TestCase
