"""Rendering the chart, and finding objects in what comes out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "scaleset-operator"
RELEASE = "scaleset-operator"
NAMESPACE = "scaleset-system"

Body = dict[str, Any]


class Refused(Exception):  # noqa: N818
    """helm's words."""


class Rendered:
    """The objects of a release."""

    def __init__(self, objects: list[Body]) -> None:
        self.objects = objects

    def all(self, kind: str) -> list[Body]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str = RELEASE, namespace: str | None = None) -> Body:
        found = [
            each
            for each in self.all(kind)
            if each["metadata"]["name"] == name and namespace in (None, each["metadata"].get("namespace"))
        ]
        assert len(found) == 1, f"{len(found)} {kind} {name}"
        return found[0]

    def names(self, kind: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.all(kind)}

    def pods(self) -> dict[str, Body]:
        """The pod specs of all that runs, by kind."""
        found = {"Deployment": self.one("Deployment")["spec"]["template"]["spec"]}
        for each in self.all("Job"):
            found["Job"] = each["spec"]["template"]["spec"]
        for each in self.all("Pod"):
            found["Pod"] = each["spec"]
        return found

    def arguments(self) -> list[str]:
        """The operator's arguments."""
        return self.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]

    def rules(self, kind: str, name: str, namespace: str | None = None) -> set[tuple[str, str, str]]:
        """The rights that a role gives, as (group, resource, verb)."""
        return {
            (group, resource, verb)
            for rule in self.one(kind, name, namespace)["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }


class Helm:
    """helm, as the tests call it."""

    def __init__(self, program: Path, kubeconfig: Path | None = None, *, home: Path) -> None:
        self._program = program
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig or home / "no-kubeconfig"),
        }

    def __call__(self, *arguments: str, timeout: float = 120) -> str:
        done = subprocess.run(
            [str(self._program), *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr.strip())
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin, and don't wait."""
        return subprocess.Popen(
            [str(self._program), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )

    def installed(self) -> Rendered:
        """What helm says that it installed, its hooks too."""
        parts = [self("get", what, RELEASE, f"--namespace={NAMESPACE}") for what in ("manifest", "hooks")]
        return Rendered([each for part in parts for each in yaml.safe_load_all(part) if each])

    def render(self, *options: str, crds: bool = False, **values: Any) -> Rendered:
        """Render with these values, which are JSON: `watchNamespaces=["a"]`, `rbac={"create": False}`."""
        values = {"crds": {"install": crds}, **values}
        flags = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
        text = self("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", *options, *flags)
        return Rendered([each for each in yaml.safe_load_all(text) if each])
