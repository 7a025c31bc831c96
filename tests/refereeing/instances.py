"""Follows pods and claims: an instance keeps its name, its claims, and what it runs save by an upgrade (I1, I3)."""

from __future__ import annotations

from datetime import datetime

from refereeing import objects
from refereeing.book import Book, Instance, ScaleSet
from refereeing.objects import EXTENSION, PREFIX, Json, Key, installed


class Instances:
    """Takes in events of pods and claims. ``see_pod`` answers which instance of which set it was about."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def see_pod(self, event: str, key: Key, obj: Json, at: datetime) -> tuple[ScaleSet, Instance] | None:
        """One event of a pod."""
        meta = obj["metadata"]
        name, ordinal = objects.owner_of_pod(key[1], meta.get("labels") or {})
        if ordinal is None or not _is_of(name, meta):
            return None
        owner = (key[0], name)
        state = self._book.sets.get(owner)
        if state is None:  # its set comes later in the same list
            unknown = {"metadata": {"name": name}, "spec": {"replicas": ordinal + 1}}
            state = self._book.sets[owner] = ScaleSet(owner, at, unknown)
            state.deleted = True
        instance = state.instances.get(ordinal)
        if instance is None:
            instance = state.instances[ordinal] = Instance(ordinal, at)
        if event == "DELETED":
            if instance.uid == meta["uid"]:
                self._is_gone(state, instance, key, at)
        else:
            self._is_there(state, instance, key, obj, at, fresh=event == "ADDED")
        return state, instance

    def _is_gone(self, state: ScaleSet, instance: Instance, key: Key, at: datetime) -> None:
        was = instance.healthy
        instance.automatic = instance.automatic or _is_automatic(state, at, instance)
        instance.uid, instance.ready, instance.going, instance.ended = "", False, False, False
        instance.note_health(at, was=was)
        self._book.tell(at, f"pod {key[1]} is gone")
        if state.deleted or instance.scaled_in or instance.ordinal >= state.replicas(at)[1]:
            del state.instances[instance.ordinal]

    def _is_there(self, state: ScaleSet, instance: Instance, key: Key, obj: Json, at: datetime, *, fresh: bool) -> None:
        book, meta = self._book, obj["metadata"]
        labels = meta.get("labels") or {}
        version, model = labels.get(f"{PREFIX}image-version", ""), labels.get(f"{PREFIX}model", "")
        annotations = meta.get("annotations") or {}
        another = instance.uid != meta["uid"]
        was = instance.healthy and not another
        if another:
            if instance.uid and fresh:
                book.say("I3", at, f"{key[1]} was replaced although its former pod isn't gone", key[1])
            book.tell(at, f"pod {key[1]} on {version} (model {model}) {'created' if fresh else 'found'}")
            if not instance.counted:
                instance.created = objects.moment(meta.get("creationTimestamp")) or at
            self._judge_return(state, instance, key, version, model, at)
            if instance.model == model:
                self._judge_extensions(state, instance, key, installed(annotations), at)
            self._judge_claims(state, instance, key, obj, at)
            self._judge_labels(state, instance, key, labels, at)
        else:
            self._judge_extensions(state, instance, key, installed(annotations), at)
        if not another and version != instance.version:
            book.say("I3", at, f"{key[1]} was relabelled from {instance.version} to {version}, not recreated", key[1])
        going = "deletionTimestamp" in meta
        if another:
            instance.automatic = False
        if going and not instance.going:
            instance.automatic = _is_automatic(state, at, instance)
            book.tell(at, f"pod {key[1]} on {version} is being deleted")
        instance.uid, instance.version, instance.model, instance.going = meta["uid"], version, model, going
        instance.extensions = {k: v for k, v in annotations.items() if k.startswith(EXTENSION)}
        protected = annotations.get(f"{PREFIX}protect-from-upgrade") == "true"
        instance.protected_since = (instance.protected_since or at) if protected and not another else None
        _read_status(instance, obj.get("status") or {})
        if instance.healthy and not was:
            book.tell(at, f"pod {key[1]} on {version} is ready")
        elif was and not instance.healthy and not going:
            book.tell(at, f"pod {key[1]} on {version} is {'over' if instance.ended else 'not ready any more'}")
        instance.note_health(at, was=was)

    def _judge_return(
        self, state: ScaleSet, instance: Instance, key: Key, version: str, model: str, at: datetime
    ) -> None:
        """A pod of the name comes: is it what the instance was, or what an upgrade brings it to?"""
        replaced = instance.model != model and (instance.automatic or _is_automatic(state, at))
        if instance.expected is not None:
            wanted, why = instance.expected
            instance.expected = None
            if wanted and version != wanted and not replaced:
                self._book.say("I5", at, f"{key[1]} came back on {version}, but {why}", key[1])
            return
        before = instance.settled
        if before is None or version in (before.version, instance.version) or state.going or replaced:
            return
        for upgrade in self._book.upgrades_of(state.key):
            for batch in upgrade.batches.values():
                origin = batch.origins.get(instance.ordinal)
                if origin is not None and version in (upgrade.target.version, origin.version):
                    return
        self._book.say("I1", at, f"{key[1]} went from {before.version} to {version} outside any batch", key[1])

    def _judge_extensions(self, state: ScaleSet, instance: Instance, key: Key, versions: Json, at: datetime) -> None:
        """Extensions are upgraded by batches only; what comes back is as it was."""
        if not instance.counted or instance.scaled_in or state.going:
            return
        before = installed(instance.extensions)
        for name in sorted(before.keys() & versions.keys()):
            was, now = before[name], versions[name]
            if was != now and not self._explains(state, instance.ordinal, name, now):
                self._book.say("I1", at, f"{key[1]} went from {name} {was} to {now} outside any batch", key[1])

    def _explains(self, state: ScaleSet, ordinal: int, name: str, version: str) -> bool:
        """Whether a batch brings the instance to the version, or back to it."""
        for upgrade, place in self._book.touching(state, ordinal):
            for batch in upgrade.batches.values():
                origin = batch.origins.get(place)
                if origin is None or batch.extension != name:
                    continue
                former = origin.extensions.get(name, "")
                if version == former or version in upgrade.goals(name, former):
                    return True
        return False

    def _judge_claims(self, state: ScaleSet, instance: Instance, key: Key, obj: Json, at: datetime) -> None:
        book = self._book
        volumes = (obj.get("spec") or {}).get("volumes") or ()
        names = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
        found = {n: book.claims[(key[0], n)]["metadata"]["uid"] for n in names if (key[0], n) in book.claims}
        if instance.counted and not state.going:
            missing = [n for n in instance.claims if n not in names]
            other = [n for n, uid in found.items() if instance.claims.get(n, uid) != uid]
            for name in sorted({*missing, *other}):
                if ("PersistentVolumeClaim", key[0], name) not in book.excused:
                    how = "without" if name in missing else "with another"
                    book.say("I3", at, f"{key[1]} came back {how} claim {name}", key[1], name)
        instance.claims = found

    def _judge_labels(self, state: ScaleSet, instance: Instance, key: Key, labels: Json, at: datetime) -> None:
        if state.deleted:
            return
        zone, domain = objects.cell(state.obj, instance.ordinal)
        if state.is_machine and state.obj["spec"].get("availabilitySet"):
            domain = (state.obj.get("status") or {}).get("updateDomain", labels.get(f"{PREFIX}update-domain"))
        expected = {f"{PREFIX}update-domain": str(domain), **({f"{PREFIX}zone": zone} if zone else {})}
        wrong = [f"{k}={labels[k]}" for k, v in expected.items() if k in labels and labels[k] != v]
        if wrong:
            words = f"{key[1]} is labelled {', '.join(wrong)} but lies in {zone or 'no zone'}/{domain}"
            self._book.say("I2", at, words, key[1])

    def see_claim(self, event: str, key: Key, obj: Json, at: datetime) -> None:
        """One event of a claim."""
        known = self._book.claims.get(key)
        going = event == "DELETED" or "deletionTimestamp" in obj["metadata"]
        if going and (known is None or "deletionTimestamp" not in known["metadata"]):
            self._judge_claim_deletion(key, obj, at)
            self._book.claims_going[key] = at
        if event == "DELETED":
            self._book.claims.pop(key, None)
            self._book.claims_going.pop(key, None)
        else:
            self._book.claims[key] = obj

    def _judge_claim_deletion(self, key: Key, obj: Json, at: datetime) -> None:
        book = self._book
        labels = obj["metadata"].get("labels") or {}
        machine = labels.get(f"{PREFIX}virtual-machine", "")
        owner = objects.MACHINE + machine if machine else labels.get(f"{PREFIX}scaleset", "")
        state = book.sets.get((key[0], owner))
        ordinal = labels.get(f"{PREFIX}instance-id", "")
        if state is None or not ordinal.isdigit():
            return
        book.tell(at, f"claim {key[1]} is being deleted")
        excused = ("PersistentVolumeClaim", *key) in book.excused
        if excused or state.going or key[0] in book.going_namespaces:
            return
        scaled_in = int(ordinal) >= state.replicas(at, 5)[0]
        policy = state.obj["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        instance = state.instances.get(int(ordinal))
        if not scaled_in or policy.get("whenScaled", "Retain") != "Delete":
            book.say("I3", at, f"claim {key[1]} is deleted although it is to be kept", key[1])
        elif instance is not None and instance.uid:
            book.say("I3", at, f"claim {key[1]} is deleted before its pod is gone", key[1])


def _is_automatic(state: ScaleSet, at: datetime, instance: Instance | None = None) -> bool:
    """Whether mode Automatic may replace instances now. A machine always has that mode, so one that is taken down must
    have had a change of its own.
    """
    past = state.past.within(at, 5)
    if state.is_machine and instance is not None:
        on_model = instance.model == (state.obj.get("status") or {}).get("currentModel", instance.model)
        return not on_model or len({s["metadata"].get("generation") for s in past}) > 1
    return any(objects.mode(s) == "Automatic" for s in past)


def _is_of(set_name: str, meta: Json) -> bool:
    """Controlled by a set of that name, or by nobody (after --cascade=orphan)."""
    controller = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    kind = "VirtualMachine" if set_name.startswith(objects.MACHINE) else "ScaleSet"
    name = set_name.removeprefix(objects.MACHINE)
    return controller is None or (controller.get("kind"), controller.get("name")) == (kind, name)


def _read_status(instance: Instance, status: Json) -> None:
    conditions = status.get("conditions") or ()
    instance.ended = status.get("phase") in ("Failed", "Succeeded")
    instance.ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    instance.restarts = {
        c["name"]: int(c.get("restartCount", 0))
        for part in ("containerStatuses", "initContainerStatuses")
        for c in status.get(part) or ()
    }
    instance.containers = {c["name"]: c.get("containerID", "") for c in status.get("initContainerStatuses") or ()}
