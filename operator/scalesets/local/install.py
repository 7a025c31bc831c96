"""What a fresh control plane gets before anyone uses it: the CRDs, and the operator's own identity.

The operator never runs as an administrator: it gets a ServiceAccount, the roles that the chart carries too, and a
kubeconfig with a token of that ServiceAccount.
"""

from __future__ import annotations

import time
from typing import Any

from scalesets.api.shipped import objects
from scalesets.local.api import Api
from scalesets.local.errors import LocalError
from scalesets.local.kubeconfig import write_kubeconfig
from scalesets.local.layout import Layout

NAMESPACE = "scaleset-system"
OPERATOR = "scaleset-operator"
_TOKEN_SECONDS = 10 * 365 * 24 * 3600


def install(api: Api, layout: Layout, *, server: str) -> list[str]:
    """Install everything; returns the names of the CRDs, for `await_established`."""
    api.apply(f"/api/v1/namespaces/{NAMESPACE}", _object("v1", "Namespace", NAMESPACE))
    crds = [_apply_crd(api, crd) for crd in objects("crds")]
    for role in objects("rbac"):
        _apply_role(api, role)
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{OPERATOR}"
    api.apply(account, _object("v1", "ServiceAccount", OPERATOR))
    token = api.create(
        f"{account}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_SECONDS},
        },
    )["status"]["token"]
    write_kubeconfig(
        layout.operator_kubeconfig,
        server=server,
        authority=layout.pki.authority,
        user=OPERATOR,
        token=token,
        namespace=NAMESPACE,
    )
    return crds


def await_established(api: Api, crds: list[str], *, deadline: float) -> None:
    """Wait until the API server serves each kind."""
    for name in crds:
        while True:
            status = api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")["status"]
            seen = {condition["type"]: condition for condition in status.get("conditions") or ()}
            if seen.get("Established", {}).get("status") == "True":
                break
            refused = [c["message"] for c in seen.values() if c["type"] != "Established" and c["status"] == "False"]
            if time.monotonic() > deadline:
                raise LocalError(f"the CRD {name} was not established in time: {'; '.join(refused) or 'no reason'}")
            time.sleep(0.02)


def _apply_crd(api: Api, crd: dict[str, Any]) -> str:
    name: str = crd["metadata"]["name"]
    api.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}", crd)
    return name


def _apply_role(api: Api, role: dict[str, Any]) -> None:
    """Apply a ClusterRole (or a Role in the operator's namespace) and bind it to the operator."""
    kind, name = role["kind"], role["metadata"]["name"]
    scope = "" if kind == "ClusterRole" else f"/namespaces/{NAMESPACE}"
    base = f"/apis/rbac.authorization.k8s.io/v1{scope}"
    plural = "clusterroles" if kind == "ClusterRole" else "roles"
    api.apply(f"{base}/{plural}/{name}", role)
    binding = _object("rbac.authorization.k8s.io/v1", f"{kind}Binding", name) | {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": NAMESPACE}],
    }
    api.apply(f"{base}/{plural.removesuffix('s')}bindings/{name}", binding)


def _object(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
