"""Data disks: what is made, whose a claim is, and how claims grow."""

from __future__ import annotations

from decimal import Decimal

import pytest
from kube_objects import NAMESPACE, a_set, at, seen, stored

from scalesets.kube import claims
from scalesets.kube.claims import Judgement


def a_template(name: str = "data", size: str = "1Gi", **metadata):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def a_claim(name: str = "data-web-0", *, labels=None, size: str = "1Gi", **metadata):
    given = {"scalesets.dev/scaleset": "web", "scalesets.dev/scaleset-uid": "set-uid"} if labels is None else labels
    return stored(
        {
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": given, **metadata},
            "spec": {"resources": {"requests": {"storage": size}}},
        }
    )


def known(*raws):
    found = {}
    for raw in raws:
        claim = claims.parse(raw)
        found.setdefault(claim.ordinal, {})[claim.template] = claim
    return found


# -- made --------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O6")
def test_an_instances_claims_are_named_as_a_statefulset_names_them_and_labelled_as_ours():
    template = a_template(labels={"tier": "gold"}, annotations={"note": "x"})

    one, other = claims.bodies(a_set(volumeClaimTemplates=[template, a_template("logs")]), 3)

    assert (one["metadata"]["name"], other["metadata"]["name"]) == ("data-web-3", "logs-web-3")
    assert one["metadata"]["namespace"] == NAMESPACE
    assert one["metadata"]["labels"] == {
        "tier": "gold",
        "scalesets.dev/scaleset": "web",
        "scalesets.dev/scaleset-uid": "set-uid",
        "scalesets.dev/instance-id": "3",
    }
    assert one["metadata"]["annotations"] == {"note": "x"}
    assert one["spec"] == template["spec"]
    assert "ownerReferences" not in one["metadata"]


def test_with_when_deleted_delete_the_set_owns_its_claims():
    policy = {"whenDeleted": "Delete"}
    scaleset = a_set(volumeClaimTemplates=[a_template()], persistentVolumeClaimRetentionPolicy=policy)

    (body,) = claims.bodies(scaleset, 0)

    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("set-uid", False)


# -- read --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "template", "ordinal"),
    [
        ("data-web-0", "data", 0),
        ("my-data-web-12", "my-data", 12),
        ("data-other-1", "", None),
        ("data-web-x", "", None),
        ("data-web-01", "", None),
        ("web-1", "", None),
    ],
)
def test_a_claims_name_says_which_disk_it_is(name, template, ordinal):
    claim = claims.parse(a_claim(name))

    assert (claim.template, claim.ordinal) == (template, ordinal)


def test_a_claim_is_read():
    claim = claims.parse(a_claim(size="5Gi", deletionTimestamp=at(0)))

    assert (claim.set_name, claim.set_uid, claim.requested, claim.deleting) == ("web", "set-uid", "5Gi", True)
    assert claims.parse(a_claim(labels={})) is None


# -- whose it is -------------------------------------------------------------------------------------------------------

OLDER = {"scalesets.dev/scaleset": "web", "scalesets.dev/scaleset-uid": "older"}
ANOTHERS = {"scalesets.dev/scaleset": "db", "scalesets.dev/scaleset-uid": "db-uid"}


@pytest.mark.parametrize(
    ("labels", "annotated", "judgement"),
    [
        (None, False, Judgement.OURS),
        (OLDER, False, Judgement.ADOPT),
        ({}, False, Judgement.FOREIGN),
        ({"scalesets.dev/scaleset": "web"}, False, Judgement.FOREIGN),
        (ANOTHERS, False, Judgement.FOREIGN),
        ({}, True, Judgement.ADOPT),
        (ANOTHERS, True, Judgement.ADOPT),
    ],
    ids=[
        "ours",
        "an earlier set's",
        "nobody's",
        "without a uid",
        "another set's",
        "nobody's, asked",
        "another's, asked",
    ],
)
def test_whose_a_claim_is(labels, annotated, judgement):
    scaleset = a_set()
    if annotated:
        scaleset["metadata"]["annotations"] = {"scalesets.dev/adopt-claims": "true"}

    assert claims.judge(scaleset, a_claim(labels=labels)) is judgement


