"""What the chart renders to: restricted pods, least rights, and what each switch switches."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from charts import CHART, NAMESPACE, RELEASE, ROOT, Body, Helm, Rendered
from typer.testing import CliRunner

from scalesets.api import generate
from scalesets.cli.commands import app

WRITES = {"create", "update", "patch", "delete", "deletecollection", "*"}


def test_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_its_version_is_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert chart["version"] == chart["appVersion"] == version[1]


@pytest.mark.parametrize("version", ["1.31.9", "1.31.4-gke.100", "1.20.0"])
def test_helm_refuses_a_cluster_that_is_too_old(helm: Helm, version: str) -> None:
    with pytest.raises(Exception, match=r"kubeVersion: >=1\.32\.0-0 which is incompatible"):
        helm.render(f"--kube-version={version}")


@pytest.mark.parametrize("version", ["1.32.0", "1.33.1-eks-abc", "1.40.0"])
def test_helm_takes_others(helm: Helm, version: str) -> None:
    assert helm.render(f"--kube-version={version}").one("Deployment")


class TestPods:
    def test_all_are_as_pod_security_restricted_wants(self, rendered: Rendered) -> None:
        pods = rendered.pods()
        assert set(pods) == {"Deployment", "Job", "Pod"}
        for pod in pods.values():
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in pod["containers"]:
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False
                assert context["readOnlyRootFilesystem"] is True
                assert context["capabilities"] == {"drop": ["ALL"]}
                assert container["resources"]["requests"] and container["resources"]["limits"]

    def test_two_operators_on_different_nodes_if_there_are(self, rendered: Rendered) -> None:
        deployment = rendered.one("Deployment")
        assert deployment["spec"]["replicas"] == 2
        affinity = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        (term,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
        assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"

    def test_each_is_probed(self, rendered: Rendered) -> None:
        (container,) = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}
        assert {"name": "health", "containerPort": 8080} in container["ports"]
        assert "--liveness=8080" in container["args"]

    def test_the_operators_selector_takes_neither_hook_nor_test(self, rendered: Rendered) -> None:
        selector = rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
        for other in (
            rendered.one("Job", f"{RELEASE}-uninstall")["spec"]["template"],
            rendered.one("Pod", f"{RELEASE}-test"),
        ):
            assert not selector.items() <= other["metadata"]["labels"].items()
        assert selector.items() <= rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
        assert rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == selector

    def test_the_image_by_tag_or_digest(self, helm: Helm) -> None:
        digest = f"sha256:{'a' * 64}"
        for image, name in (
            ({}, "scaleset-operator:0.1.0"),
            ({"repository": "registry.example/x", "tag": "v9"}, "registry.example/x:v9"),
            ({"repository": "registry.example/x", "tag": "v9", "digest": digest}, f"registry.example/x@{digest}"),
        ):
            for pod in helm.render(image=image).pods().values():
                assert [container["image"] for container in pod["containers"]] == [name]

    def test_where_they_run_and_what_pulls_them(self, helm: Helm) -> None:
        bears = [{"key": "a", "operator": "Exists"}]
        values = {"imagePullSecrets": [{"name": "s"}], "nodeSelector": {"a": "b"}, "tolerations": bears}
        for pod in helm.render(**values, priorityClassName="high").pods().values():
            assert {key: pod[key] for key in values} == values
            assert pod["priorityClassName"] == "high"

    def test_how_they_spread(self, helm: Helm) -> None:
        spread = [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}]
        pods = helm.render(topologySpreadConstraints=spread).pods()
        assert pods["Deployment"]["topologySpreadConstraints"] == spread
        assert "topologySpreadConstraints" not in pods["Job"]

    def test_volumes_of_ones_own(self, helm: Helm) -> None:
        """The authorities of a registry with a certificate of its own, for one."""
        volume, mount = {"name": "ca", "configMap": {"name": "ca"}}, {"name": "ca", "mountPath": "/etc/ca"}
        pod = helm.render(extraVolumes=[volume], extraVolumeMounts=[mount]).pods()["Deployment"]
        assert [each["name"] for each in pod["volumes"]] == ["tmp", "ca"] and pod["volumes"][1] == volume
        assert pod["containers"][0]["volumeMounts"][1] == mount

    def test_environment_and_labels(self, helm: Helm) -> None:
        proxy = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
        pods = helm.render(env=[proxy], podLabels={"team": "x"}, podAnnotations={"y": "z"})
        for pod in pods.pods().values():
            assert proxy in pod["containers"][0]["env"]
        metadata = pods.one("Deployment")["spec"]["template"]["metadata"]
        assert (metadata["labels"]["team"], metadata["annotations"]["y"]) == ("x", "z")


def environment(rendered: Rendered) -> dict[str, Any]:
    """The operator's variables, with their values or where these come from."""
    (container,) = rendered.pods()["Deployment"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.fixture(scope="module")
def all_of_them(helm: Helm) -> Rendered:
    """With a value for everything that becomes a flag."""
    return helm.render(
        watchNamespaces=["a", "b"],
        catalogNamespace="c",
        timing="azure",
        firstTriggerDelay="PT3H",
        triggerDelayMin="PT1M",
        triggerDelayMax="PT2M",
        extensionRetryInterval="P3D",
        preflight={"readSecrets": "off"},
        discovery={"registries": ["registry.example", "*.team.example:5000"]},
        watchPatience="PT2M",
        logFormat="text",
        verbose=True,
    )


class TestArguments:
    """What the pods are told, they understand."""

    def test_every_flag_is_one(self, all_of_them: Rendered) -> None:
        for kind, pod in all_of_them.pods().items():
            command, *flags = pod["containers"][0]["args"]
            known = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300", "TERM": "dumb"}).output
            for flag in flags:
                assert flag.partition("=")[0] in known, f"{kind}: {command} knows no {flag}"

    def test_values_become_flags(self, all_of_them: Rendered) -> None:
        assert all_of_them.arguments() == [
            "operator",
            "--namespace=a",
            "--namespace=b",
            "--catalog-namespace=c",
            "--no-read-secrets",
            "--timing=azure",
            "--first-trigger-delay=PT3H",
            "--trigger-delay-min=PT1M",
            "--trigger-delay-max=PT2M",
            "--extension-retry-interval=P3D",
            "--discovery-registries=registry.example,*.team.example:5000",
            "--default-location=local",
            "--watch-patience=PT2M",
            "--log-format=text",
            "--verbose",
            "--liveness=8080",
            "--metrics=9090",
        ]

    def test_discovery_off(self, helm: Helm) -> None:
        off = helm.render(discovery={"enabled": False, "registries": ["registry.example"]}).arguments()
        assert [flag for flag in off if "discovery" in flag] == ["--no-discovery"]

    def test_the_check_looks_at_what_the_operator_will_do(self, all_of_them: Rendered) -> None:
        (container,) = all_of_them.one("Pod", f"{RELEASE}-test")["spec"]["containers"]
        assert container["args"] == [*all_of_them.arguments()[:5], "--check"]

    def test_finalizers_are_released_where_the_operator_put_them(self, all_of_them: Rendered) -> None:
        (container,) = all_of_them.one("Job", f"{RELEASE}-uninstall")["spec"]["template"]["spec"]["containers"]
        assert container["args"] == [
            "release-finalizers",
            "--namespace=a",
            "--namespace=b",
            f"--lease-namespace={NAMESPACE}",
        ]


class TestRights:
    def test_cluster_wide_they_are_those_of_the_files(self, rendered: Rendered) -> None:
        for name, file in (("", "clusterrole"), ("-cluster", "clusterrole-cluster")):
            rules = yaml.safe_load((CHART / "files" / f"{file}.yaml").read_text())["rules"]
            assert rendered.one("ClusterRole", f"{RELEASE}{name}")["rules"] == rules
            assert bound_to(rendered.one("ClusterRoleBinding", f"{RELEASE}{name}")) == (f"{RELEASE}{name}", RELEASE)

    def test_the_operator_reads_no_secret_and_writes_no_node_namespace_or_role(self, rendered: Rendered) -> None:
        for role in of_the_operator(rendered):
            for rule in role["rules"]:
                assert "*" not in (*rule["resources"], *rule["verbs"], *rule["apiGroups"])
                assert not {"secrets", "pods/exec", "serviceaccounts", "serviceaccounts/token"} & set(rule["resources"])
                assert "rbac.authorization.k8s.io" not in rule["apiGroups"]
                if WRITES & set(rule["verbs"]):
                    assert not {"nodes", "namespaces", "configmaps", "customresourcedefinitions"} & set(
                        rule["resources"]
                    )

    def test_in_chosen_namespaces_it_has_no_rights_elsewhere(self, helm: Helm) -> None:
        chosen = helm.render(watchNamespaces=["a", "b"])
        wide = {each["metadata"]["name"] for each in chosen.all("ClusterRoleBinding") if bound_to(each)[1] == RELEASE}
        assert wide == {f"{RELEASE}-cluster"}
        bindings = {
            (each["metadata"]["namespace"], each["roleRef"]["name"])
            for each in chosen.all("RoleBinding")
            if bound_to(each)[1] == RELEASE and "hook" not in str(each["metadata"].get("annotations"))
        }
        assert bindings == {
            ("a", RELEASE),
            ("b", RELEASE),
            ("a", f"{RELEASE}-preflight"),
            ("b", f"{RELEASE}-preflight"),
            (NAMESPACE, f"{RELEASE}-catalog"),
            (NAMESPACE, f"{RELEASE}-lease"),
        }

    def test_in_chosen_namespaces_it_looks_at_no_other(self, helm: Helm) -> None:
        rules = helm.render(watchNamespaces=["a", "b"]).one("ClusterRole", f"{RELEASE}-cluster")["rules"]
        (rule,) = [rule for rule in rules if rule["resources"] == ["namespaces"]]
        assert rule == {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["a", "b"], "verbs": ["get"]}

    def test_a_catalog_that_is_watched_needs_no_role_of_its_own(self, helm: Helm) -> None:
        chosen = helm.render(watchNamespaces=["a", NAMESPACE])
        assert f"{RELEASE}-catalog" not in chosen.names("ClusterRole") | chosen.names("RoleBinding")

    def test_secrets_by_default_in_the_chosen_namespaces_only(self, helm: Helm, rendered: Rendered) -> None:
        assert f"{RELEASE}-preflight" not in rendered.names("Role") | rendered.names("ClusterRole")
        chosen = helm.render(watchNamespaces=["a"])
        assert chosen.rules("Role", f"{RELEASE}-preflight", "a") == {("", "secrets", "get")}
        assert f"{RELEASE}-preflight" not in chosen.names("ClusterRole")

    def test_secrets_everywhere_must_be_chosen(self, helm: Helm) -> None:
        everywhere = helm.render(preflight={"readSecrets": "cluster"}, watchNamespaces=["a"])
        assert everywhere.rules("ClusterRole", f"{RELEASE}-preflight") == {("", "secrets", "get")}
        assert f"{RELEASE}-preflight" not in everywhere.names("Role")

    def test_secrets_nowhere(self, helm: Helm) -> None:
        nowhere = helm.render(preflight={"readSecrets": "off"}, watchNamespaces=["a"])
        assert f"{RELEASE}-preflight" not in nowhere.names("Role") | nowhere.names("ClusterRole")
        assert "--no-read-secrets" in nowhere.arguments()

    def test_pull_secrets_of_the_catalog_must_be_chosen(self, helm: Helm, rendered: Rendered) -> None:
        name = f"{RELEASE}-preflight-catalog"
        assert name not in rendered.names("Role")
        chosen = helm.render(discovery={"catalogPullSecrets": True}, catalogNamespace="shop")
        assert chosen.rules("Role", name, "shop") == {("", "secrets", "get")}
        assert bound_to(chosen.one("RoleBinding", name, "shop")) == (name, RELEASE)

    def test_switched_off(self, helm: Helm) -> None:
        without = helm.render(rbac={"create": False, "aggregate": False, "catalogReaders": False})
        assert without.names("ClusterRole") == {f"{RELEASE}-uninstall"}
        assert without.names("Role") == {f"{RELEASE}-uninstall-lease"}

    def test_users_view_all_our_kinds_and_edit_those_of_their_namespace(self, rendered: Rendered) -> None:
        view, edit = (rendered.one("ClusterRole", f"{RELEASE}-{each}") for each in ("view", "edit"))
        assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
        assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
        assert rendered.rules("ClusterRole", f"{RELEASE}-view") == {
            ("scalesets.dev", "*", verb) for verb in ("get", "list", "watch")
        }
        editable = {resource for _, resource, _ in rendered.rules("ClusterRole", f"{RELEASE}-edit")}
        ours = {kind.kind_info.plural for kind in generate.KINDS} - {"regions", "platformrollouts"}
        assert editable == ours | {"scalesets/scale"}

    def test_everybody_may_read_the_catalog_unless_switched_off(self, helm: Helm, rendered: Rendered) -> None:
        name = f"{RELEASE}-catalog-reader"
        assert rendered.rules("Role", name, NAMESPACE) == {
            ("scalesets.dev", resource, verb)
            for resource in ("galleryimages", "extensions")
            for verb in ("get", "list", "watch")
        }
        assert bound_to(rendered.one("RoleBinding", name)) == (name, "system:authenticated")
        assert helm.render(catalogNamespace="shop").one("Role", name)["metadata"]["namespace"] == "shop"
        assert name not in helm.render(rbac={"catalogReaders": False}).names("Role")

    def test_the_hook_may_release_and_see_who_leads_and_nothing_else(self, rendered: Rendered) -> None:
        name = f"{RELEASE}-uninstall"
        assert rendered.rules("ClusterRole", name) == {
            ("scalesets.dev", "rollingupgrades", v) for v in ("list", "patch")
        }
        assert rendered.rules("Role", f"{name}-lease") == {("coordination.k8s.io", "leases", "get")}

    def test_one_account_is_used_throughout(self, helm: Helm) -> None:
        own = helm.render(serviceAccount={"create": False, "name": "mine"})
        assert own.names("ServiceAccount") == {f"{RELEASE}-uninstall"}
        assert own.pods()["Deployment"]["serviceAccountName"] == own.pods()["Pod"]["serviceAccountName"] == "mine"
        assert bound_to(own.one("ClusterRoleBinding", RELEASE)) == (RELEASE, "mine")


class TestSwitches:
    def test_crds_are_the_generated_ones_and_stay(self, helm: Helm) -> None:
        crds = helm.render(crds=True).all("CustomResourceDefinition")
        assert crds == sorted((generate.crd(kind) for kind in generate.KINDS), key=lambda crd: crd["metadata"]["name"])
        assert all(crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for crd in crds)
        assert not helm.render().all("CustomResourceDefinition")

    def test_a_budget_only_where_there_are_two(self, helm: Helm) -> None:
        assert not helm.render(replicas=1).all("PodDisruptionBudget")
        assert not helm.render(podDisruptionBudget={"enabled": False}).all("PodDisruptionBudget")
        budget = helm.render(replicas=2).one("PodDisruptionBudget")["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow", "operators that crash don't hold up a drain"

    def test_the_network(self, helm: Helm, rendered: Rendered) -> None:
        policy = rendered.one("NetworkPolicy")["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": port}]} for port in (8080, 9090)]
        assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [443, 6443, 53, 53]
        own = helm.render(networkPolicy={"apiServerPorts": [8443], "extraEgress": [{"ports": [{"port": 5000}]}]})
        egress = own.one("NetworkPolicy")["spec"]["egress"]
        assert [port["port"] for rule in egress for port in rule["ports"]] == [8443, 53, 53, 5000]
        only = [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
        narrow = helm.render(networkPolicy={"apiServerTo": only}).one("NetworkPolicy")["spec"]["egress"]
        assert [rule.get("to") for rule in narrow] == [only, None]
        hook = own.one("NetworkPolicy", f"{RELEASE}-uninstall")["spec"]
        assert (hook["ingress"], hook["egress"]) == ([], egress)
        job = own.one("Job", f"{RELEASE}-uninstall")["spec"]["template"]["metadata"]["labels"]
        assert hook["podSelector"]["matchLabels"].items() <= job.items()
        assert not helm.render(networkPolicy={"enabled": False}).all("NetworkPolicy")

    def test_metrics(self, helm: Helm, rendered: Rendered) -> None:
        assert not rendered.all("ServiceMonitor") and not rendered.all("ConfigMap")
        off = helm.render(metrics={"enabled": False})
        assert not off.all("Service") and not any("--metrics" in flag for flag in off.arguments())
        on = helm.render(
            metrics={"enabled": True, "port": 9191, "serviceMonitor": {"enabled": True, "labels": {"release": "prom"}}},
            networkPolicy={"metricsFrom": [{"podSelector": {}}]},
        )
        assert "--metrics=9191" in on.arguments()
        service, monitor = on.one("Service", f"{RELEASE}-metrics"), on.one("ServiceMonitor")
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["metadata"]["labels"]["release"] == "prom"
        assert service["spec"]["selector"] == on.one("Deployment")["spec"]["selector"]["matchLabels"]
        ingress = on.one("NetworkPolicy")["spec"]["ingress"][1]
        assert ingress == {"ports": [{"protocol": "TCP", "port": 9191}], "from": [{"podSelector": {}}]}

    def test_traces_are_sent_where_they_are_wanted(self, helm: Helm, rendered: Rendered) -> None:
        assert not [name for name in environment(rendered) if name.startswith("OTEL")]
        secret = {"name": "collector", "key": "token"}
        on = helm.render(tracing={"endpoint": "http://collector.o11y:4318", "lookRatio": 0.05, "headersSecret": secret})
        assert environment(on) == environment(rendered) | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.o11y:4318",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.05",
            "OTEL_EXPORTER_OTLP_HEADERS": {"secretKeyRef": secret},
        }
        plain = helm.render(tracing={"endpoint": "http://collector.o11y:4318"})
        assert environment(plain)["OTEL_TRACES_SAMPLER_ARG"] == "1"
        assert "OTEL_EXPORTER_OTLP_HEADERS" not in environment(plain)

    @pytest.mark.parametrize(
        ("endpoint", "port"),
        [
            ("http://collector.o11y:4318", 4318),
            ("https://collector.example/otlp", 443),
            ("http://collector", 80),
            ("http://[fd00::1]:4318", 4318),
            ("http://[fd00::1]", 80),
        ],
    )
    def test_the_network_lets_traces_through(self, helm: Helm, endpoint: str, port: int) -> None:
        *_, rule = helm.render(tracing={"endpoint": endpoint}).one("NetworkPolicy")["spec"]["egress"]
        assert rule == {"ports": [{"protocol": "TCP", "port": port}]}

    def test_dashboards_lie_in_one_configmap(self, helm: Helm) -> None:
        on = helm.render(metrics={"dashboard": {"enabled": True}}).one("ConfigMap", f"{RELEASE}-dashboards")
        assert on["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert set(on.get("data") or {}) == {path.name for path in (CHART / "files/dashboards").glob("*.json")}

    def test_the_uninstall_hook(self, helm: Helm, rendered: Rendered) -> None:
        parts = [each for each in rendered.objects if "uninstall" in each["metadata"]["name"]]
        assert len(parts) == 7
        for each in parts:
            assert each["metadata"]["annotations"]["helm.sh/hook"] == "post-delete"
        weights = {each["kind"]: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in parts}
        assert weights["ServiceAccount"] < weights["RoleBinding"] < weights["Job"] > weights["NetworkPolicy"]
        off = helm.render(uninstall={"releaseFinalizers": False})
        assert not [each for each in off.objects if "uninstall" in each["metadata"]["name"]]

    def test_the_uninstall_hook_makes_nothing_in_the_namespaces_that_are_served(self, helm: Helm) -> None:
        """One of them may be gone by then, or on its way out."""
        hooks = [each for each in helm.render(watchNamespaces=["a"]).objects if "uninstall" in each["metadata"]["name"]]
        assert {each["metadata"].get("namespace", NAMESPACE) for each in hooks} == {NAMESPACE}

    def test_a_releases_name_with_dots(self, helm: Helm) -> None:
        text = helm("template", "fleet.eu", str(CHART), "--set=crds.install=false")
        names = {each["metadata"]["name"] for each in yaml.safe_load_all(text) if each}
        assert all(name.startswith("fleet-eu") for name in names), names

    def test_another_name(self, helm: Helm) -> None:
        own = helm.render(fullnameOverride="fleet")
        names = {each["metadata"]["name"] for each in own.objects}
        assert all(name.startswith("fleet") for name in names), names


def test_the_plain_manifests_are_those_of_the_chart(helm: Helm) -> None:
    """`deploy/` is for those without helm; `make manifests` writes it."""
    stored = [each for each in yaml.safe_load_all((ROOT / "deploy/scaleset-operator.yaml").read_text()) if each]
    assert stored == helm.render("--no-hooks").objects, "run `make manifests` and commit the result"


def test_the_namespace_is_not_deleted_with_the_plain_manifests() -> None:
    """Users' images and extensions lie in it."""
    files = sorted((ROOT / "deploy").iterdir())
    assert [path.name for path in files] == ["namespace.yaml", "scaleset-operator.yaml"], "applied in this order"
    namespace, operator = (list(yaml.safe_load_all(path.read_text())) for path in files)
    assert namespace == [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    assert "Namespace" not in {each["kind"] for each in operator if each}


def of_the_operator(rendered: Rendered) -> list[Body]:
    """The roles that are the operator's own."""
    found = [
        each
        for each in (*rendered.all("ClusterRole"), *rendered.all("Role"))
        if each["metadata"]["name"] in (RELEASE, f"{RELEASE}-cluster", f"{RELEASE}-lease")
    ]
    assert len(found) == 3
    return found


def bound_to(binding: Body) -> tuple[str, str]:
    """Which role a binding gives, and to whom."""
    (subject,) = binding["subjects"]
    return binding["roleRef"]["name"], subject["name"]
