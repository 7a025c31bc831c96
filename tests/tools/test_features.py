"""The feature table claims what tests prove, no more; it is checked on a small project of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "features.py"
REQUIREMENTS = """
## Automatic upgrades

| id | in short | requirement |
|---|---|---|
| O1 | Newest image | The newest image is applied. |
| O3 | Health | An instance is healthy when. |
| O25 | Front | REST. |
"""
README = "# Demo\n\n<!-- features: begin (make features) -->\n<!-- features: end -->\n\nThe end.\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/requirements.md").write_text(REQUIREMENTS)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "tests/engine").mkdir(parents=True)
    return tmp_path


def run(project: Path, mode: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, mode, "--root", project], capture_output=True, text=True, check=False)


def with_test(project: Path, name: str, *, source: str) -> None:
    (project / "tests/engine" / name).write_text(f"import pytest\n\n{source}\n")


def test_marked_rows_are_there_and_the_others_come_later(project: Path) -> None:
    with_test(project, "test_newest_image.py", source='@pytest.mark.requirement("O1")\ndef test_it(): ...')

    assert run(project, "--write").returncode == 0

    readme = (project / "README.md").read_text()
    assert "| O1 | Newest image | yes | engine: [newest image](tests/engine/test_newest_image.py) |" in readme
    assert "| O25 | Front | later |  |" in readme
    assert readme.endswith("\n\nThe end.\n")


def test_a_row_proven_in_part_says_what_is_missing(project: Path) -> None:
    with_test(project, "test_health.py", source='pytestmark = [pytest.mark.requirement("O3")]')

    run(project, "--write")

    assert "| O3 | Health | in part; later: Windows" in (project / "README.md").read_text()


def test_marks_in_parameters_count(project: Path) -> None:
    case = 'pytest.param(1, marks=pytest.mark.requirement("O1", "O25"))'
    with_test(project, "test_cases.py", source=f'@pytest.mark.parametrize("n", [{case}])\ndef test_it(n): ...')

    run(project, "--write")

    assert "| O25 | Front | yes |" in (project / "README.md").read_text()


def test_check_fails_until_the_table_is_written(project: Path) -> None:
    with_test(project, "test_newest_image.py", source='@pytest.mark.requirement("O1")\ndef test_it(): ...')

    stale = run(project, "--check")
    run(project, "--write")

    assert stale.returncode == 1
    assert "make features" in stale.stderr
    assert run(project, "--check").returncode == 0


def test_a_mark_without_a_row_is_named_with_its_place(project: Path) -> None:
    with_test(project, "test_typo.py", source='@pytest.mark.requirement("O99")\ndef test_it(): ...')

    result = run(project, "--check")

    assert result.returncode == 1
    assert "tests/engine/test_typo.py:3: docs/requirements.md has no row O99" in result.stderr
