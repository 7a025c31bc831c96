"""Whom the operator calls on a user's word, and whom never."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from scalesets.kube.destinations import Destinations, GuardedResolver, Refused, read_list

METADATA = [
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fd00:ec2::254",
    "ff02::1",
    "::",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
]
LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("listed", [False, True])
def test_link_local_and_metadata_addresses_are_never_called_listed_or_not(address: str, listed: bool) -> None:
    entry = f"[{address}]" if ":" in address else address
    with pytest.raises(Refused, match="metadata"):
        Destinations((entry,) if listed else ()).check(address, 443)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_called_only_when_listed(address: str) -> None:
    entry = f"[{address}]" if ":" in address else address
    with pytest.raises(Refused, match="--discovery-registries"):
        Destinations().check(address, 5000)
    Destinations((entry,)).check(address, 5000)
    Destinations((f"{entry}:5000",)).check(address, 5000)
    with pytest.raises(Refused):
        Destinations((f"{entry}:5001",)).check(address, 5000)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.9", "93.184.216.34", "2001:db8::1", "fd00::1"]
)
def test_others_are_called(address: str) -> None:
    Destinations().check(address, 443)


@pytest.mark.parametrize("spelt", ["2130706433", "127.1", "0177.0.0.1", "169.254.43518"])
def test_an_address_in_disguise_is_refused(spelt: str) -> None:
    with pytest.raises(Refused):
        Destinations().check(spelt, 443)


def test_a_list_is_all_there_is() -> None:
    listed = Destinations(read_list(["registry.example:5000, *.team.example", "docker.io"]))
    for host, port in (("registry.example", 5000), ("a.team.example", 443), ("REGISTRY.example.", 5000)):
        listed.check(host, port)
    for host in ("registry-1.docker.io", "auth.docker.io"):
        listed.check(host, 443)
    for host, port in (("registry.example", 443), ("team.example", 443), ("eviteam.example", 443), ("10.0.0.1", 443)):
        with pytest.raises(Refused, match="isn't among"):
            listed.check(host, port)


@pytest.mark.parametrize("bad", ["https://registry.example", "a/b", "*", "a.*.b", "host:port", "host:0", ":5000"])
def test_what_is_no_registry_can_t_be_listed(bad: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        read_list([bad])


def naming(*addresses: str) -> Callable[..., Any]:
    """A look-up that gives every name these addresses."""

    def look_up(host: str, port: int, *_: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in each else socket.AF_INET for each in addresses]
        return [(f, socket.SOCK_STREAM, 6, "", (each, port)) for f, each in zip(families, addresses, strict=True)]

    return look_up


@pytest.mark.parametrize("address", [*METADATA, *LOOPBACK, "fe80::1%eth0"])
async def test_a_name_is_as_good_as_its_addresses(address: str) -> None:
    resolver = GuardedResolver(Destinations(), naming("93.184.216.34", address))
    with pytest.raises(Refused):
        await resolver.resolve("innocent.example", 443)
    await resolver.close()


async def test_a_listed_name_may_be_loopback() -> None:
    resolver = GuardedResolver(Destinations(("registry.local:5000",)), naming("127.0.0.1"))
    assert [each["host"] for each in await resolver.resolve("registry.local", 5000)] == ["127.0.0.1"]
    with pytest.raises(Refused):
        await resolver.resolve("registry.local", 5001)
    await resolver.close()


async def test_a_connection_goes_to_the_address_that_was_looked_at() -> None:
    """A name that is innocent once and loopback the next time is asked for once a connection."""
    answers = iter([naming("127.0.0.1"), naming("169.254.169.254")])
    resolver = GuardedResolver(Destinations(("twice.example",)), lambda *asked: next(answers)(*asked))
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match=r"127\.0\.0\.1"):
            await session.get("http://twice.example:1/")
        with pytest.raises(Refused):
            await session.get("http://twice.example:1/")
