"""What the documents show can be typed: their YAML is of the API, their commands are those of the programs."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import typer.main
import yaml

from scalesets.cli.commands import app
from scalesets.kube.metrics import Metrics

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "charts/*/README.md", "examples/**/README.md", "bench/README.md")
    for path in ROOT.glob(pattern)
]
WRITTEN = [path for path in DOCUMENTS if "reference" not in path.parts]
"""By hand: the others are made from what they tell."""


def named(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path, language: str) -> list[str]:
    fences = re.findall(rf"^( *)```{language}\n(.*?)^\1```", document.read_text(), re.MULTILINE | re.DOTALL)
    return ["".join(line.removeprefix(indent) for line in text.splitlines(True)) for indent, text in fences]


# ------------------------------------------------------------------------------------------------------------ YAML

LEFT_OUT = "..."


@cache
def crds() -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [yaml.load(path.read_text(), loader)["spec"] for path in (ROOT / "crds").glob("*.yaml")]


def kinds() -> dict[str, dict[str, Any]]:
    return {crd["names"]["kind"]: crd["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds()}


def places(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and all below it: where a fragment may come from."""
    yield schema
    for child in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from places(child)


def wrong(value: Any, schema: dict[str, Any], path: str, *, whole: bool) -> Iterator[str]:
    """What the API server would refuse of the value by its schema; ``whole``: required fields have to be there."""
    if value in (LEFT_OUT, [LEFT_OUT]) or (isinstance(value, dict) and LEFT_OUT in value):
        return
    if isinstance(value, dict):
        yield from wrong_fields(value, schema, path, whole=whole)
    elif isinstance(value, list):
        if "items" not in schema:
            yield f"{path} is no list"
        elif len(value) > schema.get("maxItems", len(value)):
            yield f"{path} is too long"
        for number, item in enumerate(value if "items" in schema else ()):
            yield from wrong(item, schema["items"], f"{path}[{number}]", whole=whole)
    elif schema.get("x-kubernetes-int-or-string"):
        return
    elif not isinstance(value, TYPES[schema.get("type", "")]) or (
        isinstance(value, bool) and schema["type"] != "boolean"
    ):
        yield f"{path}: {value!r} is no {schema.get('type')}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} doesn't match {schema['pattern']}"
    elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: {value!r} is out of bounds"


TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "": object,
}


def wrong_fields(value: dict[str, Any], schema: dict[str, Any], path: str, *, whole: bool) -> Iterator[str]:
    known = schema.get("properties", {})
    if whole:
        yield from (f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value)
    if schema.get("type", "object") != "object":
        yield f"{path} is a {schema['type']}"
        return
    for name, child in value.items():
        if name in known:
            yield from wrong(child, known[name], f"{path}.{name}", whole=whole)
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from wrong(child, schema["additionalProperties"], f"{path}.{name}", whole=whole)
        elif not schema.get("x-kubernetes-preserve-unknown-fields") and (known or "properties" in schema):
            yield f"{path}.{name} is no field"


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in DOCUMENTS:
        for block in blocks(document, "yaml"):
            for manifest in yaml.safe_load_all(block):
                yield named(document), manifest


OURS = [(where, each) for where, each in manifests() if str(each.get("apiVersion", "")).startswith("scalesets.dev/")]
FRAGMENTS = [(where, each) for where, each in manifests() if "apiVersion" not in each and each.get("kind") != "Region"]


@pytest.mark.parametrize(("where", "manifest"), OURS, ids=[f"{where}-{each['kind']}" for where, each in OURS])
def test_manifests_are_of_their_kind(where: str, manifest: dict[str, Any]) -> None:
    schema = kinds()[manifest["kind"]]
    schema = {**schema, "properties": {**schema["properties"], "metadata": {"type": "object"}}}

    assert list(wrong(manifest, schema, manifest["kind"], whole=True)) == []


