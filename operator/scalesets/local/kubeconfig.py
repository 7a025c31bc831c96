"""Kubeconfig files that carry their certificates in themselves, so that they can be copied anywhere on this machine."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import yaml

from scalesets.local.certificates import KeyPair

CLUSTER = "scalesets-local"


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    authority: Path,
    user: str,
    client: KeyPair | None = None,
    token: str | None = None,
    namespace: str = "default",
) -> None:
    """Write a kubeconfig for one user, known by a client certificate or a token; readable by the owner only."""
    identity: dict[str, Any] = {}
    if client is not None:
        identity = {"client-certificate-data": _data(client.certificate), "client-key-data": _data(client.key)}
    if token is not None:
        identity["token"] = token
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CLUSTER, "cluster": {"server": server, "certificate-authority-data": _data(authority)}}],
        "users": [{"name": user, "user": identity}],
        "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": user, "namespace": namespace}}],
        "current-context": CLUSTER,
    }
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    partial.replace(path)


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
