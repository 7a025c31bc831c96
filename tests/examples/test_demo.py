"""The demo must end with 0 when all of it happened, and with something else when any of it did not."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scalesets.cli.demo.domains import of_machines
from scalesets.cli.demo.evidence import Finding, Witness, World, kept_claims, of_broken, of_good
from scalesets.cli.demo.in_place import Agent, of_extensions
from scalesets.cli.views import upgrades
from scalesets.cli.views.upgrades import UpgradeView
from scalesets.local.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "1.0.0", "2.0.0"
DEMO = [sys.executable, "-c", "from scalesets.cli.app import main; main()", "demo"]


def a_pod(ordinal: int, version: str, *, uid: str = "", ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"web-{ordinal}",
            "uid": uid or f"{ordinal}-{version}",
            "labels": {"scalesets.dev/image-version": version, "scalesets.dev/update-domain": str(ordinal % 5)},
        },
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def a_world(version: str, *, changed: dict[str, Any] | None = None, without_claim: int | None = None) -> World:
    pods = {f"web-{n}": a_pod(n, version) for n in range(20)} | (changed or {})
    return World(pods, {f"data-web-{n}": f"claim-{n}" for n in range(20) if n != without_claim})


def an_upgrade(code: str, batches: list[dict[str, Any]], **status: Any) -> UpgradeView:
    return upgrades.read(
        {
            "metadata": {"name": "web-os-1"},
            "spec": {"type": "OSImage"},
            "status": {"runningStatus": {"code": code}, "batches": batches, **status},
        }
    )


FIVE = [{"number": n + 1, "ordinals": f"{n},{n + 5},{n + 10},{n + 15}", "outcome": "Succeeded"} for n in range(5)]
FIRST_FAILED = [{"number": 1, "ordinals": "0,5,10,15", "failed": "0,5,10,15", "outcome": "RolledBack"}]
STOPPED = {
    "error": {"code": "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade", "message": "4 of 4"},
    "rollbackInfo": {"successfullyRolledbackInstanceCount": 4},
}
MEMBERS = ("web-0", "web-5", "web-10", "web-15")


def a_witness(*touched: str, most_down: int = 4, most_unready: int = 4) -> Witness:
    witness = Witness.__new__(Witness)
    witness.touched, witness.most_down, witness.most_unready = set(touched), most_down, most_unready
    return witness


def failed(findings: list[Finding]) -> list[str]:
    return [finding.claim for finding in findings if not finding.holds]


def test_a_good_upgrade_is_found_good() -> None:
    before, after = a_world(OLD), a_world(NEW)
    assert failed(of_good(an_upgrade("Completed", FIVE), NEW, before, after, a_witness(*before.pods))) == []


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"after": a_world(NEW, changed={"web-3": a_pod(3, OLD)})}, "all 20 instances are Ready"),
        ({"after": a_world(NEW, changed={"web-3": a_pod(3, NEW, ready=False)})}, "all 20 instances are Ready"),
        ({"after": a_world(NEW, without_claim=7)}, "data disks"),
        ({"batches": [{"number": 1, "ordinals": "0-19"}]}, "none above 20%"),
        ({"batches": [{"number": 1, "ordinals": "0-3"}]}, "one update domain"),
        ({"batches": []}, "none above 20%"),
        ({"most_down": 5}, "never more than 4"),
        ({"code": "Cancelled"}, "says Completed"),
    ],
)
def test_what_a_good_upgrade_must_not_do(what: dict[str, Any], words: str) -> None:
    before = a_world(OLD)
    after = what.get("after", a_world(NEW))
    upgrade = an_upgrade(what.get("code", "Completed"), what.get("batches", FIVE))
    found = failed(of_good(upgrade, NEW, before, after, a_witness(*before.pods, most_down=what.get("most_down", 4))))
    assert len(found) == 1
    assert words in found[0]


def put_back() -> World:
    return a_world(OLD, changed={name: a_pod(int(name[4:]), OLD, uid="another") for name in MEMBERS})


def test_a_broken_version_stopped_and_put_back_is_found_so() -> None:
    upgrade = an_upgrade("Faulted", FIRST_FAILED, **STOPPED)
    assert failed(of_broken(upgrade, OLD, a_world(OLD), put_back(), a_witness(*MEMBERS))) == []


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"code": "Completed"}, "the upgrade stopped"),
        (
            {"batches": FIRST_FAILED + FIVE[1:2], "touched": (*MEMBERS, *(f"web-{n}" for n in (1, 6, 11, 16)))},
            "no second",
        ),
        ({"touched": (*MEMBERS, "web-3")}, "not touched"),
        ({"status": {**STOPPED, "rollbackInfo": {"successfullyRolledbackInstanceCount": 3}}}, "were put back"),
    ],
)
def test_what_a_broken_version_must_not_do(what: dict[str, Any], words: str) -> None:
    upgrade = an_upgrade(what.get("code", "Faulted"), what.get("batches", FIRST_FAILED), **what.get("status", STOPPED))
    witness = a_witness(*what.get("touched", MEMBERS))
    found = failed(of_broken(upgrade, OLD, a_world(OLD), put_back(), witness))
    assert any(words in claim for claim in found)


def test_a_claim_that_was_made_anew_counts_as_lost() -> None:
    before, after = a_world(OLD), a_world(OLD)
    after.claims["data-web-4"] = "another"
    assert "data-web-4" in kept_claims(before, after).seen


BAD, WELL = Agent("metrics", "1.4.0", "1.5.0"), Agent("logs", "2.0.3", "2.1.0")


def with_agents(*, well: str, restarts: dict[str, dict[str, int]] | None = None, **changed: dict[str, Any]) -> World:
    """Twenty instances with both extensions, ``restarts`` by instance and container."""
    pods = {f"web-{n}": a_pod(n, OLD) for n in range(20)}
    for name, pod in pods.items():
        versions = {"metrics": BAD.former, "logs": well} | changed.get(name.replace("-", "_"), {})
        counts = {"os": 0, "metrics": 0, "logs": 0} | (restarts or {}).get(name, {})
        pod["metadata"]["annotations"] = {f"extension.scalesets.dev/{e}": v for e, v in versions.items()}
        pod["spec"] = {"initContainers": [{"name": e, "image": f"ext/{e}:{v}"} for e, v in versions.items()]}
        pod["status"]["containerStatuses"] = [{"name": c, "restartCount": n} for c, n in counts.items()]
    return World(pods, {})


UPGRADED = {f"web-{n}": {"logs": 1, "metrics": 2 if n % 5 == 0 else 0} for n in range(20)}
ONE_FAILED = [
    {"number": 1, "extension": "metrics", "ordinals": "0,5,10,15", "failed": "0,5,10,15", "rolledBack": "0,5,10,15"},
    *({**batch, "number": index, "extension": "logs"} for index, batch in enumerate(FIVE, start=2)),
]
STOPPED_ALONE = [
    {"name": "metrics", "to": "1.5.0", "outcome": "Stopped", "failedInstanceCount": 4},
    {"name": "logs", "to": "2.1.0", "outcome": "Succeeded", "successfulInstanceCount": 20},
]


def of_both(what: dict[str, Any]) -> list[Finding]:
    upgrade = upgrades.read(
        {
            "metadata": {"name": "web-ext-1"},
            "spec": {"type": "Extension"},
            "status": {
                "runningStatus": {"code": what.get("code", "Faulted")},
                "batches": what.get("batches", ONE_FAILED),
                "targetExtensions": what.get("targets", STOPPED_ALONE),
                "error": {"message": "metrics 1.5.0: 4 of 4"},
            },
        }
    )
    before = with_agents(well=WELL.former)
    after = what.get("after", with_agents(well=WELL.to, restarts=UPGRADED))
    return of_extensions(upgrade, WELL, BAD, before, after, what.get("witness", a_witness()))


def test_one_extension_put_back_beside_a_good_one_is_found_so() -> None:
    assert failed(of_both({})) == []


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"after": with_agents(well=WELL.to, restarts=UPGRADED, web_7={"logs": WELL.former})}, "logs is on 2.1.0"),
        ({"after": with_agents(well=WELL.to, restarts=UPGRADED, web_5={"metrics": BAD.to})}, "was put back"),
        ({"batches": [*ONE_FAILED, {"number": 7, "extension": "metrics", "ordinals": "1"}]}, "no second"),
        ({"after": with_agents(well=WELL.to, restarts=UPGRADED | {"web-3": {"os": 1, "logs": 1}})}, "no other"),
        ({"after": with_agents(well=WELL.to, restarts=UPGRADED | {"web-3": {"logs": 1, "metrics": 1}})}, "no other"),
        ({"after": with_agents(well=WELL.to, restarts=UPGRADED | {"web-3": {}})}, "restarted once each"),
        ({"witness": a_witness("web-4")}, "no instance was restarted"),
        ({"witness": a_witness(most_unready=5)}, "never more than 4"),
        ({"witness": a_witness(most_unready=0)}, "never more than 4"),
        ({"code": "Completed"}, "says that metrics stopped"),
        ({"targets": [{**t, "outcome": "Stopped"} for t in STOPPED_ALONE]}, "says that metrics stopped"),
    ],
)
def test_what_an_extension_upgrade_must_not_do(what: dict[str, Any], words: str) -> None:
    assert any(words in claim for claim in failed(of_both(what)))


PLACES = {0: "db-a", 1: "db-b", 2: "db-c", 3: "db-d"}
IN_TURN = [
    {"number": 1, "ordinals": "0,2", "startTime": "2026-01-01T00:00:00Z", "completedTime": "2026-01-01T00:00:05Z"},
    {"number": 2, "ordinals": "1,3", "startTime": "2026-01-01T00:00:05Z", "completedTime": "2026-01-01T00:00:09Z"},
]
AT_ONCE = [IN_TURN[0], {**IN_TURN[1], "startTime": "2026-01-01T00:00:04Z"}]
ALL_OF_THEM = [{**IN_TURN[0], "ordinals": "0-3"}]


def machines(version: str, *, restarts: int = 0, uid: str = "", os_restarts: int = 0) -> World:
    """Four machines in two update domains, with the extension `logs`."""
    pods = {}
    for place, name in PLACES.items():
        pods[name] = {
            "metadata": {
                "name": name,
                "uid": uid or name,
                "labels": {"scalesets.dev/update-domain": str(place % 2)},
                "annotations": {"extension.scalesets.dev/logs": version},
            },
            "spec": {"initContainers": [{"name": "logs", "image": f"ext/logs:{version}"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [
                    {"name": "logs", "restartCount": restarts},
                    {"name": "os", "restartCount": os_restarts},
                ],
            },
        }
    return World(pods, {})


def of_a_group(what: dict[str, Any]) -> list[Finding]:
    upgrade = an_upgrade(what.get("code", "Completed"), what.get("batches", IN_TURN))
    before, after = machines(WELL.former), what.get("after", machines(WELL.to, restarts=1))
    return of_machines(upgrade, WELL, PLACES, before, after, what.get("witness", a_witness(most_unready=2)))


def test_an_availability_set_upgraded_domain_by_domain_is_found_so() -> None:
    assert failed(of_a_group({})) == []


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"code": "Faulted"}, "all are Ready"),
        ({"after": machines(WELL.former, restarts=1)}, "logs is on 2.1.0"),
        ({"batches": ALL_OF_THEM}, "each one update domain whole"),
        ({"batches": IN_TURN[:1]}, "each one update domain whole"),
        ({"batches": AT_ONCE}, "never machines of two update domains"),
        ({"witness": a_witness(most_unready=3)}, "never machines of two update domains"),
        ({"after": machines(WELL.to, restarts=1, uid="another")}, "no machine was restarted"),
        ({"after": machines(WELL.to, restarts=1, os_restarts=1)}, "no machine was restarted"),
        ({"witness": a_witness("db-a", most_unready=2)}, "no machine was restarted"),
    ],
)
def test_what_an_upgrade_of_an_availability_set_must_not_do(what: dict[str, Any], words: str) -> None:
    assert any(words in claim for claim in failed(of_a_group(what)))


def said(output: str) -> set[str]:
    """The lines, without their times."""
    return {re.sub(r"^ *\d+s  ", "", line) for line in output.splitlines() if line}


def shown_in_the_readme() -> set[str]:
    block = re.search(r"^```text\n( +\d+s .*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return said(block[1])


@pytest.mark.requirement("O1", "O2", "O8", "O9c", "O12", "O13", "E1", "E2", "E3", "E5c", "E6", "E9", "E11")
def test_the_demo_ends_well_and_leaves_nothing(control_plane: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        DEMO, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 20 checks hold." in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert shown_in_the_readme() - said(done.stdout) == set()


@pytest.mark.parametrize(
    ("number", "when", "flags"),
    [
        (signal.SIGINT, "etcd, kube-apiserver", ()),
        (signal.SIGINT, "kubectl apply", ("--keep",)),
        (signal.SIGINT, "RollingForward", ()),
        (signal.SIGTERM, "kubectl apply", ("--keep",)),
        (signal.SIGHUP, "etcd, kube-apiserver", ()),
    ],
)
def test_an_interrupt_is_told_in_a_line_and_leaves_nothing(
    control_plane: Any, tmp_path: Path, number: signal.Signals, when: str, flags: tuple[str, ...]
) -> None:
    """Also when it was to be kept: what was not finished is not kept."""
    told, temporary = tmp_path / "told", tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with told.open("w") as output:
        demo = subprocess.Popen([*DEMO, *flags], cwd=tmp_path, stdout=output, stderr=output, env=environment)
    layout = Layout(tmp_path / ".local")
    deadline = time.monotonic() + 60
    while when not in told.read_text():
        assert demo.poll() is None and time.monotonic() < deadline, told.read_text()
        time.sleep(0.05)
    demo.send_signal(number)
    assert demo.wait(timeout=30) == 130
    assert told.read_text().splitlines()[-1] == "interrupted: all that the demo started has been ended"
    assert "Traceback" not in told.read_text()
    assert list(temporary.iterdir()) == []
    assert not layout.state.exists()
    assert not layout.kubeconfig.exists()