def homes(fragment: dict[str, Any]) -> list[dict[str, Any]]:
    """Where in the API a fragment may stand."""
    everywhere = (place for schema in kinds().values() for place in places(schema))
    return [place for place in everywhere if fragment.keys() <= place.get("properties", {}).keys()]


@pytest.mark.parametrize(
    ("where", "fragment"), FRAGMENTS, ids=[f"{where}-{'-'.join(each)}" for where, each in FRAGMENTS]
)
def test_fragments_are_of_some_kind(where: str, fragment: dict[str, Any]) -> None:
    verdicts = [list(wrong(fragment, home, "", whole=False)) for home in homes(fragment)]

    assert verdicts, f"no field of the API has {', '.join(fragment)}"
    assert [] in verdicts, min(verdicts, key=len)


GUIDES = [path for path in WRITTEN if not {"adr", "bench"} & {*path.parts} and path.name not in ("api.md", "rules.md")]
"""What people follow; the others speak of design and of other programs, too."""
OTHERS_FIELDS = {"maxUnavailable", "wait"}
"""A StatefulSet's, and Flux's."""


def spoken(document: Path) -> list[dict[str, Any]]:
    """Settings in the middle of a sentence: `healthTimeout: PT20M`."""
    found = []
    for span in re.findall(r"`([a-z][A-Za-z]+: [^`…]+)`", document.read_text()):
        setting = yaml.safe_load(span)
        if isinstance(setting, dict) and not setting.keys() & {"apiVersion", *OTHERS_FIELDS}:
            found.append(setting)
    return found


@pytest.mark.parametrize("document", GUIDES, ids=named)
def test_settings_that_are_named_are_of_some_kind(document: Path) -> None:
    assert [each for each in spoken(document) if not fits(each)] == []


def fits(fragment: dict[str, Any]) -> bool:
    return any(not list(wrong(fragment, home, "", whole=False)) for home in homes(fragment))


# -------------------------------------------------------------------------------------------------------- commands


class Command(NamedTuple):
    """A command line of a document, in words."""

    where: str
    words: tuple[str, ...]


OURS_ALONE = re.compile(r"(?:kubectl scaleset|scalesets)(?: |$)")
ENDS = {"|", "&&", "||", ";", "&", ">"}


def typed(document: Path) -> Iterator[str]:
    """What stands after the prompts of the document's sessions, with its continuation lines."""
    for block in blocks(document, "console"):
        line = ""
        for each in block.splitlines():
            line = each[2:] if each.startswith("$ ") else f"{line}\n{each}" if line else ""
            if line and not goes_on(line):
                yield line
                line = ""


def joined(line: str) -> str:
    return line.replace("\\\n", " ")


def goes_on(line: str) -> bool:
    try:
        shlex.split(joined(line), comments=True)
    except ValueError:
        return True
    return False


def named_in_prose(document: Path) -> Iterator[str]:
    prose = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        text = " ".join(span.split())
        if OURS_ALONE.match(text) and not re.search(r"[][|]|<TAB>| …", text):
            yield text.replace("…", "")


def commands() -> Iterator[Command]:
    for document in DOCUMENTS:
        for line in (*typed(document), *named_in_prose(document)):
            words: list[str] = []
            for word in [*shlex.split(joined(line), comments=True), ";"]:
                if word not in ENDS:
                    words.append(word)
                    continue
                if words:
                    yield Command(named(document), tuple(words))
                words = []


ALL = list(dict.fromkeys(commands()))
OF_OURS = [c for c in ALL if OURS_ALONE.match(" ".join(c.words[:2]))]
OF_KUBECTL = [c for c in ALL if c.words[0] == "kubectl" and c.words[1] != "scaleset"]


def as_typed(command: Command) -> str:
    return f"{command.where}: {' '.join(command.words)}"


