"""The reference pages that are made, not written: one for each kind from its CRD, for the commands, for the metrics.

What users look up is then what the API server and the program really take. `--write` makes docs/reference/, `--check`
(part of `make lint`) fails where a page differs from what would be made.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer.main
import yaml

from scalesets.cli.commands import app
from scalesets.kube.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
PAGES = "docs/reference"
NOTE = "<!-- made by `make reference` from {source}; edit that instead -->\n"
MANY = 8  # so many allowed values are named


def main() -> int:
    """Write or check the pages; the exit status says whether they were right."""
    parser = argparse.ArgumentParser(description="The reference pages of kinds and commands.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the pages")
    action.add_argument("--check", action="store_true", help="fail when a page is not what would be written")
    arguments = parser.parse_args()
    wrong = 0
    for path, text in pages():
        if arguments.write:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path.relative_to(ROOT)} is not what its source says: run `make reference`", file=sys.stderr)
            wrong = 1
    return wrong


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with its text."""
    for source in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(source.read_text(encoding="utf-8"))
        kind = crd["spec"]["names"]["kind"]
        yield ROOT / PAGES / f"{kind.lower()}.md", kind_page(crd, source.name)
    yield ROOT / PAGES / "commands.md", commands_page()
    yield ROOT / PAGES / "metrics.md", metrics_page()


# ------------------------------------------------------------------------------------------------------------- kinds


def kind_page(crd: Mapping[str, Any], source: str) -> str:
    """The page of one kind: how it is named, its spec, what is refused, its status."""
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    short = ", ".join(f"`{name}`" for name in names.get("shortNames", ())) or "none"
    parts = [
        NOTE.format(source=f"crds/{source}"),
        f"# {names['kind']}\n",
        f"{schema.get('description', '')}\n",
        f"`apiVersion: {crd['spec']['group']}/{version['name']}`, {crd['spec']['scope'].lower()}; "
        f"`kubectl get {names['plural']}.{crd['spec']['group']}`, short name {short}.\n",
        "## spec\n",
        _table(spec),
    ]
    if refusals := sorted({*_refusals(schema)}):
        parts += ["## What the API server refuses\n", "".join(f"- {_escaped(refusal)}\n" for refusal in refusals)]
    return "\n".join([*parts, "## status\n", "Written by the operator.\n", _table(status)])


def _table(schema: Mapping[str, Any]) -> str:
    rows = "".join(
        f"| `{name}` | {kind} | {default} | {text} |\n" for name, kind, default, text in _rows(schema, prefix="")
    )
    return f"| field | type | default | |\n|---|---|---|---|\n{rows}"


def _rows(schema: Mapping[str, Any], *, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        item, path = field, prefix + name
        if field.get("type") == "array":
            item, path = field["items"], path + "[]"
        default = "required" if name in required else _default(field)
        yield path, _type(field), default, _escaped(field.get("description", ""))
        if _is_ours(item):
            yield from _rows(item, prefix=path + ".")


def _is_ours(schema: Mapping[str, Any]) -> bool:
    """Whether its fields are told here: those of pods, probes and volumes are Kubernetes' own, and have no words."""
    return any("description" in field for field in schema.get("properties", {}).values())


def _type(schema: Mapping[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "enum" in schema:
        values = [f"`{value}`" for value in schema["enum"]]
        return " \\| ".join(values) if len(values) <= MANY else f"one of {len(values)} words"
    kind = str(schema.get("type", "object"))
    if kind == "array":
        most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        return f"list of {_type(schema['items'])}{most}"
    if kind == "integer" and {"minimum", "maximum"} <= schema.keys():
        return f"integer, {schema['minimum']} to {schema['maximum']}"
    if kind == "object" and "additionalProperties" in schema:
        return "map"
    return str(schema.get("format", kind)) if kind == "string" else kind


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    if default is None or default == {}:
        return ""
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"


def _refusals(schema: Mapping[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for field in schema.get("properties", {}).values():
        yield from _refusals(field)
    for below in ("items", "additionalProperties"):
        if isinstance(schema.get(below), Mapping):
            yield from _refusals(schema[below])


# ---------------------------------------------------------------------------------------------------------- commands


def commands_page() -> str:
    """The page of the commands, in the order of `--help`."""
    parts = [
        NOTE.format(source="operator/scalesets/cli"),
        "# Commands\n",
        "`scalesets` and `kubectl scaleset` are the same program.\n",
    ]
    for name, command in _commands(typer.main.get_command(app), "scalesets"):
        parts += [f"## {name}\n", f"{_prose(command.help or '')}\n", _parameters(command)]
    return "\n".join(parts)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for each in below.values():
        if not each.hidden:
            yield from _commands(each, f"{name} {each.name}")


def _parameters(command: Any) -> str:
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        option = parameter.param_type_name == "option"
        argument = [] if option else [parameter.metavar or parameter.name.upper()]
        named = [*parameter.opts, *parameter.secondary_opts] if option else argument
        words = " ".join((getattr(parameter, "help", None) or "").split())
        if choices := _choices(parameter.type_descriptor.annotation):
            words += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
        default = parameter.default if option else None
        default = getattr(default, "value", default)
        if isinstance(default, str | int) and not isinstance(default, bool) and default != "":
            words += f" Default: `{default}`."
        rows.append(f"| {', '.join(f'`{each}`' for each in named)} | {_escaped(words)} |\n")
    return "| | |\n|---|---|\n" + "".join(rows) if rows else ""


def _choices(annotation: Any) -> list[str]:
    """The words that a parameter takes, where they are few."""
    kinds = (annotation, *get_args(annotation))
    enums: list[type[Enum]] = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    return [str(each.value) for kind in enums for each in kind]


# ----------------------------------------------------------------------------------------------------------- metrics


def metrics_page() -> str:
    """The page of the metrics: those of the operator, and in a line those of the process that every program has."""
    metrics = Metrics()
    metrics.lead()
    metrics.gather(lambda: ())
    rows = []
    for family in metrics.described():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.type} | {labels} | {_escaped(family.words)} |\n")
    return "\n".join(
        [
            NOTE.format(source="operator/scalesets/kube/metrics.py"),
            "# Metrics\n",
            "`scalesets operator --metrics 8080` serves them at `/metrics`, and the chart has a ServiceMonitor.",
            "Upgrades, batches and fleets are counted by the operator that leads; the others show the metrics of their",
            "process only. `process_` and `python_` are as in every Python program.\n",
            "Counters begin with 0 when another operator begins to lead, as `increase()` and `rate()` expect. What is",
            "deleted has no series any more.\n",
            f"| name | type | labels | |\n|---|---|---|---|\n{''.join(rows)}",
        ]
    )


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.replace("\b", "").strip()))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main())
