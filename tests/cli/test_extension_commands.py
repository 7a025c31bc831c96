"""``extensions`` and the commands on extension upgrades against a real API server, without an operator (E1, E11)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from cli.conftest import Site
from cli.scenes import NEW, Obj, a_set, an_extension
from cli.test_arguments import a_kubeconfig
from scalesets.cli import extensions
from scalesets.cli.cluster import connect
from scalesets.cli.completion import candidates_for_kubectl
from scalesets.cli.errors import CommandError
from scalesets.cli.fields import at
from scalesets.cli.kubeconfig import Where
from scalesets.cli.whose import known

pytestmark = pytest.mark.timeout(90)


def a_shop(site: Site, *, mode: str = "Rolling", supported: bool = True, kind: str = "ScaleSet") -> Obj:
    """A set (or machine) with the extensions `monitor` and `logs`, both published as acme's."""
    for name in ("monitor", "logs"):
        extension = an_extension(name, "1.0.0", "1.1.0", "2.0.0", supported=supported or name == "logs")
        head = {"apiVersion": "scalesets.dev/v1alpha1", "kind": "Extension"}
        site.create({**head, **extension, "metadata": {"name": f"acme-{name}"}})
    scene = a_set(replicas=3).on(NEW).with_extensions("monitor", "logs", enabled=False)
    observed = {"observedGeneration": 1, "location": "westeurope"}
    status = {**observed, "extensions": scene.status["extensions"], "instances": scene.status["instances"]}
    if kind == "ScaleSet":
        spec = scene.spec | {"upgradePolicy": {"mode": mode}}
        return site.create(scene.scale_set | {"spec": spec, "status": status})
    spec = {key: scene.spec[key] for key in ("imageReference", "extensions", "template")}
    body = {"apiVersion": "scalesets.dev/v1alpha1", "kind": kind, "metadata": {"name": "db-0"}}
    return site.create({**body, "spec": spec, "status": {**status, "instances": []}})


def flags(site: Site, kind: str = "vmss", name: str = "web") -> dict[str, bool]:
    obj = json.loads(site.kubectl("get", kind, name, "-o", "json"))
    return {e["name"]: bool(e.get("enableAutomaticUpgrade")) for e in obj["spec"]["extensions"]}


# -- extensions --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("E11")
def test_what_is_installed_and_what_is_published(site: Site) -> None:
    a_shop(site)

    monitor, logs = site.json("extensions", "web")

    assert (monitor["version"], monitor["latest"], monitor["newerMajor"]) == ("1.0.0", "1.1.0", "2.0.0")
    assert (monitor["automaticUpgrade"], logs["automaticUpgrade"]) == ("Disabled", "Disabled")
    assert monitor["versions"] == {"1.0.0": 3}
    table = site.scalesets("extensions", "web").stdout
    assert table.splitlines()[0].split() == ["NAME", "TYPE", "VERSION", "LATEST", "AUTOMATIC-UPGRADE", "LAST-UPGRADE"]
    published = site.json("extensions")
    assert {e["type"] for e in published} >= {"Logs", "Monitor"}
    (of_set, _) = site.json("extensions", "web", "--versions")
    assert [v["version"] for v in of_set["versions"] if v["latest"]] == ["2.0.0", "1.1.0"]
    assert "3 instances of web" in site.scalesets("extensions", "web", "--versions").stdout


@pytest.mark.requirement("E1", "E11")
def test_enabling_and_disabling(site: Site) -> None:
    a_shop(site)

    result = site.scalesets("extensions", "web", "--enable", "monitor", "--enable", "logs")

    assert result.exit_code == 0, result.output
    assert "scaleset.scalesets.dev/web: automatic upgrade of monitor is Enabled\n" in result.stdout
    assert flags(site) == {"monitor": True, "logs": True}
    told = site.json("extensions", "web", "--disable", "logs")
    assert [e["automaticUpgrade"] for e in told] == ["Enabled", "Disabled"]
    assert flags(site) == {"monitor": True, "logs": False}
    assert "is Disabled already" in site.scalesets("extensions", "web", "--disable", "logs").stdout


@pytest.mark.requirement("E11")
def test_enabling_what_is_not_supported_is_refused_and_disabling_is_not(site: Site) -> None:
    a_shop(site, supported=False)

    result = site.scalesets("extensions", "web", "--enable", "logs", "--enable", "monitor")

    assert result.exit_code == 1
    assert "acme/Monitor doesn't support automatic upgrade" in result.stderr
    assert flags(site) == {"monitor": False, "logs": False}, "nothing is changed by halves"
    assert site.scalesets("extensions", "web", "--disable", "monitor").exit_code == 0


def test_an_unknown_extension_is_told_with_the_known_ones(site: Site) -> None:
    a_shop(site)

    result = site.scalesets("extensions", "web", "--enable", "moniter")

    assert result.exit_code == 3
    assert "web has no extension moniter (it has: monitor, logs)" in result.stderr
    assert "it has: monitor, logs" in site.scalesets("start", "web", "--extension", "moniter").stderr
    assert not site.upgrades()


