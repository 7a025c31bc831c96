"""The commands that look and change nothing: status, instances, history."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import RenderableType

from scalesets.cli import following, options, output
from scalesets.cli.render import history as history_drawing
from scalesets.cli.render import instances as instances_drawing
from scalesets.cli.render import status as status_drawing
from scalesets.cli.session import run
from scalesets.cli.views import history as history_view
from scalesets.cli.views import instances as instances_view
from scalesets.cli.views import status as status_view


def status(
    name: options.SetName,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, live, until Ctrl-C.")] = False,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """How the set is, what is being done to it, and what that waits for."""
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
    name: options.SetName,
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
    name: options.SetName,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """The upgrades of the set, the newest first: by whom, to where, and how they ended."""
    snapshot = run(lambda cluster: cluster.snapshot(name), kubeconfig=kubeconfig, context=context, namespace=namespace)
    view = history_view.read(snapshot)

    def draw(width: int, wide: bool) -> RenderableType:
        return history_drawing.render(view, now=snapshot.now, width=width, wide=wide)

    output.emit(view, form, draw)
