"""What a local control plane can be told, with the values that suit tests and the demo."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_DIRECTORY = ".local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How many machines, how they behave, and how the Kubernetes components are tuned."""

    nodes: int = 3
    zones: tuple[str, ...] = ()
    """Given, the nodes carry the label topology.kubernetes.io/zone in turn."""

    machines: bool = True
    """False starts no simulated machines: pods stay Pending, as a test of the API alone wants it."""

    boot_seconds: tuple[float, float] = (0.05, 0.3)
    patch_seconds: tuple[float, float] = (0.0, 2.0)
    """How long a machine takes to notice an image that is patched in place; as seen on kubelet 1.36."""
    slow_seconds: float = 3.0
    """How much later than others a container with `slow` in its image's tag gets ready."""

    seed: int = 0
    node_grace_seconds: float = 50.0
    """A machine that sends no heartbeat for this long is NotReady. Kubernetes' default: on a busy computer a shorter
    one takes machines for lost that only wait for a processor. A test that stops a machine makes it short."""

    kcm_qps: int = 2000
    """--kube-api-qps of controller-manager and scheduler; at Kubernetes' default of 20, 1,000 pods take minutes."""

    apiserver_flags: tuple[str, ...] = ()
    kcm_flags: tuple[str, ...] = ()
    """Added behind ours: a flag given twice counts as given last."""

    address: str = "127.0.0.1"
    """Where real kubelets reach the API server, which then listens there too."""

    kubelets: tuple[str, ...] = ()
    """Names of real nodes: they get certificates, and somebody else starts them."""

    install: bool = True
    """Install the CRDs and the operator's ServiceAccount and role."""