@pytest.mark.requirement("E10")
def test_in_manual_mode_enabling_says_what_is_left_to_do(site: Site) -> None:
    a_shop(site, mode="Manual")

    assert "scalesets update-instances web" in site.scalesets("extensions", "web", "--enable", "logs").stderr


@pytest.mark.requirement("E1", "E11")
def test_a_machine(site: Site) -> None:
    a_shop(site, kind="VirtualMachine")

    result = site.scalesets("extensions", "vm/db-0", "--enable", "monitor")

    assert result.exit_code == 0, result.output
    assert "virtualmachine.scalesets.dev/db-0: automatic upgrade of monitor is Enabled" in result.stdout
    assert flags(site, "virtualmachines.scalesets.dev", "db-0") == {"monitor": True, "logs": False}
    assert [e["automaticUpgrade"] for e in site.json("extensions", "vm/db-0")] == ["Enabled", "Disabled"]
    assert 'no VirtualMachine "db-1" in namespace' in site.scalesets("extensions", "vm/db-1").stderr


async def test_a_writer_who_reorders_the_list_meanwhile_loses_nothing(site: Site) -> None:
    """The patch was made for another order: it is refused by its test, and made anew."""
    a_shop(site)
    where = Where(kubeconfig=str(site.plane.kubeconfig), context="", namespace=site.namespace)
    async with connect(where) as cluster:
        read = cluster.fleet
        first: list[Any] = []

        async def overtaken(named: Any) -> Obj:
            fleet = await read(named)
            if not first:
                first.append(fleet)
                turned = list(reversed(at(fleet, "spec.extensions")))
                patch = json.dumps([{"op": "replace", "path": "/spec/extensions", "value": turned}])
                site.kubectl("patch", "vmss", "web", "--type=json", "-p", patch)
            return fleet

        cluster.fleet = overtaken  # type: ignore[method-assign]
        await extensions.switch(cluster, known("web"), {"monitor": True}, "", quiet=True)
    assert flags(site) == {"logs": False, "monitor": True}


async def test_a_refusal_that_has_another_cause_is_told(site: Site) -> None:
    a_shop(site)
    where = Where(kubeconfig=str(site.plane.kubeconfig), context="", namespace=site.namespace)
    async with connect(where) as cluster:
        broken = [{"op": "add", "path": "/spec/updateDomains", "value": 7}]
        with pytest.raises(CommandError, match="refuses ScaleSet"):
            await cluster.patch_fleet(known("web"), broken)


# -- upgrades ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("E1")
def test_start_creates_a_users_extension_upgrade(site: Site) -> None:
    a_shop(site)

    result = site.scalesets("start", "web", "--extension", "logs", "--extension", "monitor")

    (upgrade,) = site.upgrades()
    assert result.exit_code == 0, result.output
    assert upgrade["metadata"]["name"].startswith("web-ext-")
    assert "logs and monitor to the latest of their majors" in result.stdout
    assert (upgrade["spec"]["type"], upgrade["spec"]["extensions"]) == ("Extension", ["logs", "monitor"])
    assert [u["namedExtensions"] for u in site.json("history", "web")] == [["logs", "monitor"]]
    site.scalesets("start", "web", "--all-extensions")
    assert sorted(len(u["spec"].get("extensions") or ()) for u in site.upgrades()) == [0, 2]


@pytest.mark.requirement("E1")
def test_a_machines_upgrade_is_started_shown_and_cancelled(site: Site) -> None:
    a_shop(site, kind="VirtualMachine")

    started = site.scalesets("start", "vm/db-0", "--extension", "monitor")

    (upgrade,) = site.upgrades()
    assert started.exit_code == 0, started.output
    assert (upgrade["spec"]["virtualMachine"], upgrade["spec"]["extensions"]) == ("db-0", ["monitor"])
    assert "scalesets status vm/db-0 --watch" in started.stderr
    assert upgrade["metadata"]["name"] in site.scalesets("history", "vm/db-0").stdout
    assert site.scalesets("cancel", "vm/db-0").exit_code == 0
    assert site.upgrades()[0]["spec"]["cancel"] is True


@pytest.mark.requirement("E11")
def test_an_availability_set_shows_the_extensions_of_its_machines(site: Site) -> None:
    site.kubectl(
        "create",
        "-f",
        "-",
        stdin=json.dumps(
            {"apiVersion": "scalesets.dev/v1alpha1", "kind": "AvailabilitySet", "metadata": {"name": "db"}, "spec": {}}
        ),
    )
    scene = a_set(replicas=1).on(NEW).with_extensions("monitor")
    spec = {key: scene.spec[key] for key in ("imageReference", "extensions", "template")} | {"availabilitySet": "db"}
    for name in ("db-1", "db-0"):
        body = {"apiVersion": "scalesets.dev/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": name}}
        site.create({**body, "spec": spec})

    assert [(e["machine"], e["name"]) for e in site.json("extensions", "avset/db")] == [
        ("db-0", "monitor"),
        ("db-1", "monitor"),
    ]
    table = site.scalesets("extensions", "avset/db").stdout.splitlines()
    assert [line.split()[:5] for line in table[:2]] == [
        ["NAME", "TYPE", "MACHINES", "VERSION", "LATEST"],
        ["monitor", "Monitor", "2", "of", "2"],
    ]
    assert "it has: monitor" in site.scalesets("start", "avset/db", "--extension", "moniter").stderr
    site.scalesets("start", "avset/db", "--extension", "monitor")
    assert site.upgrades()[0]["spec"]["availabilitySet"] == "db"
    member = site.scalesets("start", "vm/db-0", "--extension", "monitor")
    assert member.exit_code == 1
    assert "scalesets start avset/db --extension monitor" in member.stderr
    instances = site.json("instances", "avset/db")  # the older first, and both may be of one second
    assert sorted(i["name"] for i in instances) == ["db-0", "db-1"]
    assert site.json("status", "avset/db")["queued"], "the upgrade that has not begun"
    assert "vm/db-0" in site.scalesets("status", "db-0").stderr
    assert "write avset/db: there is an AvailabilitySet" in site.scalesets("status", "vm/db").stderr


