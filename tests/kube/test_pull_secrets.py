"""Login for a registry out of a Secret."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from scalesets.kube.pullsecrets import Login, UnusableSecret, credentials

ALICE = {"username": "alice", "password": "s:e:c"}


def secret(auths: Any = None, *, raw: str | None = None) -> dict[str, Any]:
    text = raw if raw is not None else json.dumps({"auths": auths})
    encoded = b64encode(text.encode()).decode()
    return {"metadata": {"name": "pull"}, "data": {".dockerconfigjson": encoded}}


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "key", ["registry.example", "https://registry.example", "https://registry.example/v2/", "registry.example/os"]
)
def test_the_registry_is_found(key: str) -> None:
    assert credentials(secret({key: ALICE}), "registry.example", "os/ubuntu") == Login("alice", "s:e:c")


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io"])
def test_docker_hub_has_several_names(host: str) -> None:
    assert credentials(secret({"https://index.docker.io/v1/": ALICE}), host, "library/ubuntu").user == "alice"


def test_the_longest_path_wins() -> None:
    several = {"registry.example": ALICE, "registry.example/os": {"auth": encoded("bob:x:y")}}
    assert credentials(secret(several), "registry.example", "os/ubuntu") == Login("bob", "x:y")
    assert credentials(secret(several), "registry.example", "osmosis").user == "alice"


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("registry.example:5000", "registry.example"),
        ("registry.example", "registry.example:5000"),
        ("evil.example", "registry.example"),
        ("registry.example.evil.example", "registry.example"),
        ("registry.example", "registry.example/team"),
    ],
)
def test_nobody_else_gets_them(host: str, key: str) -> None:
    with pytest.raises(UnusableSecret, match="holds no credentials"):
        credentials(secret({key: ALICE}), host, "os/ubuntu")


@pytest.mark.parametrize(
    "bad",
    [
        {"metadata": {"name": "pull"}, "data": {"password": "eA=="}},
        {"metadata": {"name": "pull"}},
        secret(raw="no json"),
        secret(raw="[]"),
        secret(raw="[" * 100_000),
        secret([]),
        {"metadata": {"name": "pull"}, "data": {".dockerconfigjson": "é"}},
        secret({"registry.example": {}}),
        secret({"registry.example": {"auth": "%%%"}}),
        secret({"registry.example": {"auth": encoded("nocolon")[:-1]}}),
        secret({"registry.example": {"identitytoken": "t0ps3cret"}}),
        secret({"registry.example": {"username": 1, "password": 2}}),
        secret({"registry.example": "t0ps3cret"}),
        secret({"https://alice:t0ps3cret@[registry.example": ALICE}),
    ],
)
def test_what_can_t_be_used_is_said_without_its_contents(bad: dict[str, Any]) -> None:
    with pytest.raises(UnusableSecret, match="Secret pull") as said:
        credentials(bad, "registry.example", "os/ubuntu")
    assert "t0ps3cret" not in str(said.value)


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(Login("alice", "s3cret"))
