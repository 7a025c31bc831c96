"""Wrong values are refused by the schema, by name; and the table of values is that of values.yaml."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from charts import CHART, ROOT, Helm, Refused


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicaCount": 3}, "at '': additional properties 'replicaCount' not allowed"),
        ({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed"),
        ({"preflight": {"readsecrets": "off"}}, "at '/preflight': additional properties 'readsecrets' not allowed"),
        ({"preflight": {"readSecrets": "all"}}, "at '/preflight/readSecrets': value must be one of 'namespaces'"),
        ({"preflight": {"readSecrets": False}}, "at '/preflight/readSecrets'"),
        ({"replicas": "2"}, "at '/replicas': got string, want integer"),
        ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
        ({"timing": "soon"}, "at '/timing': value must be one of 'immediate', 'azure'"),
        ({"watchPatience": "5m"}, "at '/watchPatience': '5m' does not match pattern"),
        ({"watchPatience": ""}, "at '/watchPatience'"),
        ({"firstTriggerDelay": "P"}, "at '/firstTriggerDelay'"),
        ({"firstTriggerDelay": "PT"}, "at '/firstTriggerDelay'"),
        ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["a", "a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
        ({"watchNamespaces": ["Team_A"]}, "at '/watchNamespaces/0'"),
        ({"image": {"digest": "sha256:abc"}}, "at '/image/digest'"),
        ({"image": {"repository": ""}}, "at '/image/repository'"),
        ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
        ({"imagePullSecrets": ["s"]}, "at '/imagePullSecrets/0': got string, want object"),
        ({"metrics": {"port": 8080}}, "at '/metrics/port'"),
        ({"networkPolicy": {"apiServerPorts": []}}, "at '/networkPolicy/apiServerPorts'"),
        ({"resources": {"limit": {}}}, "at '/resources': additional properties 'limit' not allowed"),
        ({"serviceAccount": {"annotations": {"a": 1}}}, "at '/serviceAccount/annotations/a'"),
        ({"logFormat": "yaml"}, "at '/logFormat'"),
        ({"tracing": {"endpoint": "collector:4318"}}, "at '/tracing/endpoint'"),
        ({"tracing": {"lookRatio": 2}}, "at '/tracing/lookRatio': maximum: got 2, want 1"),
        ({"tracing": {"headers": "x"}}, "at '/tracing': additional properties 'headers' not allowed"),
        ({"env": [{"value": "x"}]}, "at '/env/0': missing property 'name'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, values: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        helm.render(**values)
    assert words in str(refused.value)


@pytest.mark.parametrize("duration", ["PT5M", "P3D", "PT1H30M", "P1DT2H", "PT0.5S", ""])
def test_durations_are_those_that_the_operator_reads(helm: Helm, duration: str) -> None:
    assert helm.render(triggerDelayMax=duration).one("Deployment")


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(keys_of_schema(schema)) - {"global"} == set(keys_of(values))


def test_unknown_keys_are_refused_at_every_level() -> None:
    def objects(schema: dict[str, Any], path: str = "") -> list[str]:
        found = []
        if "properties" in schema and schema.get("additionalProperties") is not False:
            found.append(path or "/")
        for name, inner in schema.get("properties", {}).items():
            found += objects(inner, f"{path}/{name}")
        return found

    assert objects(json.loads((CHART / "values.schema.json").read_text())) == []


def test_the_table_of_values_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/values.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def keys_of(values: dict[str, Any], path: str = "") -> list[str]:
    """The paths of all values; what is empty or a list is one value."""
    found = []
    for name, value in values.items():
        here = f"{path}.{name}".removeprefix(".")
        free = here in ("resources", "metrics.dashboard.labels")
        found += keys_of(value, here) if isinstance(value, dict) and value and not free else [here]
    return found


def keys_of_schema(schema: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name, inner in schema["properties"].items():
        here = f"{path}.{name}".removeprefix(".")
        free = here in ("resources", "affinity")
        found += keys_of_schema(inner, here) if "properties" in inner and not free else [here]
    return found
