"""ScaleSet.spec -> model, kept as a ControllerRevision (docs/rules.md, "The model"; docs/api.md).

A model is the template, osProfile, imageReference, the extensions with their settings, and the enable flags. A
revision holds this part of spec as it was written, and of each Extension its container and what it reports, as they
were when the model was made. A new model is made only when ``metadata.generation`` moved and the canonical form
(``canonical``) differs; going back to an older model finds its revision again. Models whose ``content`` is equal
differ in enable flags only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from scalesets.engine.view import Model, ModelExtension, SetView, TroubleKind
from scalesets.kube import canonical, gojson, references, times
from scalesets.kube.memo import Memo
from scalesets.kube.names import CUSTOM_DATA, LABEL_MODEL, OS, Raw, is_machine, owner_label, owner_reference

if TYPE_CHECKING:
    from scalesets.kube.seen import Seen

HASH_LENGTH = 10
KEPT_BEFORE = 2
"""So many models before those in use are kept."""
SLOWEST_PROBE = 120
"""A readiness probe should ask at least this often, in seconds (O3)."""
FLAGS = "flags"
NOTICED_AFTER = timedelta(seconds=2)
"""A kubelet takes note of a patched image within so long."""
UNPROBED_SETTLE = timedelta(seconds=10)

EXTENSION_NOT_FOUND = "ExtensionNotFound"
EXTENSION_ORDER = "ExtensionOrder"
NAME_TAKEN = "NameTaken"
NO_OS_CONTAINER = "NoOSContainer"
NOT_STORED = (TroubleKind.ZONES_UNKNOWN.value, TroubleKind.MODEL_REFUSED.value, TroubleKind.MODEL_NOT_STORED.value)
PROBLEMS = frozenset({EXTENSION_NOT_FOUND, EXTENSION_ORDER, NAME_TAKEN, NO_OS_CONTAINER, *NOT_STORED})
"""Reasons for which a set has no model."""
TELLING = frozenset({"Ready", "Reconciling", "Stalled"})
"""The conditions in which they stand."""

_models: Memo[Model] = Memo()


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which model the set is on. ``create``: the revision to store first; ``problem``: why there is none."""

    name: str = ""
    model: Model | None = None
    create: dict[str, Any] | None = None
    problem: tuple[str, str] | None = None


def resolve(seen: Seen) -> Resolution:
    """The set's current model: as recorded while spec is unchanged, else found among the revisions, else a new one."""
    scaleset, revisions = seen.scale_set, seen.revisions
    status = scaleset.get("status") or {}
    recorded = revisions.get(status.get("currentModel") or "")
    observed = status.get("observedGeneration") == scaleset["metadata"]["generation"]
    if recorded is not None and observed and not _had_problem(status):
        return _found(recorded)
    part = model_part(scaleset["spec"])
    problem = _problem(part)
    if problem is not None:
        return Resolution(problem=problem)
    wanted = canonical_form(part)
    newest_first = sorted(revisions.values(), key=lambda r: int(r.get("revision") or 0), reverse=True)
    for revision in ([recorded] if recorded is not None else []) + newest_first:
        if canonical_form(revision["data"]) == wanted:
            return _found(revision)
    resolved: dict[str, Any] = {}
    for extension in part["extensions"]:
        key = references.extension_key(extension)
        found = references.find_extension(key, seen.extensions)
        if found is None:
            return Resolution(
                problem=(
                    EXTENSION_NOT_FOUND,
                    f"extension {extension['name']}: no Extension {key} in this namespace or the catalog namespace",
                )
            )
        resolved[extension["name"]] = {
            "container": found["spec"].get("container") or {},
            "reportsApplicationHealth": bool(found["spec"].get("reportsApplicationHealth")),
        }
    revision = _revision(scaleset, part, resolved, wanted, revisions)
    encoded = {**revision, "data": orjson.Fragment(gojson.dumps(revision["data"]))}
    return Resolution(model_name(revision), to_engine(revision), create=encoded)


def model_part(spec: Raw) -> dict[str, Any]:
    """The part of a set's spec that is its model, as it was written."""
    policy = (spec.get("upgradePolicy") or {}).get("automaticOSUpgradePolicy") or {}
    return {
        "template": spec["template"],
        "osProfile": spec.get("osProfile") or {},
        "imageReference": spec["imageReference"],
        "extensions": list(spec.get("extensions") or ()),
        "enableAutomaticOSUpgrade": bool(policy.get("enableAutomaticOSUpgrade")),
    }


