"""Every program that is fetched or built here: its project, the project's version, and the Go package it is built from.

The control plane needs `PROGRAMS`; what else there is, is fetched by those who ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from scalesets.local.versions import ETCD, HELM, KIND, KUBERNETES, METRICS_SERVER, REGISTRY

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
"""The control plane's."""

_OTHERS = {
    "etcd": ("etcd", ETCD, "go.etcd.io/etcd/server/v3"),
    "helm": ("helm", HELM, "helm.sh/helm/v4/cmd/helm"),
    "kind": ("kind", KIND, "sigs.k8s.io/kind"),
    "metrics-server": ("metrics-server", METRICS_SERVER, "sigs.k8s.io/metrics-server/cmd/metrics-server"),
    "registry": ("registry", REGISTRY, "github.com/distribution/distribution/v3/cmd/registry"),
}


@dataclass(frozen=True, slots=True)
class Program:
    """One program, by the name of its file."""

    name: str
    project: str
    version: str
    package: str


def program(name: str) -> Program:
    """Describe a program; one that isn't another project's is Kubernetes'."""
    return Program(name, *_OTHERS.get(name, ("kubernetes", KUBERNETES, f"k8s.io/kubernetes/cmd/{name}")))
