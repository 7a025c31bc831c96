"""What goes to standard output: a drawing for people, or the view model as JSON or YAML for programs.

On a terminal a drawing fits its width; in a pipe tables are as wide as their content and carry no trailing blanks, so
that grep and awk see what is there. Colour follows NO_COLOR and FORCE_COLOR.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

import orjson
import yaml
from rich.console import Console, RenderableType

PIPED_WIDTH = 1000
PIPED_BAR_WIDTH = 80


class Output(StrEnum):
    """The forms of output besides the usual one."""

    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def stdout() -> Console:
    """The console of standard output."""
    return _console(sys.stdout.isatty(), stderr=False)


def stderr() -> Console:
    """The console of standard error: what is said beside the result."""
    return _console(sys.stderr.isatty(), stderr=True)


def emit(view: object, output: Output | None, draw: Callable[[int, bool], RenderableType]) -> None:
    """Print a view. ``draw`` takes the width for bars and whether all columns are wanted."""
    if output is Output.JSON:
        sys.stdout.write(orjson.dumps(plain(view), option=orjson.OPT_INDENT_2).decode() + "\n")
    elif output is Output.YAML:
        sys.stdout.write(yaml.safe_dump(plain(view), sort_keys=False, allow_unicode=True))
    else:
        show(draw(bar_width(), output is Output.WIDE))


def emit_again(view: object, output: Output) -> None:
    """Print one of many views of a watch: a JSON object a line, or a YAML document each."""
    if output is Output.YAML:
        sys.stdout.write("---\n" + yaml.safe_dump(plain(view), sort_keys=False, allow_unicode=True))
    else:
        sys.stdout.write(orjson.dumps(plain(view)).decode() + "\n")
    sys.stdout.flush()


def show(drawing: RenderableType) -> None:
    """Print a drawing."""
    console = stdout()
    if console.is_terminal:
        console.print(drawing, crop=False)
        return
    with console.capture() as captured:
        console.print(drawing)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def bar_width() -> int:
    """The width that drawings which could be of any width should take."""
    console = stdout()
    return console.width if console.width < PIPED_WIDTH else PIPED_BAR_WIDTH


def plain(value: object) -> Any:
    """A view model as JSON knows it: fields in camelCase, times in RFC 3339, sets of ordinals as sorted lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_camel(f.name): plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(entry) for entry in value)
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _console(terminal: bool, *, stderr: bool) -> Console:
    width = None if terminal or os.environ.get("COLUMNS", "").isdecimal() else PIPED_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)
