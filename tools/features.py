"""The README's feature table, made from the tests' requirement marks.

A row of docs/requirements.md counts as there when a test carries `@pytest.mark.requirement("O8")` for it: nobody keeps
the table by hand, and nothing is claimed that no test proves. `--write` fills the README between its markers, `--check`
(part of `make lint`) fails when the two differ or when a mark names no row.

Marks are read from the source with `ast`: quick, with neither a cluster nor an import of the tests.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = "docs/requirements.md"
BEGIN, END = "<!-- features: begin (make features) -->", "<!-- features: end -->"
# The layers in the order in which they run; a layer is a folder of tests/.
LAYERS = ("engine", "api", "examples", "local", "kube", "cli", "cluster")

# What a row asks for beyond what its tests prove today. A row without a test is "later" as a whole and needs no entry.
LATER_PARTS = {
    "O3": "Windows; health reported by an extension during its own upgrade",
    "O4": "Windows images",
    "O9b": "one zone at a time across all sets and machines of a region",
    "O10": "platform images by region phases",
    "O15": "Windows, Service Fabric and load balancer SKUs",
    "E5a": "phases of regions, and one zone at a time across a region",
    "E14": "Windows and regions",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement: its id, its short name, and the heading that it stands under."""

    id: str
    name: str
    section: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One use of `requirement(...)`: which row, in which file and line."""

    id: str
    path: Path
    line: int


def main() -> int:
    """Check or write the table; the exit status says whether the README was right."""
    parser = argparse.ArgumentParser(description="The README's feature table, from the tests' requirement marks.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument(
        "--check", action="store_true", help="fail when the table in the README is not what the marks say"
    )
    mode.add_argument("--write", action="store_true", help="write the table into the README")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    options = parser.parse_args()
    root: Path = options.root

    rows = list(read_rows((root / REQUIREMENTS).read_text()))
    marks = [mark for path in sorted((root / "tests").rglob("test_*.py")) for mark in read_marks(path)]
    unknown = find_unknown(rows, marks)
    for mark in unknown:
        print(f"{mark.path.relative_to(root)}:{mark.line}: {REQUIREMENTS} has no row {mark.id}", file=sys.stderr)
    if unknown:
        return 1

    readme = root / "README.md"
    before = readme.read_text()
    after = fill(before, render(rows, marks, root))
    if options.write:
        readme.write_text(after)
    elif before != after:
        print("README.md: the feature table is not what the tests' marks say: run `make features`", file=sys.stderr)
        return 1
    return 0


def read_rows(text: str) -> Iterator[Row]:
    """Read the rows of the requirement tables: `| id | short name | text |` under a `##` heading."""
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip()
        elif found := re.match(r"\| ([OE]\d+[a-z]?) \| ([^|]+?) \|", line):
            yield Row(found[1], found[2], section)


def read_marks(path: Path) -> Iterator[Mark]:
    """Find every `….mark.requirement("O8", …)` of a file: on functions and classes, in `pytestmark`, in parameters."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement"
        ):
            continue
        for argument in node.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield Mark(argument.value, path, argument.lineno)
            else:
                raise SystemExit(f"{path}:{argument.lineno}: write the ids of requirement(...) as plain strings")


def find_unknown(rows: list[Row], marks: list[Mark]) -> list[Mark]:
    """Return the marks that name no row."""
    known = {row.id for row in rows}
    return [mark for mark in marks if mark.id not in known]


def render(rows: list[Row], marks: list[Mark], root: Path) -> str:
    """Make the tables, one for each section, in the order of the rows."""
    files: dict[str, set[Path]] = {}
    for mark in marks:
        files.setdefault(mark.id, set()).add(mark.path.relative_to(root))

    lines: list[str] = []
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", f"**{section}**", "", "| | feature | | proven by |", "|---|---|---|---|"]
        proof = files.get(row.id, set())
        lines.append(f"| {row.id} | {row.name} | {_state(row.id, proven=bool(proof))} | {_links(proof)} |")
    return "\n".join([*lines[1:], ""])


def fill(readme: str, table: str) -> str:
    """Put the table between the README's markers."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise SystemExit(f"README.md: the markers {BEGIN!r} and {END!r} must each be there once")
    head, _, rest = readme.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{table}\n{END}{rest.partition(END)[2]}"


def _state(row: str, *, proven: bool) -> str:
    if not proven:
        return "later"
    return f"in part; later: {LATER_PARTS[row]}" if row in LATER_PARTS else "yes"


def _links(paths: set[Path]) -> str:
    """Link the test files, grouped by layer: `engine: [batches](…), [health](…) · cluster: …`."""
    groups = []
    for layer in (*LAYERS, *sorted({path.parts[1] for path in paths} - set(LAYERS))):
        links = [f"[{_title(path)}]({path.as_posix()})" for path in sorted(paths) if path.parts[1] == layer]
        if links:
            groups.append(f"{layer}: {', '.join(links)}")
    return " · ".join(groups)


def _title(path: Path) -> str:
    return path.stem.removeprefix("test_").replace("_", " ")


if __name__ == "__main__":
    sys.exit(main())
