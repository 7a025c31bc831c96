"""Steering the simulated machines from outside: injected failures, boot times, machines that stop.

Everything is written as keys of one ConfigMap that the machines watch, each with a merge patch of its own, so that two
people at work don't undo each other. Rules carry absolute times and end by themselves.
"""

from __future__ import annotations

import datetime
import json
import secrets
from dataclasses import replace

from scalesets.local.api import Api, ApiError
from scalesets.local.machines.faults import (
    BOOT_TIME,
    CONFIG_MAP,
    KUBELET_PREFIX,
    NAMESPACE,
    PATCH_TIME,
    RULE_PREFIX,
    STOPPED_PREFIX,
    Mode,
    Rule,
    Steering,
)

_CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


def fail(
    api: Api,
    *,
    mode: Mode = Mode.NEVER_READY,
    version: str = "",
    instance: str = "",
    scaleset: str = "",
    share: float = 1.0,
    after: datetime.timedelta = datetime.timedelta(0),
    lasts: datetime.timedelta | None = None,
) -> Rule:
    """Let instances fail: of an image version, of a scale set (NAMESPACE/NAME), or one (NAMESPACE/POD).

    Several of the three together mean instances for which all hold. Returns the rule; `heal` takes its name.
    """
    if not (version or instance or scaleset):
        raise ValueError("name a version, an instance or a set")
    begins = datetime.datetime.now(datetime.UTC) + after
    rule = Rule(
        name=secrets.token_hex(3),
        mode=mode,
        begins=begins,
        ends=begins + lasts if lasts else None,
        version=version,
        instance=instance,
        scaleset=scaleset,
        share=share,
    )
    now = datetime.datetime.now(datetime.UTC)
    ended = {f"{RULE_PREFIX}{old.name}": None for old in _read_all(api).rules if old.ends and old.ends <= now}
    _write(api, {f"{RULE_PREFIX}{rule.name}": rule.to_json(), **ended})
    return rule


def heal(api: Api, names: list[str] | None = None) -> list[str]:
    """End injected failures, by name or all; returns the names of those that ended."""
    known = [rule.name for rule in read(api).rules]
    ended = [name for name in known if names is None or name in names]
    if ended:
        _write(api, {f"{RULE_PREFIX}{name}": None for name in ended})
    return ended


def set_boot_seconds(api: Api, low: float, high: float) -> None:
    """Let every following start take between `low` and `high` seconds."""
    if not 0 <= low <= high:
        raise ValueError(f"the shortest boot time ({low} s) must not be above the longest ({high} s)")
    _write(api, {BOOT_TIME: json.dumps([low, high])})


def set_patch_seconds(api: Api, low: float, high: float) -> None:
    """Let machines take between `low` and `high` seconds to notice an image that is patched in place from now on."""
    if not 0 <= low <= high:
        raise ValueError(f"the shortest time to notice a patch ({low} s) must not be above the longest ({high} s)")
    _write(api, {PATCH_TIME: json.dumps([low, high])})


def set_kubelet_version(api: Api, node: str, version: str | None) -> None:
    """Let a machine play another kubelet (`v1.31.4`): before 1.32 it restarts no sidecar whose image is patched."""
    _write(api, {f"{KUBELET_PREFIX}{node}": version})


def stop_node(api: Api, name: str) -> None:
    """Cut a machine off: no heartbeats, and nothing moves on it until it is started again."""
    _write(api, {f"{STOPPED_PREFIX}{name}": ""})


def start_node(api: Api, name: str) -> None:
    """Let a machine come back."""
    _write(api, {f"{STOPPED_PREFIX}{name}": None})


def read(api: Api) -> Steering:
    """Return what is set now, without rules that are over."""
    steering = _read_all(api)
    now = datetime.datetime.now(datetime.UTC)
    return replace(steering, rules=tuple(rule for rule in steering.rules if rule.ends is None or rule.ends > now))


def _read_all(api: Api) -> Steering:
    found = api.find(f"{_CONFIG_MAPS}/{CONFIG_MAP}")
    return Steering.from_data((found or {}).get("data") or {})


def _write(api: Api, data: dict[str, str | None]) -> None:
    try:
        api.merge(f"{_CONFIG_MAPS}/{CONFIG_MAP}", {"data": data})
    except ApiError as error:
        if error.status != 404:
            raise
        kept = {key: value for key, value in data.items() if value is not None}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": kept}
        try:
            api.create(_CONFIG_MAPS, body)
        except ApiError as conflict:
            if conflict.status != 409:
                raise
            api.merge(f"{_CONFIG_MAPS}/{CONFIG_MAP}", {"data": data})