def canonical_form(part: Raw) -> dict[str, Any]:
    """What two models are compared by. All that a label patch can bring to a pod stands under ``flags``."""
    profile = part.get("osProfile") or {}
    extensions = part.get("extensions") or ()
    windows = profile.get("windowsConfiguration") or {}
    return {
        "template": canonical.of_template(part["template"]),
        "customData": profile.get("customData") or "",
        "customDataFrom": _secret_reference(profile.get("customDataFrom")),
        "imageReference": {
            **{key: value for key, value in part["imageReference"].items() if value is not None},
            "version": part["imageReference"].get("version") or "latest",
        },
        "extensions": [_canonical_extension(e) for e in extensions],
        FLAGS: {
            "automaticOSUpgrade": bool(part.get("enableAutomaticOSUpgrade")),
            "windowsUpdates": bool(windows.get("enableAutomaticUpdates")),
            "automaticExtensionUpgrades": sorted(e["name"] for e in extensions if e.get("enableAutomaticUpgrade")),
        },
    }


def engine_model(revision: Raw) -> Model:
    """A stored model as the engine sees it, made once per revision."""
    return _models.get(revision, None, lambda: to_engine(revision))


def to_engine(revision: Raw) -> Model:
    """A revision's body as the engine sees it."""
    data = revision["data"]
    form = canonical_form(data)
    form.pop(FLAGS)
    probes = _readiness_probes(data)
    machine: Raw = next((c for c in data["template"]["spec"]["containers"] if c["name"] == OS), {})
    return Model(
        name=model_name(revision),
        content=_digest(form),
        image=references.image_key(data["imageReference"]),
        version=data["imageReference"].get("version") or "latest",
        extensions=tuple(_engine_extension(e, data) for e in data.get("extensions") or ()),
        automatic_os_upgrade=bool(data.get("enableAutomaticOSUpgrade")),
        probed="readinessProbe" in machine,
        probe_delay=max((_needed_time(p) for p in probes), default=timedelta(0)),
        slow_probe=any((p.get("periodSeconds") or 10) > SLOWEST_PROBE for p in probes),
    )


def model_name(revision: Raw) -> str:
    """The model's name (its hash), as pods carry it in a label."""
    name: str = revision["metadata"]["labels"][LABEL_MODEL]
    return name


def sequence(extensions: Sequence[Raw]) -> tuple[Raw, ...]:
    """The extensions by ``provisionAfterExtensions``, else as written (O7). Raises ValueError with the mend."""
    names = {e["name"] for e in extensions}
    for extension in extensions:
        for before in extension.get("provisionAfterExtensions") or ():
            if before not in names:
                raise ValueError(
                    f"extension {extension['name']} is to come after {before}, which is not in spec.extensions: "
                    "add it or take it out of provisionAfterExtensions"
                )
    placed: dict[str, Raw] = {}
    waiting = list(extensions)
    while waiting:
        ready = next((e for e in waiting if placed.keys() >= set(e.get("provisionAfterExtensions") or ())), None)
        if ready is None:
            circle = " after ".join(_circle(waiting))
            raise ValueError(f"extensions wait for each other: {circle}; break the circle in provisionAfterExtensions")
        placed[ready["name"]] = ready
        waiting.remove(ready)
    return tuple(placed.values())


def _circle(waiting: Sequence[Raw]) -> list[str]:
    """The names of a circle in its order, the first again at the end; who only waits for it is left out."""
    after = {e["name"]: e.get("provisionAfterExtensions") or () for e in waiting}
    path = [waiting[0]["name"]]
    while True:  # each that waits has another one before it that waits too
        following = next(name for name in after[path[-1]] if name in after)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


def in_use(view: SetView) -> set[str]:
    """The models that something still comes from or goes to: they are kept."""
    used = {view.status.current_model} | ({view.model.name} if view.model else set())
    used.update(i.release.model for i in view.instances.values())
    used.update(r.model for r in set(view.status.record.values()))
    for upgrade in view.upgrades:
        if upgrade.status is None or upgrade.finished:
            continue
        used.add(upgrade.status.target.model)
        used.update(r.model for batch in upgrade.status.batches for r in set(batch.members.values()))
    used.discard("")
    return used


def prune(revisions: Iterable[Raw], used: Collection[str]) -> tuple[str, ...]:
    """The names of the ControllerRevisions to delete: all but those in use and the two before."""
    others = [r for r in revisions if model_name(r) not in used]
    others.sort(key=lambda r: int(r.get("revision") or 0), reverse=True)
    return tuple(r["metadata"]["name"] for r in others[KEPT_BEFORE:])


def adoption_patch(scaleset: Raw, revision: Raw) -> dict[str, Any]:
    """A merge patch that makes the set the owner of a revision that has none (after ``--cascade=orphan``); a Conflict
    if it changed since.
    """
    metadata = revision["metadata"]
    owners = [*(metadata.get("ownerReferences") or ()), owner_reference(scaleset)]
    return {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "ownerReferences": owners}
    }


