"""The commands that act: start, cancel, update-instances, approve.

Each writes one RollingUpgrade; the operator does the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from scalesets.cli import completion, following, options, output, words
from scalesets.cli.errors import CommandError, ExitCode, not_found, wrong_usage
from scalesets.cli.fields import Obj, at, is_final, name_of, number, text
from scalesets.cli.output import Output
from scalesets.cli.program import hint
from scalesets.cli.session import run, say, say_error
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import upgrades
from scalesets.cli.views.selection import select
from scalesets.cli.views.upgrades import WAITING_FOR_APPROVAL
from scalesets.kube.names import API_VERSION, LABEL_SET

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster

ATTEMPTS = 5


def start(
    name: options.SetName,
    wait: options.Wait = False,
    timeout: options.Timeout = options.FOR_EVER,
    form: options.OutputForm = None,
    namespace: options.Namespace = "",
    context: options.Context = "",
    kubeconfig: options.Kubeconfig = "",
) -> None:
    """Start an OS image upgrade by hand: all instances to the latest version, now, without automatic roll-back."""

    _timeout_of_wait(wait, timeout)

    async def work(cluster: Cluster) -> None:
        snapshot = await cluster.snapshot(name)
        version = text(snapshot.scale_set, "spec.imageReference.version", "latest")
        if version != "latest":
            say(f"warning: the set's version is {version}; a manual start needs spec.imageReference.version: latest")
        created = await cluster.create_upgrade(_upgrade(snapshot, "OSImage", "os"))
        await _created(cluster, snapshot, created, "", form, wait=wait, limit=timeout)

    run(work, kubeconfig=kubeconfig, context=context, namespace=namespace)


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
        body = _upgrade(snapshot, "Model", "model")
        body["spec"]["instances"] = members
        told = f": {words.listing(members)} to the current model" if members else ": all to the current model"
        created = await cluster.create_upgrade(body)
        await _created(cluster, snapshot, created, told, form, wait=wait, limit=timeout)

    run(work, kubeconfig=kubeconfig, context=context, namespace=namespace)


def cancel(
    name: options.SetName,
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
            _say_done(cancelled, f" cancelled: {when}")
        if wait:
            quiet = form in (Output.JSON, Output.YAML)
            cancelled = await following.wait(cluster, name, name_of(chosen), limit=timeout, quiet=quiet)
        if form in (Output.JSON, Output.YAML):
            _emit(cancelled, form)
        elif wait:
            following.tell_outcome(upgrades.read(cancelled), set_name=name)

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
            _emit(approved, form)
            return
        who = "all instances" if "*" in members else words.listing(members)
        _say_done(approved, f" approved: {who} may go to {version}")

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


def _upgrade(snapshot: Snapshot, type_: str, short: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "RollingUpgrade",
        "metadata": {
            "generateName": f"{snapshot.name}-{short}-",
            "namespace": snapshot.namespace,
            "labels": {LABEL_SET: snapshot.name},
        },
        "spec": {"scaleSet": snapshot.name, "type": type_, "startedBy": "User"},
    }


async def _created(
    cluster: Cluster,
    snapshot: Snapshot,
    created: Obj,
    told: str,
    form: Output | None,
    *,
    wait: bool,
    limit: timedelta,
) -> None:
    data = form in (Output.JSON, Output.YAML)
    if not data:
        _say_done(created, f" created{told}")
        running = snapshot.running_upgrade
        if running is not None:
            say(f"It begins when {name_of(running)} has ended.")
        elif not wait:
            say(f"{hint('status', snapshot.name, '--watch')} shows its progress.")
    if wait:
        created = await following.wait(cluster, snapshot.name, name_of(created), limit=limit, quiet=data)
    if data:
        _emit(created, form)
    elif wait:
        following.tell_outcome(upgrades.read(created), set_name=snapshot.name)
    if wait and text(created, "status.runningStatus.code") != "Completed":
        raise typer.Exit(ExitCode.UPGRADE_FAILED)


def _to_cancel(snapshot: Snapshot, named: str) -> Obj:
    if named:
        chosen = snapshot.upgrade(named)
        if chosen is None:
            there = [name_of(u) for u in snapshot.upgrades if not is_final(u)]
            mend = f"unfinished ones: {', '.join(there)}" if there else "none is unfinished"
            raise not_found(f'no RollingUpgrade "{named}" of {snapshot.name}', mend=mend)
        if is_final(chosen):
            raise CommandError(f"{named} is over already: {text(chosen, 'status.runningStatus.code')}")
        return chosen
    running = snapshot.running_upgrade
    if running is not None:
        return running
    waiting = snapshot.waiting_upgrades
    if len(waiting) > 1:
        names = ", ".join(name_of(u) for u in waiting)
        raise wrong_usage(f"several upgrades of {snapshot.name} wait to begin: {names}", mend="name one with --upgrade")
    if not waiting:
        raise not_found(f"no upgrade of {snapshot.name} is running, nothing to cancel")
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


def _emit(upgrade: Obj, form: Output | None) -> None:
    """The object as kubectl prints it: without who manages which field."""
    metadata = {key: value for key, value in upgrade["metadata"].items() if key != "managedFields"}
    output.emit({**upgrade, "metadata": metadata}, form, lambda *_: "")


def _say_done(upgrade: Obj, what: str) -> None:
    output.show(Text(f"rollingupgrade.scalesets.dev/{name_of(upgrade)}{what}"))
