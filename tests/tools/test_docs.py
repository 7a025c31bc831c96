"""The documents hold together: links lead somewhere, manifests are YAML, what the code refers to is there."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRACING = ("otlp", "tracing", "upgrade_spans")
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def named(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    dead = [link for link in links if "://" not in link and not leads_somewhere(link, document=document)]

    assert dead == []


def leads_somewhere(link: str, *, document: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.exists():
        return False
    return not anchor or anchor in {slug(h) for h in re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_manifests_are_yaml(document: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        list(yaml.safe_load_all(block))


def sources() -> dict[str, str]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "Makefile", "*.yaml", "*.toml"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return {
        name: (ROOT / name).read_text()
        for name in listing
        if (ROOT / name).is_file() and not name.startswith("tests/tools/")
    }


def test_documents_that_the_code_refers_to_exist() -> None:
    references = {
        (name, reference) for name, text in sources().items() for reference in re.findall(r"docs/[\w/-]+\.md", text)
    }

    assert references
    assert {(name, reference) for name, reference in references if not (ROOT / reference).exists()} == set()


def test_chapters_that_the_code_refers_to_exist() -> None:
    references = {
        (name, document, " ".join(chapter.split()))
        for name, text in sources().items()
        for document, chapter in re.findall(r'(docs/[\w/-]+\.md),? \(?"([^"\\]+)"', text)
    }

    assert references
    assert {r for r in references if (ROOT / r[1]).exists() and r[2] not in (ROOT / r[1]).read_text()} == set()


def test_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for document in DOCUMENTS for name in re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text())}

    assert used <= targets


# The pod schema of Kubernetes: documented there.
EMBEDDED = {"template", "volumeClaimTemplates", "container"}


@cache
def crd_kinds() -> dict[str, dict[str, Any]]:
    crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    return {
        crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        for crd in crds
    }


def fields_of(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        if name not in EMBEDDED:
            yield f"{path}.{name}"
            yield from fields_of(child, f"{path}.{name}")
    if "items" in schema:
        yield from fields_of(schema["items"], f"{path}[]")


@pytest.mark.parametrize("kind", crd_kinds())
def test_the_reference_names_every_field(kind: str) -> None:
    words = set(re.findall(r"[A-Za-z]\w*", (ROOT / "docs/api.md").read_text()))
    schema = crd_kinds()[kind]
    fields = [field for part in ("spec", "status") for field in fields_of(schema[part], f"{kind}.{part}")]

    assert fields
    assert [field for field in fields if field.rpartition(".")[2] not in words] == []


def test_the_reference_of_traces_names_every_attribute() -> None:
    name = re.compile(r"(?:scaleset|k8s|error|http|url)\.[a-z_]+(?:\.[a-z_]+)*")
    code = [(ROOT / "operator/scalesets/kube" / f"{module}.py").read_text() for module in TRACING]
    used = {each for text in code for each in re.findall(r'"([a-z0-9_.]+)"', text) if name.fullmatch(each)}
    said = set(re.findall(r"`([^`]+)`", (ROOT / "docs/reference/traces.md").read_text()))

    assert len(used) > 40
    assert {each for each in said if name.fullmatch(each)} == used
