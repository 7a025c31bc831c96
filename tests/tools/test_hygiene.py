"""What the hygiene check finds and leaves alone. Bad lines are put together here, or it would find this file."""

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tools" / "hygiene.py"


@pytest.fixture(scope="module")
def hygiene() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hygiene", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("cache = '/" + "work/main'", "a path of one machine"),
        ("see /" + "root/notes", "a path of one machine"),
        ("cd /" + "home/somebody", "a path of one machine"),
        ("read .." + "/shared/design.md", "a folder beside the project"),
        ("https://py" + "pi.org/simple", "the host of a package registry"),
        ("pip install --index" + "-url https://mirror.example/simple x", "an index or mirror of packages"),
        ("# TO" + "DO: later", "a note to come back later"),
    ],
)
def test_a_finding_says_where_and_what(hygiene: ModuleType, tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "file.txt").write_text(f"fine\n{line}\n")

    findings = list(hygiene.examine(tmp_path / "file.txt", tmp_path))

    assert len(findings) == 1
    assert findings[0].startswith(f"file.txt:2: {what}")


@pytest.mark.parametrize(
    "line", ["https://example.org/work/main", "docs/root/x", "/var/lib/etcd", "/home/nonroot", "mastodon", "~/work/x"]
)
def test_ordinary_lines_are_left_alone(hygiene: ModuleType, tmp_path: Path, line: str) -> None:
    (tmp_path / "file.txt").write_text(line)

    assert not list(hygiene.examine(tmp_path / "file.txt", tmp_path))


def test_binary_files_are_passed_over(hygiene: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")

    assert not list(hygiene.examine(tmp_path / "picture.png", tmp_path))


def test_no_two_test_files_share_a_name() -> None:
    """pytest takes the second for the first, and runs neither: folders of tests are no packages."""
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    run_apart = {"kubelet", "kind"}  # by targets of their own
    names = Counter(path.name for path in files if path.parent.name not in run_apart)
    assert [name for name, count in names.items() if count > 1] == []
