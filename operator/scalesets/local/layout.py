"""Where one control plane keeps what: everything lies in its own directory (docs/local.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scalesets.local.certificates import Pki


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one control plane."""

    directory: Path

    @property
    def kubeconfig(self) -> Path:
        """For an administrator."""
        return self.directory / "kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        """For the operator: its ServiceAccount's token, with the role that the chart carries."""
        return self.directory / "operator.kubeconfig"

    @property
    def state(self) -> Path:
        """What runs: pids with start times, and ports."""
        return self.directory / "state.json"

    @property
    def lock(self) -> Path:
        """Held while `up` or `down` is at work; it also marks the directory as a control plane's."""
        return self.directory / "scalesets-local.lock"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.directory / "logs"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    @property
    def data(self) -> Path:
        """What etcd stores; gone after `down`."""
        return self.directory / "etcd"

    @property
    def configuration(self) -> Path:
        """Configuration files and kubeconfigs of the components."""
        return self.directory / "conf"

    @property
    def pki(self) -> Pki:
        """Keys and certificates."""
        return Pki.at(self.directory / "pki")
