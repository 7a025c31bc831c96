"""Follows upgrades: each batch that is written, each member that goes down, counts and ends (I1, I2, I4 to I6, I8)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from refereeing import objects
from refereeing.book import FINAL, Batch, Book, Instance, Origin, Past, ScaleSet, Touched, Upgrade, read_batch
from refereeing.objects import EXTENSION, LAG, Json, Key, render


class Upgrades:
    """Takes in events of upgrades and images, and hears of instances that changed."""

    def __init__(self, book: Book, *, catalog_namespace: str) -> None:
        self._book = book
        self._catalog_namespace = catalog_namespace
        self._images: dict[Key, Past] = {}
        self._extensions: dict[Key, Past] = {}

    # -- events --------------------------------------------------------------------------------------------------------

    def see_image(self, event: str, key: Key, obj: Json, at: datetime, *, told: bool) -> None:
        """One event of a GalleryImage."""
        self._see_versions(self._images, f"image {key[1]}", event, key, obj, at, told=told)

    def see_extension(self, event: str, key: Key, obj: Json, at: datetime, *, told: bool) -> None:
        """One event of an Extension."""
        self._see_versions(self._extensions, f"extension {key[1]}", event, key, obj, at, told=told)

    def _see_versions(
        self, known: dict[Key, Past], what: str, event: str, key: Key, obj: Json, at: datetime, *, told: bool
    ) -> None:
        past = known.setdefault(key, Past())
        before = objects.version_words(past.now) if past.now else []
        past.add(at, {} if event == "DELETED" else obj)
        for words in objects.version_words(past.now):
            if words not in before and told:
                self._book.tell(at, f"{what}: {words}")

    def see_upgrade(self, event: str, key: Key, obj: Json, at: datetime, *, judged: bool) -> None:
        """One event of a RollingUpgrade. What led to an object that isn't ``judged`` wasn't seen."""
        book, spec, uid = self._book, obj["spec"], obj["metadata"]["uid"]
        upgrade = book.upgrades.get(uid)
        if upgrade is None:
            by = spec.get("startedBy", "User")
            upgrade = book.upgrades[uid] = Upgrade(*key, objects.owner_of_upgrade(spec), spec["type"], by)
            book.tell(at, f"upgrade {key[1]} ({upgrade.type} by {by})")
        if event == "DELETED":
            upgrade.deleted, upgrade.at_work = True, {}
            book.tell(at, f"upgrade {key[1]} is gone")
            return
        status = obj.get("status") or {}
        if status == upgrade.status:
            return
        if upgrade.finished:
            words = f"{key[1]} is over, and its status changed: {_difference(upgrade.status, status)}"
            book.say("I6", at, words, key[1])
        former, upgrade.status = upgrade.status, status
        if upgrade.batches:
            self._judge_scope(upgrade, former, at)
        if not upgrade.code:
            return
        state = book.sets.get((key[0], upgrade.set_name))
        state = None if state is None or state.deleted else state
        if state is not None:
            upgrade.roll_back_disabled.add(objects.roll_back_disabled(state.obj))
        self._judge_counts(upgrade, at)
        self._take_batches(upgrade, state, at, judged=judged)
        if upgrade.finished and (former.get("runningStatus") or {}).get("code") not in FINAL:
            error = (status.get("error") or {}).get("code", "")
            book.tell(at, f"upgrade {key[1]} is {upgrade.code}{': ' + error if error else ''}")
            if state is not None and judged and not upgrade.outlived:
                self._judge_end(upgrade, state, at)

    def see_set(self, state: ScaleSet) -> None:
        """The set changed: what its policy said while an upgrade ran is kept."""
        for upgrade in self._book.upgrades_of(state.key):
            if not upgrade.finished:
                upgrade.roll_back_disabled.add(objects.roll_back_disabled(state.obj))

    def see_instance(self, state: ScaleSet, ordinal: int, instance: Instance, at: datetime) -> None:
        """A pod changed: does that take a member of a running batch down, or bring it up (I1)?"""
        upgrades = [u for u in self._book.upgrades_of(state.key) if u.type != "Model" and u.at_work]
        for upgrade in upgrades:
            touched = upgrade.at_work.get(ordinal)
            if touched is None:
                continue
            if upgrade.type == "Extension":
                self._follow_extension(upgrade, state, ordinal, instance, touched, at)
            elif touched.down and instance.healthy and instance.uid != touched.base:
                touched.base, touched.down = instance.uid, False
            elif instance.uid != touched.base or instance.going:
                touched.down = True
        down = sum(t.down for u in upgrades for t in u.at_work.values())
        limit = max((u.limit for u in upgrades), default=0)
        if down > limit:
            names = [u.name for u in upgrades]
            self._book.say("I1", at, f"{', '.join(names)}: {down} members are down, more than {limit}", *names)

    def _follow_extension(
        self, upgrade: Upgrade, state: ScaleSet, ordinal: int, instance: Instance, touched: Touched, at: datetime
    ) -> None:
        """An extension upgrade keeps the pod and its other containers (I3); a scale-in takes it all the same."""
        pod = state.name_of(ordinal)
        leaves = instance.automatic or instance.scaled_in or state.going or ordinal >= state.replicas(at, 5)[0]
        if not leaves and ("Pod", upgrade.namespace, pod) not in self._book.excused:
            if touched.base and (instance.going or instance.uid != touched.base):
                self._book.say("I3", at, f"{upgrade.name}: {pod} got another pod in an extension upgrade", pod)
            own = _own_containers(upgrade, ordinal)
            grown = [c for c, n in instance.restarts.items() if c not in own and n > touched.restarts.get(c, n)]
            if grown:
                self._book.say("I3", at, f"{upgrade.name}: containers {', '.join(grown)} of {pod} restarted", pod)
        touched.base, touched.restarts = "" if instance.going else instance.uid, instance.restarts
        batch = upgrade.running_batch
        name = batch.extension if batch is not None else ""
        if instance.extensions != touched.extensions:
            touched.extensions, touched.down = instance.extensions, True
            waits = f"{EXTENSION}{name}.before" in instance.extensions  # else its container never gave way
            touched.former = instance.containers.get(name, "") if waits else ""
        elif touched.down and instance.healthy and instance.containers.get(name, "") != touched.former:
            touched.down = False

    # -- a batch is written --------------------------------------------------------------------------------------------

    def _take_batches(self, upgrade: Upgrade, state: ScaleSet | None, at: datetime, *, judged: bool) -> None:
        book, name = self._book, upgrade.name
        for raw in upgrade.status.get("batches") or ():
            batch = read_batch(raw)
            known = upgrade.batches.get(batch.number)
            upgrade.batches[batch.number] = batch
            if known is not None and not known.running and known != batch:
                book.say("I6", at, f"{name}: batch {batch.number} was over, and changed", name)
            if known is not None and batch.members - known.members:
                book.say("I1", at, f"{name}: batch {batch.number} has grown after it was written", name)
            if known != batch:
                book.tell(at, f"upgrade {name}: {batch}")
            if state is not None and not batch.running and (known is None or known.running):
                going = (o for o in batch.failed if o in state.instances and state.instances[o].going)
                upgrade.stuck.update((batch.number, o) for o in going)
            if known is None and state is not None:
                self._begin_batch(upgrade, state, batch, at, judged=judged)
        if upgrade.running_batch is None:
            upgrade.at_work = {}

    def _begin_batch(self, upgrade: Upgrade, state: ScaleSet, batch: Batch, at: datetime, *, judged: bool) -> None:
        upgrade.limit = state.at_once(objects.most_at_once(state.obj), state.replicas(at)[1])
        members = {o: state.instances[o] for o in batch.members if o in state.instances}
        upgrade.at_work = {
            o: Touched("" if i.going and upgrade.type == "Extension" else i.uid, i.extensions, i.restarts)
            for o, i in members.items()
        }
        for instance in members.values():
            instance.expected = None
        if judged:
            self._judge_lock(upgrade, state, at)
            self._judge_size(upgrade, state, batch, at)
            self._judge_cell(upgrade, state, batch, at)
            if upgrade.type != "Model":
                self._judge_health(upgrade, state, batch, at)
            if batch.members - batch.rolled_back:
                self._judge_members(upgrade, state, batch, at)
                self._judge_target(upgrade, state, batch, at)

    def _judge_lock(self, upgrade: Upgrade, state: ScaleSet, at: datetime) -> None:
        """One upgrade at a time: only who holds the set's lock writes a batch."""
        holder = (state.obj.get("status") or {}).get("currentUpgrade", "")
        if holder != upgrade.name:
            words = f"{upgrade.name} wrote a batch, but the set's lock is {holder or 'free'}"
            self._book.say("I1", at, words, upgrade.name, f"set {state.key[1]}:")
        for other in self._book.upgrades_of(state.key):
            if other is not upgrade and other.running_batch and not other.deleted:
                self._book.say("I1", at, f"{upgrade.name} wrote a batch while one of {other.name} runs", upgrade.name)

    def _judge_size(self, upgrade: Upgrade, state: ScaleSet, batch: Batch, at: datetime) -> None:
        replicas = state.replicas(at)[1]
        percent = max(objects.batch_percent(s, upgrade.type) for s in state.past.within(at))
        limit = state.at_once(percent, replicas)
        if len(batch.members) > limit:
            words = f"{upgrade.name}: batch {batch.number} has {len(batch.members)} of {replicas}, more than {limit}"
            self._book.say("I1", at, words, upgrade.name)

    def _judge_cell(self, upgrade: Upgrade, state: ScaleSet, batch: Batch, at: datetime) -> None:
        cells = sorted({objects.cell(state.obj, o) for o in batch.members})
        crossing = any(objects.crosses_zones(s, upgrade.type) for s in state.past.within(at))
        zones, domains = {z for z, _ in cells}, {d for _, d in cells}
        if len(domains) > 1 or (len(zones) > 1 and not crossing):
            listed = ", ".join(f"{z or '-'}/{d}" for z, d in cells)
            self._book.say("I2", at, f"{upgrade.name}: batch {batch.number} lies in {listed}", upgrade.name)
        elif (batch.zone and batch.zone not in zones) or batch.domain not in domains:
            words = f"{upgrade.name}: batch {batch.number} says {batch.zone or '-'}/{batch.domain}, but lies in {cells}"
            self._book.say("I2", at, words, upgrade.name)

    def _judge_members(self, upgrade: Upgrade, state: ScaleSet, batch: Batch, at: datetime) -> None:
        """Nobody who is protected (I2), nor anybody whose data would go with the pod (I3)."""
        since = at - LAG
        always = frozenset.intersection(*(objects.protected(s) for s in state.past.within(at)))
        for ordinal in sorted(batch.members):
            instance = state.instances.get(ordinal)
            by_pod = instance.protected_since if instance is not None else None
            if ordinal in always or (by_pod is not None and by_pod < since):
                words = f"{upgrade.name}: batch {batch.number} has {state.name_of(ordinal)}, which is protected"
                self._book.say("I2", at, words, upgrade.name)
            if upgrade.type == "Extension":
                continue  # no pod goes
            claims = [(upgrade.namespace, name) for name in (instance.claims if instance is not None else ())]
            if any(self._book.claims_going.get(key, at) < since for key in claims):
                words = f"{upgrade.name}: batch {batch.number} has {state.name_of(ordinal)}, whose claim is going"
                self._book.say("I3", at, words, upgrade.name)

    def _judge_health(self, upgrade: Upgrade, state: ScaleSet, batch: Batch, at: datetime) -> None:
        """Only who was unhealthy for the whole of the lag counts: the operator must have known of those (I4)."""
        least, most = state.replicas(at)
        specs = state.past.within(at)
        grown = at - max(map(objects.growing_time, specs)) - LAG
        limit = max(objects.unhealthy_percent(s, upgrade.type) for s in specs)
        known = {o: i for o, i in state.instances.items() if o < most and not i.scaled_in}
        counted = {o: i for o, i in known.items() if i.counted or (i.uid and i.created <= grown)}
        since = {o: i.sick_since if i.counted else i.created for o, i in counted.items() if not i.healthy}
        sick = [o for o, when in since.items() if o < least and when is not None and when <= at - LAG]
        if len(sick) * 100 > limit * len(counted):
            words = f"{upgrade.name}: batch {batch.number} was written with {len(sick)} of {len(counted)} unhealthy"
            self._book.say("I4", at, f"{words} ({render(sick)}), limit {limit}%", upgrade.name)

    def _judge_target(self, upgrade: Upgrade, state: ScaleSet, batch: Batch, at: datetime) -> None:
        if upgrade.type == "Extension":
            self._judge_extension_target(upgrade, state, batch, at)
            return
        reference = upgrade.status.get("targetImageReference") or {}
        version = reference.get("version", "")
        named = [s["spec"]["imageReference"].get("version") for s in state.past.within(at)]
        if not version or version in named:
            return
        image = next(self._find_images(state.key[0], reference), None)
        why = "its image is not known"
        for obj in image.within(at) if image is not None else ():
            why = objects.objection(obj, version, objects.location(state.obj), at)
            if not why:
                return
        self._book.say("I8", at, f"{upgrade.name}: batch {batch.number} goes to {version}, but {why}", upgrade.name)

    def _judge_extension_target(self, upgrade: Upgrade, state: ScaleSet, batch: Batch, at: datetime) -> None:
        """Every member goes to a newer version of the major that it has, and that version may be used (E8b, E8c)."""
        name, goals = batch.extension, set()
        for ordinal in sorted(batch.members):
            former = batch.origins.get(ordinal, Origin()).extensions.get(name, "")
            if not (found := upgrade.goals(name, former)):
                words = f"{upgrade.name}: batch {batch.number} has {ordinal}, whose {name} {former} has nowhere to go"
                self._book.say("I8", at, words, upgrade.name)
            goals |= found
        for version in sorted(goals):
            why = self._objection_to_extension(state, name, version, at)
            if why:
                words = f"{upgrade.name}: batch {batch.number} goes to {name} {version}, but {why}"
                self._book.say("I8", at, words, upgrade.name)

    def _objection_to_extension(self, state: ScaleSet, name: str, version: str, at: datetime) -> str:
        why = "its Extension is not known"
        for spec in state.past.within(at):
            wanted = objects.extension_named(spec, name)
            for where in dict.fromkeys((state.key[0], self._catalog_namespace)):
                published = [p for (home, _), p in self._extensions.items() if home == where and p.last_known]
                published.sort(key=lambda p: str(p.last_known["metadata"].get("creationTimestamp") or ""))
                fits = (p for p in published if _product(p.last_known) == wanted)
                if (past := next(fits, None)) is None:
                    continue
                for obj in past.within(at):
                    why = objects.objection(obj, version, objects.location(state.obj), at)
                    if not why:
                        return ""
                break
        return why

    def _find_images(self, namespace: str, reference: Json) -> Iterator[Past]:
        """The images that the reference may mean, best first: own namespace, then the catalogue's; the oldest wins."""
        fields = ("galleryImage",) if reference.get("galleryImage") else ("publisher", "offer", "sku")
        wanted = [reference.get(n) for n in fields]
        for where in dict.fromkeys((namespace, self._catalog_namespace)):
            found = []
            for (home, name), past in self._images.items():
                latest = past.last_known
                if home != where or not latest:
                    continue
                spec = {**latest["spec"], "galleryImage": name}
                counts = spec.get("source") != "Platform" or home == self._catalog_namespace
                if counts and [spec.get(n) for n in fields] == wanted:
                    found.append((latest["metadata"].get("creationTimestamp") or "", name, past))
            yield from (past for _, _, past in sorted(found, key=lambda f: f[:2]))

    # -- counts and ends -----------------------------------------------------------------------------------------------

    def _judge_counts(self, upgrade: Upgrade, at: datetime) -> None:
        """The four counts sum to the scope, and say what the batches say (I6)."""
        scope = objects.ordinals(upgrade.status.get("scope", ""))
        progress = upgrade.status.get("progress") or {}
        names = ("successful", "failed", "inProgress", "pending")
        counts = tuple(int(progress.get(f"{n}InstanceCount", 0)) for n in names)
        batches = [read_batch(raw) for raw in upgrade.status.get("batches") or ()]
        working = [b for b in batches if b.running]
        touched = scope & frozenset().union(*(b.members for b in batches))
        failed = scope & frozenset().union(*(b.failed for b in batches))
        running = (scope & frozenset().union(*(b.members for b in working))) - failed
        expected = (len(touched - failed - running), len(failed), len(running), len(scope - touched))
        if counts != expected:
            told = ", ".join(f"{c} {n}" for c, n in zip(counts, names, strict=True))
            words = f"{upgrade.name}: {told} for a scope of {len(scope)}; its batches say {expected}"
            self._book.say("I6", at, words, upgrade.name)
        if len(working) > 1 or (working and upgrade.finished):
            words = f"{upgrade.name} is {upgrade.code} with {len(working)} running batches"
            self._book.say("I6", at, words, upgrade.name)

    def _judge_scope(self, upgrade: Upgrade, former: Json, at: datetime) -> None:
        """Nobody leaves the scope unnoticed: only who was scaled in, is skipped by name, or is on the target anyway."""
        state = self._book.sets.get((upgrade.namespace, upgrade.set_name))
        before, now, skipped = (
            objects.ordinals(text or "")
            for text in (former.get("scope"), *map(upgrade.status.get, ("scope", "skipped")))
        )
        if entered := now - before:
            self._book.say("I6", at, f"{upgrade.name}: {render(entered)} entered its scope", upgrade.name)
        if state is None or state.going:
            return
        least = state.replicas(at, 5)[0]
        automatic = any(objects.mode(s) == "Automatic" for s in state.past.within(at, 5))
        left = []
        for ordinal in sorted(before - now - skipped):
            instance = state.instances.get(ordinal)
            if ordinal >= least or instance is None or not instance.counted:
                continue
            if automatic and (instance.going or not instance.uid):
                continue  # mode Automatic replaces it by what may be the target
            if upgrade.type == "Model" and instance.model == upgrade.target.model:
                continue
            if upgrade.type == "OSImage" and not objects.is_newer(upgrade.target.version, instance.version):
                continue
            if state.obj.get("kind") == "AvailabilitySet":
                continue  # each of its machines may opt out by itself
            if upgrade.type == "Extension" and not upgrade.is_behind(objects.installed(instance.extensions)):
                continue
            left.append(ordinal)
        if left:
            self._book.say("I6", at, f"{upgrade.name}: {render(left)} left its scope", upgrade.name)

    def _judge_end(self, upgrade: Upgrade, state: ScaleSet, at: datetime) -> None:
        """Every touched instance that still exists is on the target, or where it was put back (I5)."""
        self._judge_roll_backs(upgrade, at)
        if upgrade.type == "Extension":
            self._judge_extensions_end(upgrade, state, at)
            return
        scope = objects.ordinals(upgrade.status.get("scope", ""))  # without those that were scaled in
        last = {o: b for _, b in sorted(upgrade.batches.items()) for o in b.members & scope}
        back = frozenset().union(*(b.rolled_back for b in upgrade.batches.values()))
        for ordinal, batch in sorted(last.items()):
            instance = state.instances.get(ordinal)
            if instance is None or ordinal >= state.replicas(at)[0] or self._loses_data(upgrade, instance):
                continue
            origin = batch.origins.get(ordinal, Origin())
            stuck = (batch.number, ordinal) in upgrade.stuck  # its pod didn't end in time: it comes back as what it was
            back_home = ordinal in back or stuck
            wanted = origin if back_home else upgrade.target
            if upgrade.type != "Model":  # the model of a deferred upgrade may change between its batches
                wanted = Origin(wanted.version)
            elif instance.version == origin.version:  # only who comes from another image gets the target's version
                wanted = Origin("", wanted.model)
            how = "put it back to" if back_home else "brought it to"
            why = f"{upgrade.name} {how} {wanted.version or wanted.model}"
            if not instance.uid or instance.going or instance.ended:
                instance.expected = (wanted.version, why)
            elif (wanted.version and instance.version != wanted.version) or (
                wanted.model and instance.model != wanted.model
            ):
                name = state.name_of(ordinal)
                words = f"{name} ended on {instance.version} (model {instance.model}), but {why}"
                self._book.say("I5", at, words, name)

    def _judge_extensions_end(self, upgrade: Upgrade, state: ScaleSet, at: datetime) -> None:
        """Each extension of a touched instance is on its target, or where it was put back (I5)."""
        scope = objects.ordinals(upgrade.status.get("scope", ""))
        for _, batch in sorted(upgrade.batches.items()):
            for ordinal in sorted(batch.members & scope):
                instance = state.instances.get(ordinal)
                if instance is None or not instance.uid or instance.going or instance.ended:
                    continue
                former = batch.origins.get(ordinal, Origin()).extensions.get(batch.extension, "")
                stays = ordinal in batch.rolled_back or (batch.number, ordinal) in upgrade.stuck
                wanted = {former} if stays else upgrade.goals(batch.extension, former)
                found = objects.installed(instance.extensions).get(batch.extension, "")
                if not found and state.obj.get("kind") == "AvailabilitySet":
                    continue  # the machine's own model has it no more
                if found not in wanted:
                    name, versions = state.name_of(ordinal), " or ".join(sorted(wanted))
                    how = "put it back to" if stays else "brought it to"
                    words = f"{name} ended on {batch.extension} {found}, but {upgrade.name} {how} {versions}"
                    self._book.say("I5", at, words, name)

    def _loses_data(self, upgrade: Upgrade, instance: Instance) -> bool:
        """Whether a claim of it is being deleted: it must not be taken down, wherever it belongs."""
        claims = [self._book.claims.get((upgrade.namespace, name), {}) for name in instance.claims]
        return any("deletionTimestamp" in claim.get("metadata", {}) for claim in claims)

    def _judge_roll_backs(self, upgrade: Upgrade, at: datetime) -> None:
        failed = frozenset().union(*(b.failed for b in upgrade.batches.values()))
        back = frozenset().union(*(b.rolled_back for b in upgrade.batches.values()))
        allowed = upgrade.platform_os and False in upgrade.roll_back_disabled
        must = upgrade.type == "Extension" or (allowed and True not in upgrade.roll_back_disabled)
        if must and failed - back:
            words = f"{upgrade.name}: {render(failed - back)} failed and were not put back"
            self._book.say("I5", at, words, upgrade.name)
        if upgrade.type == "OSImage" and not allowed and back:
            words = f"{upgrade.name}: {render(back)} were put back, although this upgrade has no roll-back"
            self._book.say("I5", at, words, upgrade.name)


def _own_containers(upgrade: Upgrade, ordinal: int) -> set[str]:
    """What an extension upgrade may start anew on an instance: the container at work, and those that failed."""
    return {
        batch.extension
        for batch in upgrade.batches.values()
        if ordinal in batch.members and (batch.running or ordinal in batch.failed)
    }


def _product(extension: Json) -> tuple[str, str]:
    return extension["spec"].get("publisher", ""), extension["spec"].get("type", "")


def _difference(before: Json, after: Json) -> str:
    changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    return "; ".join(f"{k}: {before.get(k)!r} -> {after.get(k)!r}" for k in changed)
