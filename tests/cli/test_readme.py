"""The README shows what the commands print."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from cli import golden
from cli.scenes import NOW
from scalesets.cli.render import extensions as drawing
from scalesets.cli.views.extensions import ExtensionView, LastUpgradeView

README = Path(__file__).parents[2] / "README.md"
STOPPED = "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"


def an_extension(
    name: str, type_: str, version: str, latest: str, state: str, last: LastUpgradeView | None
) -> ExtensionView:
    return ExtensionView(
        "", name, "acme", type_, version, {version: 20}, latest, "", state, version, False, True, last, None
    )


def ended(version: str, outcome: str, ago: timedelta, *, reason: str = "") -> LastUpgradeView:
    code = STOPPED if reason else ""
    retry = NOW + timedelta(minutes=5) if reason else None
    return LastUpgradeView("shop-ext-1", version, outcome, code, reason, NOW - ago, retry)


def test_the_extensions_of_a_set() -> None:
    unhealthy = "4 of 4 upgraded instances became unhealthy, more than maxUnhealthyUpgradedInstancePercent=20 allows"
    faulted = ended("1.34.2", "Faulted", timedelta(minutes=5), reason=unhealthy)
    view = [
        an_extension("monitor", "AzureMonitorLinuxAgent", "1.33.0", "1.34.2", "Enabled", faulted),
        an_extension("dependencies", "DependencyAgentLinux", "9.10.18", "9.10.19", "Disabled", None),
        an_extension(
            "vault", "KeyVaultForLinux", "3.0.9", "3.0.9", "Enabled", ended("3.0.9", "Completed", timedelta(days=2))
        ),
    ]

    shown = re.search(r"^\$ kubectl scaleset extensions shop\n(.*?)^\$", README.read_text(), re.MULTILINE | re.DOTALL)

    assert shown is not None
    assert golden.drawn(drawing.render(view, now=NOW), width=120) == shown[1]
