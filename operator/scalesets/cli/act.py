"""The commands that act: start, cancel, update-instances, approve.

Each writes one RollingUpgrade; the operator does the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from scalesets.cli import completion, creating, extensions, following, options, whose, words
from scalesets.cli.errors import CommandError, ExitCode, not_found, wrong_usage
from scalesets.cli.fields import Obj, at, is_final, name_of, number, text
from scalesets.cli.output import Output
from scalesets.cli.program import hint
from scalesets.cli.session import errors_in_words, run, say, say_error
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import upgrades
from scalesets.cli.views.selection import select
from scalesets.cli.views.upgrades import WAITING_FOR_APPROVAL
from scalesets.cli.whose import Named

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster

ATTEMPTS = 5


def start(
    name: options.FleetName,
    extension: Annotated[
        list[str] | None,
        options.of_extensions("--extension", "Upgrade this extension instead of the OS image"),
    ] = None,
    all_extensions: Annotated[
        bool, typer.Option("--all-extensions", help="Upgrade all extensions that are behind.")
    ] = False,
    wait: options.Wait = False,
    timeout: options.Timeout = options.FOR_EVER,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Start an upgrade by hand, now: of the OS image, without automatic roll-back, or of extensions, which are put back
    where they fail.
    """
    _timeout_of_wait(wait, timeout)
    named = whose.known(name)
    with errors_in_words():
        _extensions_or_image(named, extension or [], all_extensions=all_extensions)

    async def of_extensions(cluster: Cluster) -> None:
        snapshot = await cluster.snapshot(name)
        _by_itself(snapshot, extension or [])
        fleets = snapshot.machines if named.owner is whose.AVAILABILITY_SET else (snapshot.scale_set,)
        extensions.known_names(fleets, extension or [], where=str(named))
        body = creating.body_of(snapshot, "Extension", "ext")
        body["spec"]["extensions"] = list(dict.fromkeys(extension or ()))
        told = f": {words.listing(extension)} to the latest of their majors" if extension else ": all that are behind"
        created = await cluster.create_upgrade(body)
        await creating.follow(cluster, snapshot, created, told, form, wait=wait, limit=timeout)

    async def work(cluster: Cluster) -> None:
        snapshot = await cluster.snapshot(name)
        version = text(snapshot.scale_set, "spec.imageReference.version", "latest")
        if version != "latest":
            say(f"warning: the set's version is {version}; a manual start needs spec.imageReference.version: latest")
        created = await cluster.create_upgrade(creating.body_of(snapshot, "OSImage", "os"))
        await creating.follow(cluster, snapshot, created, "", form, wait=wait, limit=timeout)

    in_place = bool(extension) or all_extensions
    run(of_extensions if in_place else work, kubeconfig=kubeconfig, context=context, namespace=namespace)


