"""The published list of extensions that support automatic upgrade: as data, and as manifests (E11)."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from scalesets.api.extension import Extension
from scalesets.api.supported import is_supported, supported_extensions

EXAMPLES = Path(__file__).parents[2] / "examples"
SUPPORTED = EXAMPLES / "extensions/supported.yaml"


def objects(*paths: Path) -> list[dict[str, Any]]:
    return [body for path in paths for body in yaml.safe_load_all(path.read_text())]


@pytest.mark.requirement("E11")
def test_the_published_list() -> None:
    systems: dict[str, list[str]] = {}
    for each in supported_extensions():
        systems.setdefault(each.name, []).append(each.os_type.value)

    both, linux = ["Linux", "Windows"], ["Linux"]
    assert systems == {
        "Azure Automation Hybrid Worker extension": both,
        "Dependency agent": both,
        "Application Health extension": both,
        "Guest Attestation extension": both,
        "Guest Configuration extension": both,
        "Azure Key Vault extension": both,
        "Azure Monitor Agent": both,
        "Log Analytics agent": linux,
        "Azure Diagnostics extension": linux,
        "Azure Service Fabric": linux,
    }
    assert is_supported("Microsoft.Azure.Monitoring.DependencyAgent", "DependencyAgentWindows")
    assert is_supported("Microsoft.GuestConfiguration", "ConfigurationForLinux"), "spelled in two ways by its publisher"
    assert not is_supported("Microsoft.Azure.Monitoring.DependencyAgent", "KeyVaultForLinux")


@pytest.mark.requirement("E11")
def test_each_has_a_ready_manifest() -> None:
    manifests = [Extension.model_validate(body).spec for body in objects(SUPPORTED)]

    assert [(m.publisher, m.type, m.os_type) for m in manifests] == [
        (each.publisher, each.type, each.os_type) for each in supported_extensions()
    ]
    assert all(m.supports_automatic_upgrade and m.versions for m in manifests)
    assert all(m.container["startupProbe"] and m.container["readinessProbe"] for m in manifests)
    assert {m.type for m in manifests if m.reports_application_health} == {
        "ApplicationHealthLinux",
        "ApplicationHealthWindows",
    }


def test_extensions_that_can_meet_on_an_instance_listen_on_ports_of_their_own() -> None:
    """The containers of a pod share its network."""
    ports = [
        body["spec"]["container"]["startupProbe"]["httpGet"]["port"]
        for body in objects(SUPPORTED)
        if body["spec"]["osType"] == "Linux"
    ]

    assert len(set(ports)) == len(ports) == 10


def test_the_examples_name_extensions_that_are_there() -> None:
    bodies = objects(*EXAMPLES.rglob("*.yaml"))
    published = {
        (body["spec"]["publisher"], body["spec"]["type"]): {
            version["version"].rpartition(".")[0] for version in body["spec"]["versions"]
        }
        for body in bodies
        if body["kind"] == "Extension"
    }
    named = [
        extension
        for body in bodies
        if body["kind"] in ("ScaleSet", "VirtualMachine")
        for extension in body["spec"].get("extensions", ())
    ]

    assert named
    for extension in named:
        assert extension["typeHandlerVersion"] in published[extension["publisher"], extension["type"]], extension
