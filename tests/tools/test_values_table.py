"""The chart's table of values is that of values.yaml, and every value has words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VALUES = """\
# -- How many.
replicas: 2
image:
  # -- Its name; `a` or `b`, as a|b.
  repository: x
crds:
  # -- Whether.
  install: true
# -- Free.
resources:
  limits: {memory: 1Gi}
"""
TABLE = """\
<!-- values: begin (make chart) -->

| value | default | |
|---|---|---|
| `replicas` | `2` | How many. |
| `image.repository` | `"x"` | Its name; `a` or `b`, as a\\|b. |
| `crds.install` | `true` | Whether. |
| `resources` | `{"limits": {"memory": "1Gi"}}` | Free. |

<!-- values: end -->
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    folder = tmp_path / "charts" / "scaleset-operator"
    folder.mkdir(parents=True)
    (folder / "values.yaml").write_text(VALUES)
    (folder / "README.md").write_text("# Chart\n\n<!-- values: begin (make chart) -->\n<!-- values: end -->\n\nEnd.\n")
    return folder


def tool(chart: Path, mode: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/values.py"), mode, f"--root={chart.parents[1]}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_written_and_then_current(chart: Path) -> None:
    assert tool(chart, "--check").returncode == 1
    assert tool(chart, "--write").returncode == 0
    assert (chart / "README.md").read_text() == f"# Chart\n\n{TABLE}\nEnd.\n"
    assert tool(chart, "--check").returncode == 0


def test_another_default_makes_it_stale(chart: Path) -> None:
    tool(chart, "--write")
    (chart / "values.yaml").write_text(VALUES.replace("replicas: 2", "replicas: 3"))
    done = tool(chart, "--check")
    assert done.returncode == 1
    assert "run `make chart`" in done.stderr


@pytest.mark.parametrize("said", ["# -- How many.\n", "  # -- Whether.\n"])
def test_a_value_without_words_is_named(chart: Path, said: str) -> None:
    (chart / "values.yaml").write_text(VALUES.replace(said, ""))
    done = tool(chart, "--check")
    assert done.returncode == 1
    assert f"no `# -- …` above {'replicas' if 'many' in said else 'crds.install'}" in done.stderr


def test_without_a_place_for_it_nothing_is_written(chart: Path) -> None:
    (chart / "README.md").write_text("# Chart\n")
    assert "must be there" in tool(chart, "--write").stderr
    assert (chart / "README.md").read_text() == "# Chart\n"
