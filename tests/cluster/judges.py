"""What GitOps tools say of an object: Flux by the published kstatus rules, Argo CD by our health script.

kstatus is the published Go library, in a program of a few lines (tests/kstatus); the script is the one that
`examples/gitops/argocd/health.yaml` gives to Argo CD, run by a Lua interpreter.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lupa.lua51
import yaml

from goprograms import build_go

Body = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "kstatus"
HEALTH = ROOT / "examples" / "gitops" / "argocd" / "health.yaml"


@dataclass(frozen=True, slots=True)
class Kstatus:
    """The published rules: Current, InProgress, Failed, Terminating."""

    program: Path

    @classmethod
    def build(cls, directory: Path) -> Kstatus:
        """Build the program."""
        return cls(build_go(SOURCE, directory))

    def of(self, *objects: Body) -> list[str]:
        """The status of each object."""
        lines = "".join(json.dumps(each) + "\n" for each in objects)
        said = subprocess.run([str(self.program)], input=lines, capture_output=True, text=True, check=True)
        return [json.loads(line)["status"] for line in said.stdout.splitlines()]


@dataclass(frozen=True, slots=True)
class ArgoHealth:
    """Argo CD's words: Healthy, Progressing, Degraded, Suspended."""

    scripts: dict[str, str]

    @classmethod
    def read(cls) -> ArgoHealth:
        """The scripts as the ConfigMap gives them, by kind."""
        data = yaml.safe_load(HEALTH.read_text(encoding="utf-8"))["data"]
        return cls({key.rpartition("_")[2]: script for key, script in data.items()})

    def of(self, obj: Body) -> str:
        """The health of an object; Argo CD runs Lua 5.1 with the object as `obj`."""
        lua = lupa.lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False)
        lua.globals().obj = lua.table_from(obj, recursive=True)
        said = lua.execute(self.scripts[obj["kind"]])
        assert isinstance(said.message, str)
        return str(said.status)