def test_one_that_is_being_deleted_is_waited_for():
    assert claims.judge(a_set(), a_claim(deletionTimestamp=at(0))) is Judgement.DELETING


def test_a_foreign_one_is_named_with_the_mend():
    told = claims.foreign_message(a_claim(labels=ANOTHERS), a_set())

    assert "data-web-0 belongs to the scale set db" in told
    assert 'scalesets.dev/adopt-claims: "true"' in told
    assert "was not made by this scale set" in claims.foreign_message(a_claim(labels={}), a_set())


def test_an_adopted_one_becomes_ours():
    older = {"apiVersion": "scalesets.dev/v1alpha1", "kind": "ScaleSet", "uid": "older"}
    raw = a_claim("data-web-7", labels=OLDER, ownerReferences=[older])

    patch = claims.adopt_patch(a_set(), raw)

    assert patch["metadata"]["uid"] == raw["metadata"]["uid"]
    assert patch["metadata"]["resourceVersion"] == raw["metadata"]["resourceVersion"]
    after = {**raw, "metadata": {**raw["metadata"], "labels": {**OLDER, **patch["metadata"]["labels"]}}}
    assert claims.judge(a_set(), after) is Judgement.OURS
    assert after["metadata"]["labels"]["scalesets.dev/instance-id"] == "7"
    assert patch["metadata"]["ownerReferences"] is None


# -- what changes ------------------------------------------------------------------------------------------------------


def test_claims_with_a_smaller_request_are_raised():
    scaleset = a_set(volumeClaimTemplates=[a_template(size="2Gi"), a_template("logs", "500Mi")])
    raws = [
        a_claim("data-web-0"),
        a_claim("data-web-1", size="2048Mi"),
        a_claim("data-web-2", size="3Gi"),
        a_claim("logs-web-0", size="0.4Gi"),
        a_claim("data-web-3", labels=OLDER),
        a_claim("data-web-4", deletionTimestamp=at(0)),
        a_claim("gone-web-5"),
    ]

    found = claims.expansions(seen(scaleset, claims=known(*raws)))

    assert {c.name: p["spec"]["resources"]["requests"]["storage"] for c, p in found} == {
        "data-web-0": "2Gi",
        "logs-web-0": "500Mi",
    }
    assert all(p["metadata"]["uid"] == c.uid for c, p in found)


def test_a_retention_policy_that_changed_reaches_existing_claims():
    backup = {"apiVersion": "v1", "kind": "Backup", "uid": "backup-uid"}
    ours = {"apiVersion": "scalesets.dev/v1alpha1", "kind": "ScaleSet", "uid": "set-uid"}
    owned = a_claim("data-web-0", ownerReferences=[backup, ours])
    free = a_claim("data-web-1")
    templates = [a_template()]

    keep = seen(a_set(volumeClaimTemplates=templates), claims=known(owned, free))
    policy = {"whenDeleted": "Delete"}
    drop = seen(
        a_set(volumeClaimTemplates=templates, persistentVolumeClaimRetentionPolicy=policy), claims=known(owned, free)
    )

    assert [(c.name, p["metadata"]["ownerReferences"]) for c, p in claims.retention_patches(keep)] == [
        ("data-web-0", [backup])
    ]
    ((claim, patch),) = claims.retention_patches(drop)
    assert claim.name == "data-web-1"
    assert patch["metadata"]["resourceVersion"] == str(claim.resource_version)
    assert patch["metadata"]["ownerReferences"][0]["uid"] == "set-uid"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", "1"),
        ("1Gi", 2**30),
        ("1.5Ki", 1536),
        ("2k", 2000),
        ("100m", "0.1"),
        ("1e3", 1000),
        ("12E", 12 * 10**18),
        (5, 5),
        ("nonsense", 0),
    ],
)
def test_quantities_are_numbers(text, number):
    assert claims.quantity(text) == Decimal(number)
