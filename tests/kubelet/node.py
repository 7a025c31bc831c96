"""Nodes with real kubelets: each in namespaces of its own, beside a control plane that they reach over a bridge.

All of it happens inside the namespaces that tools/kubelets.py made, so that nothing of the machine's own network,
mounts or cgroups is touched, and nothing outlives the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samples import PAUSE
from scalesets.local.controlplane import ControlPlane
from scalesets.local.kubeconfig import write_kubeconfig
from scalesets.local.processes import spawn

NAMESPACES = Path(__file__).parents[2] / "tools" / "namespaces.sh"
NODE = Path(__file__).with_name("node.sh")
CNI_PLUGINS = "/usr/lib/cni" if Path("/usr/lib/cni/bridge").exists() else "/opt/cni/bin"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

HOST = "10.200.0.1"
"""The address of the bridge, where the control plane is."""


def make_network() -> None:
    """Make the bridge that all nodes hang on."""
    _ip("link", "add", "nodes", "type", "bridge")
    _ip("address", "add", f"{HOST}/24", "dev", "nodes")
    _ip("link", "set", "nodes", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a kubelet tells of itself; short, as the control plane takes a silent node for lost within seconds."""

    heartbeat: str = "2s"
    lease_seconds: int = 8


class Node:
    """One machine: its network outlives it, as its disk does, so that it can be switched off and on."""

    def __init__(self, name: str, number: int, *, zone: str, directory: Path, programs: Path, samples: Path) -> None:
        self.name = name
        self.address = f"10.200.0.{10 + number}"
        self.directory = directory / name
        self._number = number
        self._zone = zone
        self._programs = programs
        self._samples = samples
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, control_plane: ControlPlane) -> None:
        """Write its configuration and lay its network."""
        self.directory.mkdir(parents=True)
        pods = f"10.244.{self._number}"
        write_kubeconfig(
            self.directory / "kubeconfig",
            server=f"https://{HOST}:{control_plane.ports.apiserver}",
            authority=control_plane.layout.pki.authority,
            user=f"system:node:{self.name}",
            client=control_plane.layout.pki.node(self.name),
        )
        self._write("kubelet.json", self._kubelet(control_plane.layout.pki.authority))
        self._write("cni/pods.conflist", _pod_network(pods))
        (self.directory / "containerd.toml").write_text(
            _CONTAINERD.format(root=self.directory, pause=PAUSE, cni=CNI_PLUGINS)
        )
        _ip("netns", "add", self.name)
        _ip("link", "add", f"to-{self.name}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", f"to-{self.name}", "master", "nodes", "up")
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")
        _ip("-n", self.name, "route", "add", "default", "via", HOST)
        _ip("route", "add", f"{pods}.0/24", "via", self.address)

    def start(self) -> None:
        """Switch it on, or let its kubelet start again; does nothing when all of it runs."""
        (self.directory / "stopped").unlink(missing_ok=True)
        if self._process is not None and self._process.poll() is None:
            return
        subprocess.run([str(NAMESPACES), "--remove", self.name], check=True)  # its cgroups, when it was on before
        labels = {"topology.kubernetes.io/zone": self._zone}
        environment = {
            **os.environ,
            "PATH": f"{self._programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "NETNS": f"/run/netns/{self.name}",
            "ADDRESS": self.address,
            "SAMPLES": str(self._samples),
            "LABELS": ",".join(f"{name}={value}" for name, value in labels.items()),
            "CONTAINERD_ADDRESS": "/run/containerd/containerd.sock",
        }
        command = [str(NAMESPACES), self.name, str(NODE), str(self.directory)]
        self._process = spawn(command, log=self.directory / "node.log", bound=True, environment=environment)

    def lose(self, what: str) -> None:
        """Lose its power: kubelet and containers are gone at once. Or its kubelet only: containers run on."""
        if what == "power":
            self._power_off()
            return
        (self.directory / "stopped").touch()
        for pid in self._descendants("kubelet"):
            os.kill(pid, signal.SIGKILL)

    def restore(self, control_plane: ControlPlane) -> None:
        """Make it usable again, whatever a test did to it."""
        self.start()
        control_plane.kubectl("uncordon", self.name)
        control_plane.kubectl("taint", "node", self.name, f"{OUT_OF_SERVICE}-", check=False)

    def remove(self) -> None:
        """Switch it off and forget its disk."""
        self._power_off()
        shutil.rmtree(self.directory, ignore_errors=True)

    def logs(self, *, lines: int = 20) -> list[tuple[str, str]]:
        """The last lines of its logs, each under a title."""
        names = ("node.log", "containerd.log", "kubelet.log")
        paths = [path for path in (self.directory / name for name in names) if path.exists()]
        return [
            (f"{self.name}: {p.name}", "\n".join(p.read_text(errors="replace").splitlines()[-lines:])) for p in paths
        ]

    def _power_off(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _descendants(self, command: str) -> list[int]:
        assert self._process is not None
        found, waiting = [], [self._process.pid]
        while waiting:
            pid = waiting.pop()
            tasks = Path(f"/proc/{pid}")
            waiting += [int(c) for t in tasks.glob("task/*/children") for c in t.read_text().split()]
            found += [pid] if (tasks / "comm").read_text().strip() == command else []
        return found

    def _write(self, name: str, content: Any) -> None:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2))

    def _kubelet(self, authority: Path) -> dict[str, Any]:
        timing = Timing()
        nothing = dict.fromkeys(
            ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"
        )
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,  # machines with the older cgroups will do
            "failSwapOn": False,
            "oomScoreAdj": 0,  # a lower one needs a capability that a container's root may lack
            "makeIPTablesUtilChains": False,
            "localStorageCapacityIsolation": False,
            "evictionHard": nothing,  # a full disk of the machine is not what is tested
            "imageGCHighThresholdPercent": 100,
            "resolvConf": "",
            "podLogsDir": str(self.directory / "pod-logs"),
            "volumePluginDir": str(self.directory / "plugins"),
            "nodeStatusUpdateFrequency": timing.heartbeat,
            "nodeLeaseDurationSeconds": timing.lease_seconds,
        }


def _pod_network(prefix: str) -> dict[str, Any]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": f"{prefix}.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-ipam",
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


_CONTAINERD = """\
version = 2
root = "{root}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{root}/cni"
"""