def _found(revision: Raw) -> Resolution:
    return Resolution(model_name(revision), engine_model(revision))


def _had_problem(status: Raw) -> bool:
    """Whether the generation that was observed had no model: then the recorded one is that of an earlier generation."""
    return any(c.get("reason") in PROBLEMS for c in status.get("conditions") or () if c["type"] in TELLING)


def _problem(part: Raw) -> tuple[str, str] | None:
    """What the schema can't refuse and would make every pod impossible."""
    names = [c["name"] for c in part["template"]["spec"].get("containers") or ()]
    if OS not in names:
        return (
            "NoOSContainer",
            "template.spec.containers: none is named os; name the container that runs the OS image so",
        )
    names += [c["name"] for c in part["template"]["spec"].get("initContainers") or ()]
    for extension in part["extensions"]:
        if extension["name"] in (*names, CUSTOM_DATA):
            return (
                NAME_TAKEN,
                f"spec.extensions: a container of the pod is named {extension['name']} too; rename the extension",
            )
    try:
        sequence(part["extensions"])
    except ValueError as problem:
        return EXTENSION_ORDER, f"spec.extensions: {problem}"
    return None


def _revision(scaleset: Raw, part: Raw, resolved: Raw, form: Raw, revisions: Mapping[str, Raw]) -> dict[str, Any]:
    name = _digest(form)
    salt = 0
    while name in revisions:  # a hash that another model has
        salt += 1
        name = _digest([form, salt])
    metadata = scaleset["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{metadata['name']}{'.vm' if is_machine(scaleset) else ''}-{name}",  # no set's name has a dot
            "namespace": metadata["namespace"],
            "labels": {**owner_label(scaleset), LABEL_MODEL: name},
            "ownerReferences": [owner_reference(scaleset)],
        },
        "revision": max((int(r.get("revision") or 0) for r in revisions.values()), default=0) + 1,
        "data": {**part, "resolved": resolved},
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:HASH_LENGTH]


def _canonical_extension(extension: Raw) -> dict[str, Any]:
    return {
        "name": extension["name"],
        "publisher": extension["publisher"],
        "type": extension["type"],
        "typeHandlerVersion": extension.get("typeHandlerVersion") or "",
        "autoUpgradeMinorVersion": bool(extension.get("autoUpgradeMinorVersion")),
        "settings": extension.get("settings") or {},
        "protectedSettings": ((extension.get("protectedSettingsFrom") or {}).get("secretRef") or {}).get("name") or "",
        "provisionAfterExtensions": sorted(extension.get("provisionAfterExtensions") or ()),
    }


def _secret_reference(source: Raw | None) -> list[str]:
    reference = (source or {}).get("secretKeyRef") or {}
    return [reference.get("name") or "", reference.get("key") or ""]


def _engine_extension(extension: Raw, data: Raw) -> ModelExtension:
    held = (data.get("resolved") or {}).get(extension["name"]) or {}
    container = held.get("container") or {}
    probes = [p for p in (container.get("startupProbe"), container.get("readinessProbe")) if p]
    return ModelExtension(
        name=extension["name"],
        key=references.extension_key(extension),
        type_handler_version=str(extension.get("typeHandlerVersion") or ""),
        auto_upgrade_minor_version=bool(extension.get("autoUpgradeMinorVersion")),
        enable_automatic_upgrade=bool(extension.get("enableAutomaticUpgrade")),
        reports_application_health=bool(held.get("reportsApplicationHealth")),
        settle=_settle_time(probes),
        probe_delay=max((_needed_time(p) for p in probes), default=timedelta(0)),
    )


def _settle_time(probes: Sequence[Raw]) -> timedelta:
    """How long a patched container's readiness isn't believed: until its probes had time to tell (docs/rules.md)."""
    if not probes:
        return UNPROBED_SETTLE
    return NOTICED_AFTER + times.seconds(max(p.get("periodSeconds") or 10 for p in probes))


def _readiness_probes(data: Raw) -> list[Raw]:
    """Of every container that stays: the pod is Ready when all of them are."""
    spec = data["template"]["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    held = [(data.get("resolved") or {}).get(e["name"]) or {} for e in data.get("extensions") or ()]
    everyone = [*spec["containers"], *sidecars, *(h.get("container") or {} for h in held)]
    return [c["readinessProbe"] for c in everyone if c.get("readinessProbe")]


def _needed_time(probe: Raw) -> timedelta:
    delay = probe.get("initialDelaySeconds") or 0
    return times.seconds(delay + (probe.get("periodSeconds") or 10) * (probe.get("successThreshold") or 1))
