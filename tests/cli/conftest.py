"""A namespace of its own for each test on the real API server, and the program to run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.scenes import MODEL, Obj, a_set
from scalesets.cli.commands import app
from scalesets.local.controlplane import ControlPlane

PROGRAM = Path(sys.executable).parent / "scalesets"


@pytest.fixture
def scalesets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run the program in this process, away from the kubeconfig of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="scalesets")

    return run


@dataclass
class Site:
    """A namespace on the API server, without an operator: the test plays it by writing statuses."""

    plane: ControlPlane
    run: Callable[..., Result]
    namespace: str = field(default_factory=lambda: f"cli-{uuid.uuid4().hex[:8]}")
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def flags(self) -> list[str]:
        return ["-n", self.namespace, "--kubeconfig", str(self.plane.kubeconfig)]

    def scalesets(self, *arguments: str) -> Result:
        return self.run(*arguments, *self.flags)

    def json(self, *arguments: str) -> Any:
        result = self.scalesets(*arguments, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """The program as a process of its own, for what goes on while it waits."""
        process = subprocess.Popen(
            [str(PROGRAM), *arguments, *self.flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "KUBECONFIG"} | {"PYTHONUNBUFFERED": "1"},
        )
        self.processes.append(process)
        return process

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.plane.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def create(self, obj: Obj) -> Obj:
        """Create an object; its status is written as an operator would write it."""
        body = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k in ("name", "labels", "annotations")}}
        made: Obj = json.loads(self.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body)))
        if obj.get("status"):
            made = self.write_status(made["kind"], made["metadata"]["name"], obj["status"])
        return made

    def write_status(self, kind: str, name: str, status: Obj) -> Obj:
        patch = json.dumps({"status": status})
        made: Obj = json.loads(
            self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch, "-o", "json")
        )
        return made

    def upgrades(self) -> list[Obj]:
        found: list[Obj] = json.loads(self.kubectl("get", "rollingupgrades", "-o", "json"))["items"]
        return found

    def a_web(self, replicas: int = 3, **status: Any) -> Obj:
        """The set `web`, as an operator left it."""
        scene = a_set(replicas=replicas)
        spec = scene.spec | {"upgradePolicy": {"mode": "Rolling"}}
        observed = {"observedGeneration": 1, "location": "westeurope", "currentModel": MODEL}
        return self.create(scene.scale_set | {"spec": spec, "status": {**observed, **status}})


@pytest.fixture
def site(control_plane: ControlPlane, scalesets: Callable[..., Result]) -> Iterator[Site]:
    made = Site(control_plane, scalesets)
    control_plane.kubectl("create", "namespace", made.namespace)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
    control_plane.kubectl("delete", "namespace", made.namespace, "--wait=false")