@pytest.mark.requirement("E5b")
def test_who_may_not_look_into_other_namespaces_is_told_so(site: Site, tmp_path: Path) -> None:
    a_shop(site, kind="VirtualMachine")
    site.kubectl("create", "serviceaccount", "tenant")
    site.kubectl("create", "role", "tenant", "--verb=get,list", "--resource=*.scalesets.dev,pods")
    site.kubectl("create", "rolebinding", "tenant", "--role=tenant", f"--serviceaccount={site.namespace}:tenant")
    config = yaml.safe_load(site.plane.kubeconfig.read_text())
    user = config["contexts"][0]["context"]["user"]
    token = site.kubectl("create", "token", "tenant").strip()
    config["users"] = [{"name": user, "user": {"token": token}}]
    own = tmp_path / "tenant"
    own.write_text(yaml.safe_dump(config))
    flags = ("-n", site.namespace, "--kubeconfig", str(own), "--catalog-namespace", site.namespace)

    found = site.run("plan", "vm/db-0", *flags)
    explained = site.run("explain", "vm/db-0", *flags, "-o", "json")

    assert explained.exit_code == 0, explained.output
    told = json.loads(explained.stdout)
    assert "virtualmachines of other namespaces" in told["unread"]
    assert [f["message"] for f in told["findings"] if f["reason"] == "TurnUnknown"], "nothing is promised"
    assert found.exit_code in (0, 1), found.output
    assert "not allowed" not in found.output


def test_names_are_completed_for_all_kinds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    a_shop(site)
    monkeypatch.setenv("KUBECONFIG", str(site.plane.kubeconfig))
    scene = a_set(replicas=1)
    spec = {key: scene.spec[key] for key in ("imageReference", "template")}
    head = {"apiVersion": "scalesets.dev/v1alpha1"}
    site.create({**head, "kind": "VirtualMachine", "metadata": {"name": "db-0"}, "spec": spec})
    site.create({**head, "kind": "AvailabilitySet", "metadata": {"name": "db"}, "spec": {}})

    def completed(word: str) -> list[str]:
        found = candidates_for_kubectl(["status", "-n", site.namespace, word])
        return [line.split("\t")[0] for line in found[:-1]]

    assert completed("") == ["web", "vm/db-0", "avset/db"]
    assert completed("v") == ["vm/db-0"]
    assert completed("virtualmachine/") == ["virtualmachine/db-0"]
    assert completed("avset/d") == ["avset/db"]
    assert completed("vmss/") == ["vmss/web"]


# -- arguments, which need no cluster ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["extensions", "web", "--enable", "a", "--disable", "a"], "both --enable and --disable a"),
        (["extensions", "--enable", "a"], "whose extensions?"),
        (["extensions", "web", "--enable", "a", "--versions"], "--versions changes nothing"),
        (["extensions", "avset/db", "--enable", "a"], "each of its machines has its own"),
        (["extensions", "pod/web"], "no name of a scale set"),
        (["update-instances", "vm/db-0", "--all"], "a change of a machine's model applies at once"),
        (["approve", "avset/db", "--all"], "machines get no OS upgrades"),
        (["images", "vm/db-0"], "a machine keeps the image"),
        (["start", "vm/db-0"], "scalesets start vm/db-0 --extension NAME, or --all-extensions"),
        (["plan", "avset/db", "--type", "OSImage"], "only their extensions are upgraded"),
        (["plan", "vm/db-0", "--by-hand"], "only their extensions are upgraded"),
        (["plan", "vm/db-0", "0"], "has no instances to name"),
        (["start", "web", "--extension", "a", "--all-extensions"], "not both"),
    ],
)
def test_wrong_arguments_are_told(
    scalesets: Callable[..., Result], tmp_path: Any, arguments: list[str], words: str
) -> None:
    result = scalesets(*arguments, "--kubeconfig", a_kubeconfig(tmp_path))

    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize("given", ["vm/db-0", "virtualmachine/db-0", "virtualmachines.scalesets.dev/db-0", "VM/db-0"])
def test_a_machine_is_named_as_kubectl_names_it(given: str) -> None:
    assert str(known(given)) == "vm/db-0"
    assert str(known("vmss/web")) == "web"
