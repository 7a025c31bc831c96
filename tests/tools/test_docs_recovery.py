"""Whatever the operator can say that went wrong, the how-to guides tell what to do about it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from scalesets.cli.views import cures
from scalesets.engine.view import TroubleKind
from scalesets.kube.registry import Reason

ROOT = Path(__file__).parents[2]
PAGES = ("docs/how-to/recover.md", "docs/how-to/discover-versions.md")
SPEAKERS = [
    *sorted((ROOT / "operator/scalesets/engine").glob("*.py")),
    *(
        ROOT / "operator/scalesets/kube" / f"{module}.py"
        for module in ("catalogues", "credentials", "discovered", "models", "reconciler", "registry", "upgrades")
    ),
]
TELLING = {"Condition", "Event", "Missing", "Start", "_refuse", "_wait"}
"""What takes a condition's type or reason, an upgrade's code, or an event's reason."""

WELL = {
    # conditions that tell how it is, their reasons when all is well, and those of work that goes on
    *("Ready", "Reconciling", "Stalled", "Progressing", "AutomaticOSUpgradeEligible", "LastUpgradeSucceeded"),
    *("Complete", "Failed"),
    *("Reconciled", "NotStalled", "Eligible", "UpToDate", "Recorded", "Current"),
    *("Starting", "ScalingIn", "ScalingOut", "RestoringInstances", "ModelUpgrade", "ZoneClosed"),
    # reasons whose condition has an entry
    *("LeftOut", "NoNodeInZone", "PeriodTooLong"),
    # events that only report; what stands in them has an entry
    *("UpgradeStarted", "UpgradeCompleted", "UpgradeCancelled", "UpgradeStopped", "BatchSucceeded", "BatchFailed"),
    *("RollingBack", "VersionsDiscovered", "VersionsWithdrawn", "DiscoveryFailed", "DiscoveryWorks"),
    # other words of the API: kinds, codes, outcomes, why a pod is deleted, what a kubelet says
    *("RollingForward", "RolledBack", "RollBack", "ScaleIn", "ModelChanged", "NotSupported"),
    *("ControllerRevision", "RollingUpgrade", "CreateContainerConfigError"),
}
CAMEL = re.compile(r"(?:[A-Z][a-z]+|OS)+")
HUMPS = re.compile(r"[A-Z][a-z]+(?:[A-Z]+[a-z]*)+")


def said() -> set[str]:
    """Every type, reason and code of the modules that speak to users."""
    words = {kind.value for kind in TroubleKind} | {reason.value for reason in Reason}
    for path in SPEAKERS:
        for node in ast.walk(ast.parse(path.read_text())):
            words.update(of_statement(node))
    return words - exported()


def of_statement(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and HUMPS.fullmatch(node.value):
        yield node.value
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in TELLING:
        for value in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and CAMEL.fullmatch(value.value):
                yield value.value


def exported() -> set[str]:
    """Names of classes that a module lists as its own: no words for users."""
    lists = (
        node.value
        for path in SPEAKERS
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return {name for each in lists for name in ast.literal_eval(each)}


def entries() -> set[str]:
    """What stands as code in the pages."""
    return {word for page in PAGES for word in re.findall(r"`([A-Z][A-Za-z]+)`", (ROOT / page).read_text())}


def test_whatever_goes_wrong_has_an_entry() -> None:
    codes = said()

    assert {"Disabled", "Duplicate", "InstancesFailed", "TemplateRefused", "RegistryBusy", "UpgradeLost"} <= codes
    assert sorted(codes - WELL - entries()) == [], f"say in {PAGES[0]} what to do, or name it as WELL here"


def literals() -> set[str]:
    return {
        node.value
        for path in (ROOT / "operator/scalesets").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_entries_are_of_what_the_operator_says() -> None:
    assert sorted((entries() | WELL) - literals()) == []


def test_explain_knows_every_trouble() -> None:
    assert {kind.value for kind in TroubleKind} - cures.TROUBLES == set()
