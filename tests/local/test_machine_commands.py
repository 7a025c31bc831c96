"""`scalesets local machines …`: what it writes, prints and refuses (docs/local.md, "Breaking things")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from scalesets.cli.commands import app
from scalesets.local.controlplane import ControlPlane
from scalesets.local.machines import steering
from scalesets.local.machines.faults import Mode, Steering

Command = Callable[..., Result]


@pytest.fixture
def machines(control_plane: ControlPlane) -> Iterator[Command]:
    def run(command: str, *arguments: str) -> Result:
        where = ("--dir", str(control_plane.directory))
        return CliRunner().invoke(app, ["local", "machines", command, *where, *arguments], env={"COLUMNS": "100"})

    yield run
    with control_plane.api() as api:
        steering.heal(api)


@pytest.fixture
def seen(control_plane: ControlPlane) -> Callable[[], Steering]:
    def read() -> Steering:
        with control_plane.api() as api:
            return steering.read(api)

    return read


def test_a_failure_is_set_listed_and_healed(machines: Command, seen: Callable[[], Steering]) -> None:
    options = ("--version", "9.9.1", "--set", "team-a/web", "--share", "20%", "--mode", "crash", "--for", "5m")
    said = machines("fail", *options).stdout

    (rule,) = seen().rules
    assert said == f"{rule.name}: 20% of version 9.9.1, set team-a/web: crash\n"
    assert (rule.version, rule.scaleset, rule.share, rule.mode) == ("9.9.1", "team-a/web", 0.2, Mode.CRASH)
    assert rule.ends and (rule.ends - rule.begins).total_seconds() == 300
    listed = machines("list").stdout.splitlines()
    assert listed[0].split() == ["NAME", "WHO", "MODE", "STATE", "ENDS"]
    assert "in force" in listed[1] and listed[1].startswith(rule.name)

    assert machines("heal", rule.name).stdout == f"ended: {rule.name}\n"
    assert seen().rules == ()
    assert machines("list").stdout.startswith("No failures are set.")


def test_without_options_a_failure_holds_for_all_at_once_and_until_healed(
    machines: Command, seen: Callable[[], Steering]
) -> None:
    machines("fail", "--instance", "team-a/web-3")

    (rule,) = seen().rules
    assert (rule.share, rule.mode, rule.ends) == (1.0, Mode.NEVER_READY, None)


def test_a_machine_is_stopped_and_started(machines: Command, seen: Callable[[], Steering]) -> None:
    assert machines("stop-node", "machine-2").exit_code == 0
    stopped = seen().stopped_nodes
    said = machines("list").stdout
    assert machines("start-node", "machine-2").exit_code == 0

    assert stopped == {"machine-2"} and "Stopped machines: machine-2" in said
    assert seen().stopped_nodes == frozenset()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("fail",), 2, "whom shall fail? (give --version, --set or --instance)"),
        (("fail", "--set", "web"), 2, "--set web lacks the namespace (write --set default/web)"),
        (("fail", "--version", "1", "--share", "120%"), 2, "'120%' is no share"),
        (("fail", "--version", "1", "--after", "soon"), 2, "'soon' is no duration"),
        (("heal", "nobody"), 3, "no failure named nobody"),
        (("stop-node", "machine-77"), 3, "no machine named machine-77 (there are machine-0, machine-1, machine-2)"),
        (("boot-time", "--min", "2s", "--max", "1s"), 2, "must not be above"),
    ],
)
def test_what_makes_no_sense_is_refused(
    machines: Command, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    result = machines(*arguments)

    assert result.exit_code == exit_code, result.output
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_without_a_control_plane_it_says_how_to_start_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["local", "machines", "list", "--dir", str(tmp_path)])

    assert result.exit_code == 3
    assert "no control plane runs in" in result.stderr and "scalesets local up" in result.stderr
