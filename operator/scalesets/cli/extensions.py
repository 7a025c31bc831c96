"""The command ``extensions``: what is installed and published, and automatic upgrade of each extension on or off (E11).

Only the one field is changed, in the element of that name as it stood when it was read: two who change different
extensions at the same time don't undo each other's work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from scalesets.cli import completion, options, output, whose
from scalesets.cli.errors import CommandError, not_found, wrong_usage
from scalesets.cli.fields import Obj, at, name_of, text
from scalesets.cli.output import Output
from scalesets.cli.program import hint
from scalesets.cli.render import extensions as drawing
from scalesets.cli.session import errors_in_words, run, say
from scalesets.cli.views import extensions as views
from scalesets.cli.views.extensions import ExtensionView, PublishedView
from scalesets.cli.whose import AVAILABILITY_SET, MACHINE, Named

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster

ATTEMPTS = 5


def extensions(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A scale set, or a machine or availability set: vm/NAME, avset/NAME; default: what is published.",
            autocompletion=completion.fleets,
            callback=options.fleet_name_or_none,
        ),
    ] = "",
    enable: Annotated[
        list[str] | None,
        options.of_extensions("--enable", "Upgrade this one automatically from now on"),
    ] = None,
    disable: Annotated[
        list[str] | None,
        options.of_extensions("--disable", "Leave this one as it is from now on"),
    ] = None,
    versions: Annotated[bool, typer.Option("--versions", help="Show the published versions, per location.")] = False,
    location: Annotated[str, typer.Option("--location", "-l", help="With versions: only in this location.")] = "",
    catalog_namespace: options.CatalogNamespace = options.DEFAULT_CATALOG,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """The extensions: versions, the latest, automatic upgrade and how the last one ended; enable or disable it."""
    wanted = {**dict.fromkeys(enable or (), True), **dict.fromkeys(disable or (), False)}
    with errors_in_words():
        _check(name, enable or [], disable or [], versions=versions)
    now = datetime.now(UTC)

    async def installed(cluster: Cluster) -> tuple[ExtensionView, ...]:
        named = whose.known(name)
        if wanted:
            await switch(cluster, named, wanted, catalog_namespace, quiet=form in (Output.JSON, Output.YAML))
        return await look(cluster, named, catalog_namespace, now)

    async def published(cluster: Cluster) -> tuple[PublishedView, ...]:
        found = await cluster.extensions(catalog_namespace)
        if not name:
            return views.read_published(found, await _everyone(cluster), location=location, now=now)
        fleets = await _fleets(cluster, whose.known(name))
        used = {text(e, "metadata.uid"): e for f in fleets for e in views.used_by(f, found)}
        return views.read_published(tuple(used.values()), fleets, location=location, now=now)

    where = {"kubeconfig": kubeconfig, "context": context, "namespace": namespace}
    if versions or not name:
        catalogue = run(published, **where)
        output.emit(catalogue, form, lambda *_: drawing.render_published(catalogue, now=now))
        return
    view = run(installed, **where)
    if wanted and form is None:
        return

    of_many = whose.known(name).owner is AVAILABILITY_SET

    def draw(width: int, wide: bool) -> RenderableType:
        return (
            drawing.render_together(view, now=now) if of_many and not wide else drawing.render(view, now=now, wide=wide)
        )

    output.emit(view, form, draw)


async def look(cluster: Cluster, named: Named, catalog_namespace: str, now: datetime) -> tuple[ExtensionView, ...]:
    """The extensions of a set or machine, or of all machines of an availability set.

    Those of a machine in an availability set are upgraded by that: there stands how the last upgrade ended.
    """
    published = await cluster.extensions(catalog_namespace)
    whole = await cluster.fleet(named)
    of_many = named.owner is AVAILABILITY_SET
    upgrader, upgraded_by = named, whole
    if group := text(whole, "spec.availabilitySet") if named.owner is MACHINE else "":
        upgrader = Named(AVAILABILITY_SET, group)
        upgraded_by = await cluster.find(upgrader) or whole
    upgrades = await cluster.upgrades(upgrader)
    fleets = await cluster.machines_of(named.name) if of_many else (whole,)
    return tuple(
        e
        for fleet in fleets
        for e in views.read(
            fleet,
            published,
            upgrades,
            now=now,
            machine=name_of(fleet) if of_many else "",
            upgraded_by=upgraded_by,
        )
    )


def known_names(fleets: Sequence[Obj], wanted: Sequence[str], *, where: str) -> None:
    """Make sure that the set or machine, or one of the machines, has extensions of these names."""
    there = list(dict.fromkeys(text(e, "name") for fleet in fleets for e in at(fleet, "spec.extensions", [])))
    unknown = [name for name in dict.fromkeys(wanted) if name not in there]
    if unknown:
        mend = f"it has: {', '.join(there)}" if there else "its spec.extensions is empty" if fleets else "no machine"
        raise not_found(f"{where} has no extension {', '.join(unknown)}", mend=mend)


def _check(name: str, enable: list[str], disable: list[str], *, versions: bool) -> None:
    if both := [e for e in enable if e in disable]:
        raise wrong_usage(f"both --enable and --disable {', '.join(both)}", mend="give one of them")
    if not (enable or disable):
        return
    if not name:
        raise wrong_usage("whose extensions?", mend=hint("extensions", "NAME", "--enable", (enable + disable)[0]))
    if versions:
        raise wrong_usage("--versions changes nothing", mend="leave it out")
    if whose.known(name).owner is AVAILABILITY_SET:
        flag = "--enable" if enable else "--disable"
        mend = f"name each of its machines: {hint('extensions', 'vm/NAME', flag, (enable + disable)[0])}"
        raise wrong_usage("an availability set has no list of extensions, each of its machines has its own", mend=mend)


async def _fleets(cluster: Cluster, named: Named) -> tuple[Obj, ...]:
    fleet = await cluster.fleet(named)
    return await cluster.machines_of(named.name) if named.owner is AVAILABILITY_SET else (fleet,)


async def _everyone(cluster: Cluster) -> tuple[Obj, ...]:
    """All sets and machines of the namespace, the machines where the user may read them."""
    found = await cluster.scale_sets()
    with contextlib.suppress(CommandError):
        found += await cluster.fleets(MACHINE)
    return found


async def switch(
    cluster: Cluster, named: Named, wanted: Mapping[str, bool], catalog_namespace: str, *, quiet: bool
) -> None:
    """Bring the flags to what is wanted; anew from what is there when somebody else was quicker."""
    fleet = await cluster.fleet(named)
    _supported(fleet, await cluster.extensions(catalog_namespace), wanted, named)
    before = fleet
    for attempt in range(ATTEMPTS):
        known_names((fleet,), list(wanted), where=str(named))
        operations = _operations(fleet, wanted)
        try:
            if operations:
                await cluster.patch_fleet(named, operations)
            break
        except CommandError as error:
            there = await cluster.fleet(named)
            if _order(there) == _order(fleet) or attempt == ATTEMPTS - 1:  # it isn't that somebody moved them
                raise error
            fleet = there
    if not quiet:
        _tell(before, wanted, named)


def _supported(fleet: Obj, published: Sequence[Obj], wanted: Mapping[str, bool], named: Named) -> None:
    """Refuse to enable what would not be upgraded all the same: its status stays NotSupported."""
    known_names((fleet,), list(wanted), where=str(named))
    for extension in at(fleet, "spec.extensions", []):
        if not wanted.get(text(extension, "name")):
            continue
        product = f"{text(extension, 'publisher')}/{text(extension, 'type')}"
        supported = views.supports_automatic_upgrade(extension, published)
        if supported is None:
            mend = f"create it first; {hint('extensions')} lists what there is"
            message = f"no Extension {product} in this namespace or the catalog namespace"
            raise CommandError(f"{text(extension, 'name')}: {message}", mend=mend)
        if not supported:
            message = f"{text(extension, 'name')}: {product} doesn't support automatic upgrade, nothing is changed"
            by_hand = hint("start", str(named), "--extension", text(extension, "name"))
            mend = f"its publisher says so by spec.supportsAutomaticUpgrade; {by_hand} upgrades it by hand"
            raise CommandError(message, mend=mend)


def _operations(fleet: Obj, wanted: Mapping[str, bool]) -> list[Obj]:
    """A JSON patch of the flags that differ; each is tested to be still in the element of its name."""
    operations: list[Obj] = []
    for index, extension in enumerate(at(fleet, "spec.extensions", [])):
        name = text(extension, "name")
        if name not in wanted or bool(at(extension, "enableAutomaticUpgrade")) == wanted[name]:
            continue
        path = f"/spec/extensions/{index}"
        operations.append({"op": "test", "path": f"{path}/name", "value": name})
        operations.append({"op": "add", "path": f"{path}/enableAutomaticUpgrade", "value": wanted[name]})
    if operations:
        operations.insert(0, {"op": "test", "path": "/metadata/uid", "value": text(fleet, "metadata.uid")})
    return operations


def _order(fleet: Obj) -> tuple[str, list[str]]:
    return text(fleet, "metadata.uid"), [text(e, "name") for e in at(fleet, "spec.extensions", [])]


def _tell(before: Obj, wanted: Mapping[str, bool], named: Named) -> None:
    was = {text(e, "name"): bool(at(e, "enableAutomaticUpgrade")) for e in at(before, "spec.extensions", [])}
    what = f"{named.owner.kind.kind.lower()}.scalesets.dev/{named.name}"
    for name, on in wanted.items():
        state = views.ENABLED if on else views.DISABLED
        already = " already" if was.get(name) == on else ""
        output.show(Text(f"{what}: automatic upgrade of {name} is {state}{already}"))
    manual = text(before, "spec.upgradePolicy.mode") == "Manual" and named.owner is not MACHINE
    if manual and any(was.get(name) != on for name, on in wanted.items()):
        say(
            f"In mode Manual it holds for an instance once {hint('update-instances', str(named))} has brought it there."
        )
