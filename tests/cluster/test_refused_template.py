"""A template that the API server refuses is found out by a dry run: nothing is touched, and its words are told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Body, Scene, code

from apiclient import Refused


@pytest.fixture
async def policy(scene: Scene) -> AsyncIterator[None]:
    """In this namespace no pod may have the variable REVISION=forbidden."""
    name = f"no-forbidden-revision.{scene.namespace}.example"
    group = "admissionregistration.k8s.io/v1"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    expression = "object.spec.containers.all(c, !has(c.env) || c.env.all(e, !has(e.value) || e.value != 'forbidden'))"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": expression, "message": "REVISION=forbidden is not for this house"}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}
    binding = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    for kind, what in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding)):
        await scene.api.create({"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": what})
    yield
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        await scene.api.delete(kind, "", name)


def template(revision: str) -> Body:
    return a_set("web", env=revision)["spec"]["template"]


async def until_policy_works(scene: Scene) -> None:
    """The API server takes a moment to read a new policy."""
    container = {"name": "os", "image": "x", "env": [{"name": "REVISION", "value": "forbidden"}]}
    metadata = {"name": "probe", "namespace": scene.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    with pytest.raises(Refused):
        while True:
            await scene.api.create(pod, dry_run=True)


async def test_a_model_that_is_refused_touches_nothing(operator: Operator, scene: Scene, policy: None) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, env="a"))
    await scene.until_ready()
    await until_policy_works(scene)
    before = scene.uids("Pod")
    await scene.change("ScaleSet", "web", template=template("forbidden"))
    found = await scene.until_condition("TemplateRefused")
    assert "REVISION=forbidden is not for this house" in found["message"]
    await scene.until_event("TemplateRefused")
    assert scene.uids("Pod") == before
    assert all(not u.get("status", {}).get("batches") for u in scene.upgrades())

    await scene.change("ScaleSet", "web", template=template("b"))
    await scene.until(lambda: [u for u in scene.upgrades() if code(u) == "Completed"], what="the mended model")
    await scene.until_ready()
    await scene.until(lambda: not scene.condition("TemplateRefused"), within=5, what="the condition to go")


async def test_what_only_the_api_server_knows_to_be_wrong(operator: Operator, scene: Scene) -> None:
    """A volume mount without a volume passes the CRD; the API server refuses the pod."""
    wrong = a_set("web", replicas=2)
    os = wrong["spec"]["template"]["spec"]["containers"][0]
    os["volumeMounts"] = [{"name": "nowhere", "mountPath": "/data"}]
    await scene.create(an_image("ubuntu", "1.0.0"), wrong)
    found = await scene.until_condition("TemplateRefused")
    assert "nowhere" in found["message"]
    assert not scene.pods()
    assert scene.condition("Ready")["status"] == "False"

    await scene.change("ScaleSet", "web", template=a_set("web")["spec"]["template"])
    await scene.until_ready()
    await scene.until(lambda: not scene.condition("TemplateRefused"), within=5, what="the condition to go")
