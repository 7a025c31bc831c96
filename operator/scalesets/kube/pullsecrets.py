"""The credentials for a registry, from a Secret of type kubernetes.io/dockerconfigjson.

They are sent to the registry that the Secret names them for, and to nobody else.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from scalesets.kube.names import Raw

KEY = ".dockerconfigjson"
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


class UnusableSecret(Exception):  # noqa: N818 - a user's mistake, in words
    """The Secret can't be read, or holds nothing for the registry."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password."""

    user: str
    password: str = field(repr=False)


def credentials(secret: Raw, host: str, path: str) -> Login:
    """The Secret's credentials for a repository: of several that fit, those for the longest path. ``host`` has the
    port when it isn't the usual one. Raises UnusableSecret, without a word of what the Secret holds.
    """
    name = secret["metadata"]["name"]
    found: tuple[int, Raw] | None = None
    for key, entry in _entries(secret, name).items():
        of_host, of_path = _place(str(key))
        fits = _same_host(of_host, host) and (not of_path or f"{path}/".startswith(f"{of_path}/"))
        if fits and isinstance(entry, dict) and (found is None or len(of_path) > found[0]):
            found = (len(of_path), entry)
    if found is None:
        raise UnusableSecret(f"Secret {name} holds no credentials for {host}: add them")
    return _read(found[1], name, host)


def _entries(secret: Raw, name: str) -> Raw:
    encoded = (secret.get("data") or {}).get(KEY)
    if not encoded:
        raise UnusableSecret(f"Secret {name} has no key {KEY}: make one of type kubernetes.io/dockerconfigjson")
    try:
        entries: Any = json.loads(b64decode(encoded)).get("auths") or {}
    except (binascii.Error, ValueError, AttributeError, RecursionError):
        entries = None
    if not isinstance(entries, dict):
        raise UnusableSecret(f"Secret {name}: {KEY} is no Docker configuration with auths")
    return entries


def _place(key: str) -> tuple[str, str]:
    """Host and path of a key: ``registry.example``, ``https://index.docker.io/v1/``, ``registry.example/team``."""
    try:
        parts = urlsplit(key if "://" in key else f"//{key}")
    except ValueError:  # whose words would repeat the key
        return "", ""
    path = parts.path.strip("/")
    return parts.netloc.lower(), "" if path in ("v1", "v2") else path


def _same_host(one: str, other: str) -> bool:
    return one == other.lower() or (one in _HUB and other.lower() in _HUB)


def _read(entry: Raw, name: str, host: str) -> Login:
    user, password = entry.get("username"), entry.get("password")
    if not user and isinstance(entry.get("auth"), str):
        try:
            user, _, password = b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, ValueError):
            raise UnusableSecret(f"Secret {name}: auth of {host} is no base64 of USER:PASSWORD") from None
    if not isinstance(user, str) or not isinstance(password, str) or not user:
        raise UnusableSecret(f"Secret {name} has no user and password for {host}")
    return Login(user, password)
