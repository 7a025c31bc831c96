"""The commands that look and change nothing: status, instances, history, images, plan, explain."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from scalesets.cli import completion, following, options, output, whose
from scalesets.cli.errors import wrong_usage
from scalesets.cli.fields import text
from scalesets.cli.program import hint
from scalesets.cli.render import explain as explain_drawing
from scalesets.cli.render import history as history_drawing
from scalesets.cli.render import images as images_drawing
from scalesets.cli.render import instances as instances_drawing
from scalesets.cli.render import plan as plan_drawing
from scalesets.cli.render import status as status_drawing
from scalesets.cli.session import errors_in_words, run
from scalesets.cli.surroundings import engine_view, look_around
from scalesets.cli.views import explain as explain_view
from scalesets.cli.views import history as history_view
from scalesets.cli.views import images as images_view
from scalesets.cli.views import instances as instances_view
from scalesets.cli.views import plan as plan_view
from scalesets.cli.views import status as status_view
from scalesets.cli.views.images import ImageView, Wanted
from scalesets.cli.views.selection import select
from scalesets.engine.view import StartedBy, UpgradeType

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster


class PlannedType(StrEnum):
    """The types of upgrade that can be planned."""

    OS_IMAGE = "OSImage"
    EXTENSION = "Extension"
    MODEL = "Model"


def status(
    name: options.FleetName,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, live, until Ctrl-C.")] = False,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """How the set or machine is, what is being done to it, and what that waits for."""
    if watch:
        run(
            lambda cluster: following.watch(cluster, name, form),
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
        )
        return
    snapshot = run(lambda cluster: cluster.snapshot(name), kubeconfig=kubeconfig, context=context, namespace=namespace)
    view = status_view.read(snapshot)

    def draw(width: int, wide: bool) -> RenderableType:
        return status_drawing.render(view, width=width, wide=wide)

    output.emit(view, form, draw)


def instances(
    name: options.FleetName,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """The instances: what each runs, how it is, and where it stands in the upgrade at work."""
    snapshot = run(lambda cluster: cluster.snapshot(name), kubeconfig=kubeconfig, context=context, namespace=namespace)
    view = instances_view.read(snapshot)

    def draw(width: int, wide: bool) -> RenderableType:
        return instances_drawing.render(view, now=snapshot.now, wide=wide)

    output.emit(view, form, draw)


def history(
    name: options.FleetName,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """The upgrades of the set or machine, the newest first: by whom, to where, and how they ended."""
    snapshot = run(lambda cluster: cluster.snapshot(name), kubeconfig=kubeconfig, context=context, namespace=namespace)
    view = history_view.read(snapshot)

    def draw(width: int, wide: bool) -> RenderableType:
        return history_drawing.render(view, now=snapshot.now, width=width, wide=wide)

    output.emit(view, form, draw)


def images(
    name: Annotated[
        str,
        typer.Argument(
            help="A scale set: its image in its location; default: all.",
            autocompletion=completion.sets,
            callback=options.set_name_or_none,
        ),
    ] = "",
    location: Annotated[str, typer.Option("--location", "-l", help="Only as they stand in this location.")] = "",
    publisher: Annotated[str, typer.Option("--publisher", help="Only of this publisher.")] = "",
    offer: Annotated[str, typer.Option("--offer", help="Only of this offer.")] = "",
    sku: Annotated[str, typer.Option("--sku", help="Only of this SKU.")] = "",
    catalog_namespace: options.CatalogNamespace = options.DEFAULT_CATALOG,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """The versions of image SKUs, per location: which is the latest, which are excluded, who runs them."""
    now = datetime.now(UTC)
    wanted = Wanted(location=location, publisher=publisher, offer=offer, sku=sku)

    async def work(cluster: Cluster) -> tuple[ImageView, ...]:
        sets = (await cluster.scale_set(name),) if name else await cluster.scale_sets()
        found = await cluster.images(catalog_namespace)
        asked = wanted
        if name:
            image = images_view.image_of_set(found, sets[0], catalog_namespace)
            found = (image,) if image is not None else ()
            asked = replace(wanted, location=location or text(sets[0], "status.location"))
        return images_view.read(found, sets, asked, catalog_namespace=catalog_namespace, now=now)

    view = run(work, kubeconfig=kubeconfig, context=context, namespace=namespace)

    def draw(width: int, wide: bool) -> RenderableType:
        return images_drawing.render(view, now=now, wide=wide)

    output.emit(view, form, draw)


def plan(
    name: options.FleetName,
    instances: options.Instances = None,
    type_: Annotated[
        PlannedType | None,
        typer.Option("--type", help="OSImage, Extension or Model; default: what is running, or comes next."),
    ] = None,
    extension: Annotated[
        list[str] | None,
        options.of_extensions("--extension", "As 'start --extension' would do it"),
    ] = None,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="As 'start' would do it: by a user, without automatic roll-back.")
    ] = False,
    catalog_namespace: options.CatalogNamespace = options.DEFAULT_CATALOG,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Which instances an upgrade takes in which batch: what is left of the one at work, or what the next would do.

    With instances: as 'update-instances' would bring them to the model.
    """
    with errors_in_words():
        if not whose.known(name).is_set:
            _extensions_only(name, instances or [], type_, by_hand=by_hand)
    around = run(
        lambda cluster: look_around(cluster, name, catalog_namespace=catalog_namespace),
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
    )
    with errors_in_words():
        seen = engine_view(around)
        named = select(instances or [], seen.name, seen.replicas)
        view = None if type_ or by_hand or named or extension else plan_view.running(seen, around.now)
        if view is None:
            default = (
                UpgradeType.EXTENSION
                if extension
                else UpgradeType.MODEL
                if named
                else UpgradeType.OS_IMAGE
                if by_hand
                else plan_view.next_type(seen, around.now)
            )
            kind = UpgradeType(type_.value) if type_ else default
            started_by = StartedBy.USER if by_hand or named or extension else StartedBy.PLATFORM
            view = plan_view.hypothetical(
                seen, kind, started_by, around.now, instances=named, extensions=extension or ()
            )
        view = plan_view.in_order(view, seen, around.turn)

    def draw(width: int, wide: bool) -> RenderableType:
        return plan_drawing.render(view, wide=wide)

    output.emit(view, form, draw)


def _extensions_only(name: str, instances: list[str], type_: PlannedType | None, *, by_hand: bool) -> None:
    """Refuse to plan what machines never get."""
    if instances:
        raise wrong_usage(f"{name} has no instances to name: a change of a machine's model applies at once")
    if type_ in (PlannedType.OS_IMAGE, PlannedType.MODEL) or by_hand:
        mend = hint("plan", name, "--extension", "NAME")
        raise wrong_usage("machines get no OS or Model upgrades, only their extensions are upgraded", mend=mend)


def explain(
    name: options.FleetName,
    catalog_namespace: options.CatalogNamespace = options.DEFAULT_CATALOG,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Why is nothing happening? What holds the set or machine up, what it waits for, and the cure."""
    around = run(
        lambda cluster: look_around(cluster, name, catalog_namespace=catalog_namespace),
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
    )
    view = explain_view.read(around)

    def draw(width: int, wide: bool) -> RenderableType:
        return explain_drawing.render(view)

    output.emit(view, form, draw)