def update_instances(
    name: options.SetName,
    instances: options.Instances = None,
    all_instances: options.AllInstances = False,
    wait: options.Wait = False,
    timeout: options.Timeout = options.FOR_EVER,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Bring instances to the set's current model, in batches; named ones also when too many are unhealthy."""
    _some_or_all(instances, all_instances, "update-instances", name)
    _timeout_of_wait(wait, timeout)

    async def work(cluster: Cluster) -> None:
        snapshot = await cluster.snapshot(name)
        members = select(instances or [], snapshot.name, number(snapshot.scale_set, "spec.replicas", 1))
        body = creating.body_of(snapshot, "Model", "model")
        body["spec"]["instances"] = members
        told = f": {words.listing(members)} to the current model" if members else ": all to the current model"
        created = await cluster.create_upgrade(body)
        await creating.follow(cluster, snapshot, created, told, form, wait=wait, limit=timeout)

    run(work, kubeconfig=kubeconfig, context=context, namespace=namespace)


def cancel(
    name: options.FleetName,
    upgrade: Annotated[
        str, typer.Option("--upgrade", help="Which, if not the one that runs.", autocompletion=completion.upgrades)
    ] = "",
    wait: options.Wait = False,
    timeout: options.Timeout = options.FOR_EVER,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Cancel the running upgrade: it stops at the end of its current batch."""
    _timeout_of_wait(wait, timeout)

    async def work(cluster: Cluster) -> None:
        snapshot = await cluster.snapshot(name)
        chosen = _to_cancel(snapshot, upgrade)
        cancelled = await cluster.patch_upgrade(chosen, {"cancel": True}, as_read=False)
        batch = upgrades.read(chosen).batch
        when = f"it stops at the end of batch {batch.number}" if batch else "it ends without another batch"
        if form not in (Output.JSON, Output.YAML):
            creating.say_done(cancelled, f" cancelled: {when}")
        if wait:
            quiet = form in (Output.JSON, Output.YAML)
            cancelled = await following.wait(cluster, name, name_of(chosen), limit=timeout, quiet=quiet)
        if form in (Output.JSON, Output.YAML):
            creating.emit(cancelled, form)
        elif wait:
            following.tell_outcome(upgrades.read(cancelled), of=name)

    run(work, kubeconfig=kubeconfig, context=context, namespace=namespace)


def approve(
    name: options.SetName,
    instances: options.Instances = None,
    all_instances: options.AllInstances = False,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Let a deferred OS upgrade touch these instances (osRollingUpgradeDeferral)."""
    _some_or_all(instances, all_instances, "approve", name)

    async def work(cluster: Cluster) -> None:
        snapshot = await cluster.snapshot(name)
        members = select(instances or [], snapshot.name, number(snapshot.scale_set, "spec.replicas", 1)) or ["*"]
        deferred = _deferred(snapshot)
        version = upgrades.read(deferred).target
        approved = await _retried(lambda: _approve(cluster, name_of(deferred), members))
        if form in (Output.JSON, Output.YAML):
            creating.emit(approved, form)
            return
        who = "all instances" if "*" in members else words.listing(members)
        creating.say_done(approved, f" approved: {who} may go to {version}")

    run(work, kubeconfig=kubeconfig, context=context, namespace=namespace)


def _some_or_all(instances: list[str] | None, all_instances: bool, command: str, name: str) -> None:
    if bool(instances) == all_instances:
        mend = f"{hint(command, name, f'{name}-0', f'{name}-1')}, or --all"
        what = "either instances or --all, not both" if instances else "no instances named"
        say_error(wrong_usage(what, mend=mend))
        raise typer.Exit(ExitCode.USAGE)


def _timeout_of_wait(wait: bool, timeout: timedelta) -> None:
    if timeout and not wait:
        say_error(wrong_usage("--timeout is how long --wait waits", mend="add --wait"))
        raise typer.Exit(ExitCode.USAGE)


def _extensions_or_image(named: Named, chosen: list[str], *, all_extensions: bool) -> None:
    if chosen and all_extensions:
        raise wrong_usage("either --extension or --all-extensions, not both", mend="leave one out")
    if not (chosen or all_extensions or named.is_set):
        mend = f"{hint('start', str(named), '--extension', 'NAME')}, or --all-extensions"
        raise wrong_usage("machines get no OS upgrades: only their extensions are upgraded", mend=mend)


def _by_itself(snapshot: Snapshot, chosen: list[str]) -> None:
    """Refuse what the operator would end at once: a machine goes with its availability set (E5c)."""
    group = text(snapshot.scale_set, "spec.availabilitySet")
    if group:
        message = f"{snapshot.reference} is upgraded with its availability set, one update domain at a time"
        which = [word for name in chosen for word in ("--extension", name)] or ["--all-extensions"]
        raise CommandError(message, mend=hint("start", str(Named(whose.AVAILABILITY_SET, group)), *which))


def _to_cancel(snapshot: Snapshot, named: str) -> Obj:
    if named:
        chosen = snapshot.upgrade(named)
        if chosen is None:
            there = [name_of(u) for u in snapshot.upgrades if not is_final(u)]
            mend = f"unfinished ones: {', '.join(there)}" if there else "none is unfinished"
            raise not_found(f'no RollingUpgrade "{named}" of {snapshot.reference}', mend=mend)
        if is_final(chosen):
            raise CommandError(f"{named} is over already: {text(chosen, 'status.runningStatus.code')}")
        return chosen
    running = snapshot.running_upgrade
    if running is not None:
        return running
    waiting = snapshot.waiting_upgrades
    if len(waiting) > 1:
        names = ", ".join(name_of(u) for u in waiting)
        raise wrong_usage(
            f"several upgrades of {snapshot.reference} wait to begin: {names}", mend="name one with --upgrade"
        )
    if not waiting:
        raise not_found(f"no upgrade of {snapshot.reference} is running, nothing to cancel")
    return waiting[0]


def _deferred(snapshot: Snapshot) -> Obj:
    for upgrade in snapshot.upgrades:
        platform = text(upgrade, "spec.startedBy") == "Platform" and text(upgrade, "spec.type") == "OSImage"
        if platform and not is_final(upgrade) and (_is_deferred(snapshot) or _waits_for_approval(upgrade)):
            return upgrade
    if not _is_deferred(snapshot):
        field = "spec.upgradePolicy.automaticOSUpgradePolicy.osRollingUpgradeDeferral"
        raise not_found(
            f"no OS upgrade of {snapshot.name} waits for approval", mend=f"{field} is false: none ever does"
        )
    raise not_found(f"no OS upgrade of {snapshot.name} waits for approval now", mend=hint("explain", snapshot.name))


def _is_deferred(snapshot: Snapshot) -> bool:
    return bool(at(snapshot.scale_set, "spec.upgradePolicy.automaticOSUpgradePolicy.osRollingUpgradeDeferral"))


def _waits_for_approval(upgrade: Obj) -> bool:
    return upgrades.read(upgrade).waiting_reason == WAITING_FOR_APPROVAL


async def _approve(cluster: Cluster, upgrade_name: str, members: list[str]) -> Obj:
    upgrade = await cluster.upgrade(upgrade_name)
    approved = list(at(upgrade, "spec.approvedInstances", []))
    more = [member for member in members if member not in approved]
    if "*" in approved or not more:
        return upgrade
    wanted = ["*"] if "*" in more else [*approved, *more]
    return await cluster.patch_upgrade(upgrade, {"approvedInstances": wanted}, as_read=True)


async def _retried(write: Callable[[], Awaitable[Obj]]) -> Obj:
    """The operator writes the same object; a write that it overtook is made anew from what is there now."""
    from scalesets.cli.cluster import ConflictError

    for _ in range(ATTEMPTS - 1):
        try:
            return await write()
        except ConflictError:
            continue
    return await write()
