"""Before a batch: what a model names is there, complete and current; what isn't is said by name."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kube_objects import NOW, a_published_extension, a_revision, a_set, a_template, an_extension, at

from scalesets.kube import preflight
from scalesets.kube.preflight import Report

pytestmark = pytest.mark.requirement("O15", "O21")


class Cluster:
    """Secrets and ConfigMaps, some of which may not be read."""

    def __init__(self, *objects, forbidden=()):
        self.objects = {(o["kind"], o["metadata"]["name"]): o for o in objects}
        self.forbidden = set(forbidden)
        self.asked: list[tuple[str, str, str]] = []

    async def get(self, kind, namespace, name):
        self.asked.append((kind, namespace, name))
        if name in self.forbidden:
            raise preflight.Forbidden("no")
        return self.objects.get((kind, name))


def a_secret(name: str = "keys", *, kind: str = "Secret", annotations=None, **data: str | bytes):
    encoded = {
        key.replace("_", "."): b64encode(v if isinstance(v, bytes) else v.encode()).decode() for key, v in data.items()
    }
    return {"kind": kind, "metadata": {"name": name, "annotations": annotations or {}}, "data": encoded}


def a_certificate(until: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(until - timedelta(days=30))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def a_token(**claims) -> str:
    parts = ({"alg": "none"}, claims)
    head, body = (urlsafe_b64encode(json.dumps(p, separators=(",", ":")).encode()).rstrip(b"=").decode() for p in parts)
    return f"{head}.{body}.sig"


async def check(scaleset, *objects, read_secrets=True, forbidden=(), pull_secrets=(), extensions=()) -> Report:
    return await preflight.check(
        scaleset,
        a_revision(scaleset, *extensions),
        get=Cluster(*objects, forbidden=forbidden).get,
        read_secrets=read_secrets,
        now=NOW,
        pull_secrets=pull_secrets,
    )


def a_set_with(*, spec=None, **os):
    template = a_template(**os)
    template["spec"].update(spec or {})
    return a_set(template=template)


# -- what is named -----------------------------------------------------------------------------------------------------

SECRET, CONFIG = {"name": "thing", "key": "k"}, {"name": "thing", "key": "k"}
VOLUME = {"name": "v"}
SOURCES = {
    "env secret": (a_set_with(env=[{"name": "A", "valueFrom": {"secretKeyRef": SECRET}}]), "Secret thing"),
    "env config": (a_set_with(env=[{"name": "A", "valueFrom": {"configMapKeyRef": CONFIG}}]), "ConfigMap thing"),
    "envFrom secret": (a_set_with(envFrom=[{"secretRef": {"name": "thing"}}]), "Secret thing"),
    "envFrom config": (a_set_with(envFrom=[{"configMapRef": {"name": "thing"}}]), "ConfigMap thing"),
    "volume secret": (a_set_with(spec={"volumes": [{**VOLUME, "secret": {"secretName": "thing"}}]}), "Secret thing"),
    "volume config": (a_set_with(spec={"volumes": [{**VOLUME, "configMap": {"name": "thing"}}]}), "ConfigMap thing"),
    "projected secret": (
        a_set_with(spec={"volumes": [{**VOLUME, "projected": {"sources": [{"secret": {"name": "thing"}}]}}]}),
        "Secret thing",
    ),
    "projected config": (
        a_set_with(spec={"volumes": [{**VOLUME, "projected": {"sources": [{"configMap": {"name": "thing"}}]}}]}),
        "ConfigMap thing",
    ),
    "csi": (
        a_set_with(spec={"volumes": [{**VOLUME, "csi": {"driver": "d", "nodePublishSecretRef": {"name": "thing"}}}]}),
        "Secret thing",
    ),
    "pull secret": (a_set_with(spec={"imagePullSecrets": [{"name": "thing"}]}), "Secret thing"),
    "init container": (
        a_set_with(
            spec={"initContainers": [{"name": "i", "env": [{"name": "A", "valueFrom": {"secretKeyRef": SECRET}}]}]}
        ),
        "Secret thing",
    ),
    "custom data": (a_set(osProfile={"customDataFrom": {"secretKeyRef": SECRET}}), "Secret thing"),
}


@pytest.mark.parametrize(("scaleset", "name"), SOURCES.values(), ids=SOURCES.keys())
async def test_what_is_missing_is_named(scaleset, name):
    report = await check(scaleset)

    assert report.problems
    assert report.problems[0].startswith(f"{name} is missing (")


async def test_an_extensions_secrets_are_among_them():
    published = a_published_extension(
        "health",
        container={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}}]},
    )
    extension = an_extension("health", protectedSettingsFrom={"secretRef": {"name": "keys"}})

    report = await check(
        a_set(extensions=[extension]),
        extensions=[published],
        pull_secrets=[("registry", "imagePullSecrets of GalleryImage ubuntu")],
    )

    assert report.problems == [
        "Secret token is missing (container health)",
        "Secret keys is missing (extension health)",
        "Secret registry is missing (imagePullSecrets of GalleryImage ubuntu)",
    ]


@pytest.mark.parametrize(
    "scaleset",
    [
        a_set_with(env=[{"name": "A", "valueFrom": {"secretKeyRef": {**SECRET, "optional": True}}}]),
        a_set_with(envFrom=[{"configMapRef": {"name": "thing", "optional": True}}]),
        a_set_with(spec={"volumes": [{"name": "v", "secret": {"secretName": "thing", "optional": True}}]}),
        a_set_with(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        a_set_with(spec={"volumes": [{"name": "v", "emptyDir": {}}]}),
    ],
)
async def test_what_is_optional_or_nothing_of_the_sort_is_not_asked_for(scaleset):
    cluster = Cluster()

    await preflight.check(scaleset, a_revision(scaleset), get=cluster.get, read_secrets=True, now=NOW)

    assert cluster.asked == []


async def test_each_object_is_read_once_and_its_users_are_named():
    variables = [{"name": n, "valueFrom": {"secretKeyRef": {"name": "keys", "key": n}}} for n in ("a", "b")]
    scaleset = a_set_with(env=variables, spec={"imagePullSecrets": [{"name": "keys"}]})
    cluster = Cluster(a_secret(a="1"))

    report = await preflight.check(scaleset, a_revision(scaleset), get=cluster.get, read_secrets=True, now=NOW)

    assert cluster.asked == [("Secret", "team-a", "keys")]
    assert report.problems == ["Secret keys has no key b (imagePullSecrets, container os)"]


async def test_missing_keys_are_named():
    volume = {
        "name": "v",
        "configMap": {"name": "conf", "items": [{"key": "a", "path": "a"}, {"key": "b", "path": "b"}]},
    }
    config = {"kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": "1"}, "binaryData": {"b": ""}}
    del config["binaryData"]

    report = await check(a_set_with(spec={"volumes": [volume]}), config)

    assert report.message == "ConfigMap conf has no key b (volume v)"


# -- what is out of date -----------------------------------------------------------------------------------------------

ALL_KEYS = a_set_with(envFrom=[{"secretRef": {"name": "keys"}}])
ONE_KEY = a_set_with(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}])


@pytest.mark.parametrize(("days", "expired"), [(-1, True), (1, False)])
async def test_a_certificate_that_expired(days, expired):
    until = NOW + timedelta(days=days)

    report = await check(ALL_KEYS, a_secret(tls_crt=a_certificate(until)))

    wanted = f"Secret keys: the certificate in tls.crt expired at {until:%Y-%m-%dT%H:%M:%SZ} (container os)"
    assert report.problems == ([wanted] if expired else [])


@pytest.mark.parametrize(("seconds", "expired"), [(-5, True), (5, False)])
async def test_a_token_that_expired(seconds, expired):
    token = a_token(exp=(NOW + timedelta(seconds=seconds)).timestamp())

    report = await check(ONE_KEY, a_secret(token=token))

    assert report.message == (f"Secret keys: the token in token expired at {at(-5)} (container os)" if expired else "")


async def test_only_the_keys_that_are_used_are_looked_at():
    expired = a_token(exp=1)

    assert (await check(ONE_KEY, a_secret(token="fine", other=expired))).problems == []
    assert len((await check(ALL_KEYS, a_secret(token="fine", other=expired))).problems) == 1


@pytest.mark.parametrize(
    "value",
    ["", "plain", "a.b.c", "eyJ.x.y", a_token(), a_token(exp="soon"), a_token(exp=1e30), "eyJ.\xff.z", b"\xff\xfe"],
)
async def test_what_is_no_token_says_nothing(value):
    assert (await check(ALL_KEYS, a_secret(token=value, tls_crt="not a certificate"))).problems == []


@pytest.mark.parametrize(
    ("text", "expired"),
    [
        ("2026-11-22T11:59:59Z", True),
        ("2026-11-22", True),
        ("2026-11-23", False),
        ("2026-11-22T12:30:00+01:00", True),
        ("next week", False),
        ("", False),
    ],
)
async def test_an_annotation_says_when_it_expires(text, expired):
    report = await check(ALL_KEYS, a_secret(annotations={"scalesets.dev/expires": text}, a="1"))

    assert bool(report.problems) is expired
    if expired:
        assert "says its annotation scalesets.dev/expires" in report.message


async def test_the_annotation_counts_for_config_maps_too():
    config = {
        "kind": "ConfigMap",
        "metadata": {"name": "conf", "annotations": {"scalesets.dev/expires": "2020-01-01"}},
        "data": {"token": a_token(exp=1)},
    }

    report = await check(a_set_with(envFrom=[{"configMapRef": {"name": "conf"}}]), config)

    (problem,) = report.problems
    assert problem.startswith("ConfigMap conf expired at 2020-01-01T00:00:00Z")


# -- what can't be seen ------------------------------------------------------------------------------------------------


async def test_what_may_not_be_read_is_skipped_and_said():
    report = await check(ALL_KEYS, forbidden=["keys"])

    assert (report.problems, report.message) == ([], "")
    assert report.unchecked == ["Secret keys is not checked: the operator may not read it"]


async def test_with_reading_switched_off_secrets_are_skipped_and_config_maps_are_not():
    scaleset = a_set_with(envFrom=[{"secretRef": {"name": "keys"}}, {"configMapRef": {"name": "conf"}}])

    report = await check(scaleset, read_secrets=False)

    assert report.problems == ["ConfigMap conf is missing (container os)"]
    assert report.unchecked == ["Secret keys is not checked: reading Secrets is switched off"]


async def test_many_problems_are_told_in_a_few_words():
    scaleset = a_set_with(envFrom=[{"secretRef": {"name": f"s{n}"}} for n in range(8)])

    report = await check(scaleset)

    assert len(report.problems) == 8
    assert report.message.endswith("; and 3 more")


async def test_all_is_well():
    valid = a_secret(
        tls_crt=a_certificate(NOW + timedelta(days=9)), token=a_token(exp=datetime(2030, 1, 1, tzinfo=UTC).timestamp())
    )

    report = await check(ALL_KEYS, valid)

    assert (report.problems, report.unchecked) == ([], [])