@pytest.mark.parametrize("command", OF_OURS, ids=as_typed)
def test_commands_are_those_of_the_program(command: Command) -> None:
    words = [*command.words[command.words[0] == "kubectl" :]][1:]
    group: Any = typer.main.get_command(app)
    while hasattr(group, "commands") and words and not words[0].startswith("-"):
        assert words[0] in group.commands, f"there is no command {words[0]}"
        group = group.commands[words.pop(0)]
    if hasattr(group, "commands"):
        assert not words or words[0] in known_options(group)
        return
    if words:  # a command that is only named may lack its arguments
        group.make_context(group.name, words).close()


def known_options(command: Any) -> set[str]:
    context = click.Context(command)
    return {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}


def every_option(command: Any) -> set[str]:
    below = getattr(command, "commands", {}).values()
    return known_options(command).union(*(every_option(each) for each in below))


@cache
def our_options() -> set[str]:
    return every_option(typer.main.get_command(app))


OTHERS_OPTIONS = {"--cascade", "--kube-api-qps", "--unsafe-no-fsync", "--server-side", "--take-ownership"} | {
    "--set",
    "--set-json",
}
"""Of kubectl, helm and Kubernetes' own programs."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_options_that_are_named_exist(document: Path) -> None:
    known = our_options() | OTHERS_OPTIONS
    used = re.findall(r"`(--?[a-z][a-z-]*)[^`]*`", document.read_text())

    assert sorted(set(used) - known) == []


def test_the_table_of_settings_has_every_option_of_the_operator() -> None:
    operator = typer.main.get_command(app).commands["operator"]
    text = (ROOT / "docs/api.md").read_text().partition("## Settings of the operator")[2]

    assert (
        sorted(
            each
            for each in known_options(operator) - {"--help", "-h"}
            if each.startswith("--") and f"`{each}`" not in text
        )
        == []
    )


KUBERNETES = {"pods", "pod", "pvc", "events", "nodes", "configmap", "secret", "node"}
RESOURCE = {"get", "describe", "wait", "patch", "scale"}


@pytest.mark.parametrize("command", OF_KUBECTL, ids=as_typed)
def test_kinds_and_files_of_kubectl_are_there(command: Command) -> None:
    words = list(command.words[1:])
    files = [words[i + 1] for i, word in enumerate(words) if word in ("-f", "-k", "--patch-file")]
    ours = [each for each in files if "/" in each and not each.startswith("your-")]
    assert [each for each in ours if not (ROOT / each).exists()] == []
    if words[0] == "-n":
        words = words[2:]
    if words[0] in RESOURCE and not words[1].startswith("-"):
        resources = set(re.split(r",", words[1].partition("/")[0]))
        assert resources - KUBERNETES - resource_names() == set()


def resource_names() -> set[str]:
    names = [crd["names"] for crd in crds()]
    return {name for n in names for name in (n["plural"], n["singular"], *n.get("shortNames", ()))}


# ------------------------------------------------------------------------------------- the chart's values, the metrics


@pytest.mark.parametrize("document", WRITTEN, ids=named)
def test_values_of_the_chart_exist(document: Path) -> None:
    values = yaml.safe_load((ROOT / "charts/scaleset-operator/values.yaml").read_text())
    text = document.read_text()
    given = re.findall(r"--set(?:-string)? '?([a-zA-Z.]+)=", text)
    spoken = [
        span
        for span in re.findall(r"`([a-z][a-zA-Z]+(?:\.[a-z][a-zA-Z]+)+)(?:=[^`]*)?`", text)
        if span.partition(".")[0] in values and not span.endswith((".md", ".py", ".yaml"))
    ]

    assert [path for path in (*given, *spoken) if not leads_into(values, path)] == []


def leads_into(values: Any, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(values, dict) or (values and name not in values):
            return False
        values = values.get(name, {})
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_metrics_that_are_named_exist(document: Path) -> None:
    metrics = Metrics()
    metrics.lead()
    metrics.gather(lambda: ())
    known = {family.name for family in metrics.described()}
    used = re.findall(r"\b((?:scalesets|workqueue|rest_client|leader_election)_[a-z_]+)\b", document.read_text())

    assert sorted({re.sub(r"_(bucket|sum|count)$", "", name) for name in used} - known) == []
