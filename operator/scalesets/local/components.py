"""How each component of the control plane is started: its command line, and why it is not the default one.

All listen on 127.0.0.1 only, save the API server where real kubelets must reach it. etcd runs with `--unsafe-no-fsync`:
a power cut may lose its data, which `down` deletes anyway, and every write to a slow disk is saved.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from scalesets.local.certificates import KeyPair
from scalesets.local.kubeconfig import write_kubeconfig
from scalesets.local.layout import Layout
from scalesets.local.settings import Settings
from scalesets.local.state import Ports

SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"

_UNNEEDED_CONTROLLERS = (
    "node-ipam-controller",  # no pod network
    "node-route-controller",
    "service-lb-controller",  # no cloud
    "cloud-node-lifecycle-controller",
    "certificatesigningrequest-signing-controller",  # no kubelet asks for a certificate
    "ttl-controller",  # annotates nodes for kubelets' secret caches
)


def etcd(layout: Layout, ports: Ports) -> list[str]:
    """Start one etcd member that only holders of its own authority's certificates can talk to."""
    client, peer = f"https://127.0.0.1:{ports.etcd}", f"https://127.0.0.1:{ports.etcd_peer}"
    pki = layout.pki
    return [
        "--name=local",
        f"--data-dir={layout.data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        f"--cert-file={pki.etcd.certificate}",
        f"--key-file={pki.etcd.key}",
        "--client-cert-auth",
        f"--trusted-ca-file={pki.etcd_authority}",
        f"--peer-cert-file={pki.etcd.certificate}",
        f"--peer-key-file={pki.etcd.key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={pki.etcd_authority}",
        "--unsafe-no-fsync",
        f"--quota-backend-bytes={4 << 30}",
        "--heartbeat-interval=50",  # the only member waits one election timeout before it leads
        "--election-timeout=250",
        "--log-level=warn",
    ]


def apiserver(layout: Layout, ports: Ports, settings: Settings) -> list[str]:
    """Serve the API with RBAC and the default admission plugins."""
    pki = layout.pki
    return [
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.apiserver}",
        "--external-hostname=localhost",
        "--endpoint-reconciler-type=none",  # a loopback address can't stand in Endpoints
        f"--etcd-servers=https://127.0.0.1:{ports.etcd}",
        f"--etcd-cafile={pki.etcd_authority}",
        f"--etcd-certfile={pki.etcd_client.certificate}",
        f"--etcd-keyfile={pki.etcd_client.key}",
        f"--client-ca-file={pki.authority}",
        f"--tls-cert-file={pki.apiserver.certificate}",
        f"--tls-private-key-file={pki.apiserver.key}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki.service_accounts.certificate}",
        f"--service-account-signing-key-file={pki.service_accounts.key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--max-requests-inflight=2000",  # shared by priority levels: at 400 a ServiceAccount's part is soon full
        "--max-mutating-requests-inflight=1000",
        "--profiling=false",
        *(_for_kubelets(layout, settings) if settings.kubelets else ()),
        *settings.apiserver_flags,
    ]


def _for_kubelets(layout: Layout, settings: Settings) -> list[str]:
    """Let kubelets reach the API server and it them, and let it stand before a metrics API that runs as a process."""
    pki = layout.pki
    return [
        "--bind-address=0.0.0.0",
        f"--advertise-address={settings.address}",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={pki.kubelet_client.certificate}",
        f"--kubelet-client-key={pki.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki.front_proxy_authority}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.front_proxy.certificate}",
        f"--proxy-client-key-file={pki.front_proxy.key}",
        "--enable-aggregator-routing=true",  # to the endpoints themselves: nobody serves cluster addresses here
    ]


def controller_manager(layout: Layout, ports: Ports, settings: Settings) -> list[str]:
    """Run all controllers that mean something here, each under its own ServiceAccount."""
    pki = layout.pki
    return [
        f"--kubeconfig={_component_kubeconfig(layout, ports, 'controller-manager', pki.controller_manager)}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.controller_manager}",
        f"--tls-cert-file={pki.serving.certificate}",
        f"--tls-private-key-file={pki.serving.key}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki.authority}",
        f"--service-account-private-key-file={pki.service_accounts.key}",
        f"--controllers={','.join(['*', *(f'-{name}' for name in _UNNEEDED_CONTROLLERS)])}",
        f"--node-monitor-grace-period={settings.node_grace_seconds}s",
        "--node-monitor-period=1s",
        f"--kube-api-qps={settings.kcm_qps}",
        f"--kube-api-burst={2 * settings.kcm_qps}",
        "--profiling=false",
        *settings.kcm_flags,
    ]


def scheduler(layout: Layout, ports: Ports, settings: Settings) -> list[str]:
    """Run the default scheduler; its query rate can only be said in a configuration file."""
    pki = layout.pki
    configuration = layout.configuration / "scheduler.yaml"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubescheduler.config.k8s.io/v1",
                "kind": "KubeSchedulerConfiguration",
                "leaderElection": {"leaderElect": False},
                "enableProfiling": False,
                "clientConnection": {
                    "kubeconfig": str(_component_kubeconfig(layout, ports, "scheduler", pki.scheduler)),
                    "qps": settings.kcm_qps,
                    "burst": 2 * settings.kcm_qps,
                },
            }
        )
    )
    return [
        f"--config={configuration}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.scheduler}",
        f"--tls-cert-file={pki.serving.certificate}",
        f"--tls-private-key-file={pki.serving.key}",
        "--authentication-skip-lookup=true",
    ]


def environment() -> dict[str, str]:
    """Return what components inherit: no proxy must stand between them and 127.0.0.1."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "NO_PROXY": "*"}


def _component_kubeconfig(layout: Layout, ports: Ports, name: str, client: KeyPair) -> Path:
    path = layout.configuration / f"{name}.kubeconfig"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_kubeconfig(
        path,
        server=f"https://127.0.0.1:{ports.apiserver}",
        authority=layout.pki.authority,
        user=name,
        client=client,
    )
    return path
