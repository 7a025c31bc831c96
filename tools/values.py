"""The table of the chart's values, made from values.yaml: a value's words are the comment `# -- …` above it.

`--write` fills charts/scaleset-operator/README.md between its markers, `--check` (part of `make lint`) fails when the
two differ, or when a value has no words.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = "charts/scaleset-operator"
BEGIN, END = "<!-- values: begin (make chart) -->", "<!-- values: end -->"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the chart: its path, its words, and what it is by default."""

    path: str
    words: str
    default: Any


def main() -> int:
    """Check or write the table; the exit status says whether it was right."""
    parser = argparse.ArgumentParser(description="The table of the chart's values, from values.yaml.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="fail when the table isn't what values.yaml says")
    mode.add_argument("--write", action="store_true", help="write the table")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    options = parser.parse_args()
    chart: Path = options.root / CHART
    text = (chart / "values.yaml").read_text()
    values = list(read(text))
    if silent := unsaid(yaml.safe_load(text), {value.path for value in values}):
        print(f"{CHART}/values.yaml: no `# -- …` above {', '.join(silent)}", file=sys.stderr)
        return 1
    readme = chart / "README.md"
    before = readme.read_text()
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{readme}: the markers {BEGIN!r} and {END!r} must be there")
    after = f"{head}{BEGIN}\n\n{render(values)}\n\n{END}{tail}"
    if options.write:
        readme.write_text(after)
    elif after != before:
        print(f"{CHART}/README.md: the table isn't what values.yaml says: run `make chart`", file=sys.stderr)
        return 1
    return 0


def read(text: str) -> Iterator[Value]:
    """The values that have words, in their order."""
    values = yaml.safe_load(text)
    place: list[str] = []
    words = ""
    for line in text.splitlines():
        if found := re.match(r"\s*# -- (.*)", line):
            words = found[1]
        elif found := re.match(r"( *)(\w+):", line):
            depth = len(found[1]) // 2
            place = [*place[:depth], found[2]]
            if words and depth == len(place) - 1:
                yield Value(".".join(place), words, _at(values, place))
            words = ""


def unsaid(values: dict[str, Any], said: set[str], path: str = "") -> list[str]:
    """The values without words: neither they nor one above them has any."""
    silent = []
    for name, value in values.items():
        here = f"{path}.{name}".removeprefix(".")
        if here in said:
            continue
        silent += unsaid(value, said, here) if isinstance(value, dict) and value else [here]
    return silent


def render(values: list[Value]) -> str:
    """The table."""
    rows = [_row(each) for each in values]
    return "\n".join(["| value | default | |", "|---|---|---|", *rows])


def _row(value: Value) -> str:
    words = value.words.replace("|", "\\|")
    return f"| `{value.path}` | `{json.dumps(value.default)}` | {words} |"


def _at(values: Any, place: list[str]) -> Any:
    for name in place:
        values = values[name]
    return values


if __name__ == "__main__":
    sys.exit(main())
