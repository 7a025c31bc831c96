"""The canonical form of a model: what two specs are compared by, so that only a real difference makes a new model.

What a newer CRD or API server may fill in by itself is dropped (fields that equal their default, empty lists and maps
where these mean nothing); otherwise an upgrade of either would roll a fleet at the next edit (docs/rules.md, "The
model"). Where an empty value has a meaning (``emptyDir: {}``, selectors, an extension's settings) it stays: what isn't
named here is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EMPTY_MEANS_NOTHING = frozenset(
    {
        "affinity",
        "annotations",
        "args",
        "command",
        "dnsConfig",
        "env",
        "envFrom",
        "hostAliases",
        "imagePullSecrets",
        "initContainers",
        "labels",
        "lifecycle",
        "limits",
        "metadata",
        "nodeSelector",
        "overhead",
        "ports",
        "readinessGates",
        "requests",
        "resourceClaims",
        "resources",
        "schedulingGates",
        "securityContext",
        "tolerations",
        "topologySpreadConstraints",
        "volumeDevices",
        "volumeMounts",
        "volumes",
    }
)

_PROBE = {"periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "spec": {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "enableServiceLinks": True,
    },
    "containers": _CONTAINER,
    "initContainers": _CONTAINER,
    "ports": {"protocol": "TCP"},
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "startupProbe": _PROBE,
    "httpGet": {"scheme": "HTTP", "path": "/"},
    "fieldRef": {"apiVersion": "v1"},
    "secret": {"defaultMode": 420},
    "configMap": {"defaultMode": 420},
    "downwardAPI": {"defaultMode": 420},
    "projected": {"defaultMode": 420},
}
"""What the API server fills into a pod, by the key under which it stands."""


def of_template(template: Mapping[str, Any]) -> Any:
    """The pod template without what means nothing."""
    return _pruned(template, "template")


def _pruned(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        defaults = DEFAULTS.get(key, {})
        kept = {}
        for name, inner in value.items():
            small = _pruned(inner, name)
            if small is None or (small in ({}, []) and name in EMPTY_MEANS_NOTHING):
                continue
            if name in defaults and small == defaults[name]:
                continue
            kept[name] = small
        return kept
    if isinstance(value, list):
        return [_pruned(inner, key) for inner in value]
    return value
