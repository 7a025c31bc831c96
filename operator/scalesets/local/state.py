"""What runs in a control plane's directory, written before and after every start, so that `down` ends exactly that."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from scalesets.local.errors import LocalError
from scalesets.local.processes import ProcessIdentity


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of one control plane."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True, slots=True)
class State:
    """The processes that were started, by name, and where they listen."""

    ports: Ports
    kubernetes: str
    nodes: int
    processes: dict[str, ProcessIdentity] = field(default_factory=dict)

    def having(self, name: str, process: ProcessIdentity) -> State:
        """Return this state with one process added or replaced."""
        return replace(self, processes={**self.processes, name: process})

    def without(self, name: str) -> State:
        """Return this state with one process taken out."""
        return replace(self, processes={other: who for other, who in self.processes.items() if other != name})


def read_state(path: Path) -> State | None:
    """Read what was started there; None when nothing was."""
    try:
        content = json.loads(path.read_text())
        return State(
            ports=Ports(**content["ports"]),
            kubernetes=content["kubernetes"],
            nodes=content["nodes"],
            processes={name: ProcessIdentity(**who) for name, who in content["processes"].items()},
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LocalError(
            f"{path} can't be read ({error!r}): another version wrote it, or it was edited. "
            "End the processes that it names by hand, then delete it."
        ) from error


def write_state(path: Path, state: State) -> None:
    """Replace the file in one step: a reader sees the former state or this one."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w") as file:
        json.dump(asdict(state), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
