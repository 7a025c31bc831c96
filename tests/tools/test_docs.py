"""The documents hold together: links lead somewhere, manifests are YAML, what the code refers to is there."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
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


def test_documents_that_the_code_refers_to_exist() -> None:
    sources = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "Makefile", "*.yaml", "*.toml"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    missing = {
        f"{source}: {reference}"
        for source in sources
        if (ROOT / source).is_file() and not source.startswith("tests/tools/")
        for reference in re.findall(r"docs/[\w/-]+\.md", (ROOT / source).read_text())
        if not (ROOT / reference).exists()
    }

    assert missing == set()


def test_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for document in DOCUMENTS for name in re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text())}

    assert used <= targets
