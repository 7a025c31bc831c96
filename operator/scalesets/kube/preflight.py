"""Before a batch touches anything: are the Secrets and ConfigMaps that the model names there and current (O15, O21;
docs/rules.md)?

What is missing or expired is said by name: an object, a key of it, a certificate in ``tls.crt``, a token with an
``exp``, or the annotation ``scalesets.dev/expires``. What may not be read is skipped and said so; optional references
are skipped.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from scalesets.kube import times
from scalesets.kube.names import ANNOTATION_EXPIRES, Raw
from scalesets.kube.phrases import first_of

SECRET = "Secret"
CONFIG_MAP = "ConfigMap"
MOST_NAMED = 5
"""So many problems are named in a message."""

Get = Callable[[str, str, str], Awaitable[Raw | None]]
"""Kind, namespace, name -> the object, None when there is none; raises Forbidden."""


class Forbidden(Exception):  # noqa: N818 - an answer, not an error
    """The operator may not read the object."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A Secret or ConfigMap that a model names, with the keys it needs. No keys: all there are."""

    kind: str
    name: str
    where: str
    keys: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """What was found, in words."""

    problems: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """The problems in one sentence; empty when there are none."""
        return first_of(self.problems, MOST_NAMED, separator="; ")


async def check(
    scaleset: Raw,
    revision: Raw,
    *,
    get: Get,
    read_secrets: bool,
    now: datetime,
    pull_secrets: Iterable[tuple[str, str]] = (),
) -> Report:
    """Look at all that the model names, each object once; ``pull_secrets`` are those of its images, and who says so."""
    report = Report()
    namespace: str = scaleset["metadata"]["namespace"]
    grouped: dict[tuple[str, str], list[Reference]] = {}
    pulls = (Reference(SECRET, name, where) for name, where in pull_secrets)
    for reference in (*named(revision["data"]), *pulls):
        grouped.setdefault((reference.kind, reference.name), []).append(reference)
    for (kind, name), references in grouped.items():
        if kind == SECRET and not read_secrets:
            report.unchecked.append(f"Secret {name} is not checked: reading Secrets is switched off")
            continue
        try:
            found = await get(kind, namespace, name)
        except Forbidden:
            report.unchecked.append(f"{kind} {name} is not checked: the operator may not read it")
            continue
        report.problems.extend(_problems(kind, name, found, references, now))
    return report


def named(data: Raw) -> Iterator[Reference]:
    """The Secrets and ConfigMaps that a model can't do without."""
    spec = data["template"]["spec"]
    for secret in spec.get("imagePullSecrets") or ():
        if secret.get("name"):
            yield Reference(SECRET, secret["name"], "imagePullSecrets")
    for volume in spec.get("volumes") or ():
        yield from _in_volume(volume)
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        yield from _in_container(container)
    for extension in data.get("extensions") or ():
        held = (data.get("resolved") or {}).get(extension["name"]) or {}
        yield from _in_container({**(held.get("container") or {}), "name": extension["name"]})
        secret = (extension.get("protectedSettingsFrom") or {}).get("secretRef") or {}
        if secret.get("name"):
            yield Reference(SECRET, secret["name"], f"extension {extension['name']}")
    custom = ((data.get("osProfile") or {}).get("customDataFrom") or {}).get("secretKeyRef") or {}
    if custom.get("name"):
        yield Reference(SECRET, custom["name"], "osProfile.customDataFrom", (custom["key"],))


def _in_container(container: Raw) -> Iterator[Reference]:
    where = f"container {container.get('name', '')}"
    for source in container.get("envFrom") or ():
        for kind, key in ((SECRET, "secretRef"), (CONFIG_MAP, "configMapRef")):
            yield from _of(kind, source.get(key), where)
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for kind, key in ((SECRET, "secretKeyRef"), (CONFIG_MAP, "configMapKeyRef")):
            reference = source.get(key) or {}
            yield from _of(kind, reference, where, (reference["key"],) if "key" in reference else ())


def _in_volume(volume: Raw) -> Iterator[Reference]:
    where = f"volume {volume['name']}"
    secret, config = volume.get("secret") or {}, volume.get("configMap") or {}
    yield from _of(SECRET, {**secret, "name": secret.get("secretName")}, where, _items(secret))
    yield from _of(CONFIG_MAP, config, where, _items(config))
    for source in (volume.get("projected") or {}).get("sources") or ():
        for kind, key in ((SECRET, "secret"), (CONFIG_MAP, "configMap")):
            projected = source.get(key) or {}
            yield from _of(kind, projected, where, _items(projected))
    csi = (volume.get("csi") or {}).get("nodePublishSecretRef")
    yield from _of(SECRET, csi, where)


def _items(source: Raw) -> tuple[str, ...]:
    return tuple(item["key"] for item in source.get("items") or ())


def _of(kind: str, source: Raw | None, where: str, keys: tuple[str, ...] = ()) -> Iterator[Reference]:
    if source and source.get("name") and not source.get("optional"):
        yield Reference(kind, source["name"], where, keys)


def _problems(kind: str, name: str, found: Raw | None, references: list[Reference], now: datetime) -> Iterator[str]:
    users = ", ".join(dict.fromkeys(r.where for r in references))
    if found is None:
        yield f"{kind} {name} is missing ({users})"
        return
    held = {**(found.get("data") or {}), **(found.get("binaryData") or {})}
    wanted = tuple(dict.fromkeys(key for r in references for key in r.keys))
    for key in wanted:
        if key not in held:
            yield f"{kind} {name} has no key {key} ({users})"
    expires = _expiry_note((found["metadata"].get("annotations") or {}).get(ANNOTATION_EXPIRES))
    if expires is not None and expires <= now:
        when = times.render_seconds(expires)
        yield f"{kind} {name} expired at {when}, says its annotation {ANNOTATION_EXPIRES} ({users})"
    if kind == SECRET:
        whole = any(not r.keys for r in references)
        for key in held if whole else [k for k in wanted if k in held]:
            ended = _end_of(key, str(held[key]))
            if ended is not None and ended <= now:
                what = "certificate" if key == "tls.crt" else "token"
                yield f"{kind} {name}: the {what} in {key} expired at {times.render_seconds(ended)} ({users})"


def _expiry_note(text: str | None) -> datetime | None:
    """A time or a date, which ends when its day begins. What can't be read says nothing."""
    try:
        return times.read_given(text)
    except ValueError:
        return None


def _end_of(key: str, encoded: str) -> datetime | None:
    try:
        value = b64decode(encoded, validate=False)
    except (binascii.Error, ValueError):
        return None
    return _certificate_end(value) if key == "tls.crt" else _token_end(value)


def _certificate_end(pem: bytes) -> datetime | None:
    """When the first certificate, which is the server's own, ends."""
    try:
        return x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc
    except (ValueError, IndexError):
        return None


def _token_end(value: bytes) -> datetime | None:
    """The ``exp`` of a JSON Web Token; None for anything else."""
    parts = value.strip().split(b".")
    if len(parts) != 3 or not parts[0].startswith(b"eyJ"):
        return None
    try:
        claims: Any = json.loads(urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
