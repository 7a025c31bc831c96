"""The requirement files agree with each other, so that what is tested is what is installed."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


def test_the_package_asks_for_what_the_requirement_file_lists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["tracing"]]
    listed = [line for line in (ROOT / "requirements/runtime.in").read_text().splitlines() if line and line[0] != "#"]

    assert sorted(declared) == sorted(listed)


def test_runtime_pins_are_those_that_the_tests_run_with() -> None:
    tested = pins("dev.txt")

    assert pins("runtime.txt")
    assert {name: version for name, version in pins("runtime.txt").items() if tested.get(name) != version} == {}


def test_every_pin_has_hashes() -> None:
    for name in ("dev.txt", "runtime.txt"):
        blocks = re.split(r"^(?=[a-z])", (ROOT / "requirements" / name).read_text(), flags=re.MULTILINE)
        assert [block.partition(" ")[0] for block in blocks if block.strip() and "--hash=sha256:" not in block] == []
