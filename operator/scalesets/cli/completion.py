"""Completion: names from the cluster for the shell, and kubectl's protocol for plugins.

For ``scalesets`` install typer's (``scalesets --install-completion``). For ``kubectl scaleset <TAB>`` kubectl runs the
executable ``kubectl_complete-scaleset`` with the words typed so far; it prints a candidate a line and then a directive.
Completion must be quick and silent: no cluster, no names.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import typer

from scalesets.cli.errors import CommandError
from scalesets.cli.fields import Obj, at, image_reference, name_of, number
from scalesets.cli.words import count

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster

PATIENCE = 5.0
NO_FILES = ":4"
"""The directive of cobra's protocol: don't complete file names."""

Candidates = list[tuple[str, str]]


def sets(ctx: typer.Context, incomplete: str) -> Candidates:
    """The scale sets of the namespace, and their images."""

    async def look(cluster: Cluster) -> Candidates:
        return [(name_of(s), _about(s)) for s in await cluster.scale_sets()]

    return _matching(_ask(ctx, look), incomplete)


def fleets(ctx: typer.Context, incomplete: str) -> Candidates:
    """The scale sets, machines and availability sets of the namespace, in the words in which the user began."""
    from scalesets.cli.whose import OWNERS, SCALE_SET

    kind, slash, _ = incomplete.rpartition("/")

    async def look(cluster: Cluster) -> Candidates:
        wanted = [o for o in OWNERS if not slash or kind.lower() in o.known_as]
        found: Candidates = []
        for owner in wanted:
            start = f"{kind}/" if slash else "" if owner is SCALE_SET else f"{owner.short}/"
            if start.startswith(incomplete) or incomplete.startswith(start):
                with contextlib.suppress(CommandError):  # who may not list machines still gets the sets
                    found += [(f"{start}{name_of(f)}", _about(f)) for f in await cluster.fleets(owner)]
        return found

    return _matching(_ask(ctx, look), incomplete)


def extensions(ctx: typer.Context, incomplete: str) -> Candidates:
    """The extensions of the set or machine that is named, or of the availability set's machines."""
    from scalesets.cli.whose import AVAILABILITY_SET, parse

    named = parse(str(ctx.params.get("name") or ""))

    async def look(cluster: Cluster) -> Candidates:
        if named is None:
            return []
        of_many = named.owner is AVAILABILITY_SET
        fleets = await cluster.machines_of(named.name) if of_many else (await cluster.fleet(named),)
        found = [(str(e.get("name")), str(e.get("type"))) for f in fleets for e in at(f, "spec.extensions", [])]
        return list(dict.fromkeys(found))

    return _matching(_ask(ctx, look), incomplete) if named is not None else []


def instances(ctx: typer.Context, incomplete: str) -> Candidates:
    """The instances of the set that is named."""
    name = str(ctx.params.get("name") or "")

    async def look(cluster: Cluster) -> Candidates:
        scale_set = await cluster.scale_set(name)
        return [(f"{name}-{ordinal}", "") for ordinal in range(number(scale_set, "spec.replicas", 1))]

    return _matching(_ask(ctx, look), incomplete) if name else []


def upgrades(ctx: typer.Context, incomplete: str) -> Candidates:
    """The upgrades of the set or machine that is named."""
    from scalesets.cli.whose import parse

    name = str(ctx.params.get("name") or "")
    named = parse(name)

    async def look(cluster: Cluster) -> Candidates:
        found = await cluster.upgrades(named) if named is not None else ()
        return [(name_of(u), str(at(u, "spec.type", ""))) for u in found]

    return _matching(_ask(ctx, look), incomplete) if name else []


def namespaces(ctx: typer.Context, incomplete: str) -> Candidates:
    """The namespaces of the cluster."""

    async def look(cluster: Cluster) -> Candidates:
        return [(name, "") for name in await cluster.namespaces()]

    return _matching(_ask(ctx, look), incomplete)


def contexts(ctx: typer.Context, incomplete: str) -> Candidates:
    """The contexts of the kubeconfig."""
    from scalesets.cli import kubeconfig

    where = kubeconfig.Where(kubeconfig=str(ctx.params.get("kubeconfig") or ""))
    return _matching([(name, "") for name in kubeconfig.contexts(where)], incomplete)


def kubectl_plugin() -> None:
    """The executable ``kubectl_complete-scaleset``."""
    for line in candidates_for_kubectl(sys.argv[1:]):
        print(line)  # noqa: T201


def candidates_for_kubectl(words: list[str]) -> list[str]:
    """Candidates for the last of the words, with their descriptions after a tab, and the directive."""
    from scalesets.cli.commands import app

    # typer's completion for fish has the very form that kubectl wants; it is driven by the environment.
    typed = " ".join(["scalesets", *(shlex.quote(word) if word else "" for word in words)])
    settings = {
        "_SCALESETS_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": typed,
    }
    os.environ.update(settings)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            app(prog_name="scalesets", args=[])
    finally:
        for key in settings:
            del os.environ[key]
    return [line for line in printed.getvalue().splitlines() if line.strip()] + [NO_FILES]


def _ask(ctx: typer.Context, look: Callable[[Cluster], Awaitable[Candidates]]) -> Candidates:
    from scalesets.cli.cluster import connect
    from scalesets.cli.kubeconfig import Where

    given = {key: str(ctx.params.get(key) or "") for key in ("kubeconfig", "context", "namespace")}

    async def connected() -> Candidates:
        async with asyncio.timeout(PATIENCE), connect(Where(**given)) as cluster:
            return await look(cluster)

    try:
        return asyncio.run(connected())
    except (CommandError, TimeoutError):
        return []


def _matching(candidates: Candidates, incomplete: str) -> Candidates:
    return [(name, about) for name, about in candidates if name.startswith(incomplete)]


def _about(fleet: Obj) -> str:
    reference = at(fleet, "spec.imageReference")
    if reference is None:
        return f"availability set, {count(number(fleet, 'status.replicas'), 'machine')}"
    replicas = at(fleet, "spec.replicas")
    return (
        f"machine, {image_reference(reference)}" if replicas is None else f"{replicas} x {image_reference(reference)}"
    )
