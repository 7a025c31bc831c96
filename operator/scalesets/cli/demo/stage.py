"""Where the demo plays: a control plane of its own, with the operator running beside it as its own ServiceAccount.

Unless it is to be kept, everything dies with this process and leaves nothing; kept, it stays in a directory, and
``scalesets local down`` ends it, the operator included.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import scalesets
from scalesets.cli.errors import CommandError
from scalesets.local.controlplane import ControlPlane, stop_in
from scalesets.local.layout import Layout
from scalesets.local.processes import end, identify
from scalesets.local.state import read_state

OPERATOR = "operator"
_GRACE = 10.0
BOOT_SECONDS = (0.4, 1.4)
"""How long simulated machines take here: long enough to be watched."""


class Stage:
    """A running control plane with the operator; what the story does to it."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.kubeconfig = plane.kubeconfig

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl as the administrator."""
        return await asyncio.to_thread(self._plane.kubectl, *arguments)

    async def patch(self, kind: str, name: str, namespace: str, patch: list[dict[str, Any]]) -> None:
        """Change an object by a JSON patch."""
        await self.kubectl(
            "patch", kind, name, f"--namespace={namespace}", "--type=json", f"--patch={json.dumps(patch)}"
        )

    def operator_log(self, *, lines: int = 12) -> str:
        """The last lines that the operator logged."""
        return self._plane.log_tail(OPERATOR, lines=lines)


@asynccontextmanager
async def a_stage(directory: Path | None, binaries: Mapping[str, Path]) -> AsyncIterator[Stage]:
    """Start it: in a directory, to stay there when the story has been told; or (None) in a temporary one, to go."""
    if directory is not None:
        await asyncio.to_thread(_clear, directory)
    plane = ControlPlane(directory, bound=directory is None, binaries=binaries, boot_seconds=BOOT_SECONDS)
    async with AsyncExitStack() as ending:
        await ending.enter_async_context(plane)
        program = [sys.executable, "-c", "from scalesets.cli.app import main; main()"]
        plane.launch(OPERATOR, [*program, "operator", f"--kubeconfig={plane.operator_kubeconfig}"])
        ending.push_async_callback(asyncio.to_thread, _end_operator, plane)
        yield Stage(plane)
        if directory is not None:
            ending.pop_all()


def _clear(directory: Path) -> None:
    """End what an earlier demo left running there; what somebody else started is not touched (`start` refuses)."""
    state = read_state(Layout(directory.resolve()).state)
    if state is not None and OPERATOR in state.processes:
        stop_in(directory)


def _end_operator(plane: ControlPlane) -> None:
    """Let it end in its own way, while the API server still answers."""
    who = identify(plane.pid(OPERATOR))
    end([who] if who is not None else [], grace=_GRACE)


def examples() -> Path:
    """The folder of the examples: of the source tree, or as the wheel ships it."""
    package = Path(scalesets.__file__).parent
    for folder in (package.parents[1] / "examples", package / "examples"):
        if (folder / "web.yaml").is_file():
            return folder
    raise CommandError("the examples are not installed", mend="run the demo from the source tree: make demo")
