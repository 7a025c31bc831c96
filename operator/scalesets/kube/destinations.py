"""Whom the operator may call on a user's word (docs/api.md, "Where discovery may go").

Whoever may create an image can name a registry, and the operator calls it from its own place in the network. So
addresses that no registry has are refused whatever name leads to them: link-local ones with the clouds' metadata
services above all. Loopback is the operator's own pod: only for a registry that an administrator listed. An address is
looked at when the connection is made, so a name can't point elsewhere a moment later.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address

_NEVER = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local, and metadata services
        "100.100.100.200/32",  # metadata services outside of it
        "168.63.129.16/32",
        "192.0.0.192/32",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/128",
        "fe80::/10",
        "fec0::/10",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "ff00::/8",
    )
)
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io")
HTTPS, HTTP = 443, 80
LOOK_UPS_AT_ONCE = 32
"""A name whose server is silent takes a thread for up to a minute, while its question gives up after 15 s: enough for
four such look-ups behind each of the eight conversations at a time."""


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The operator doesn't call there; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """Which registries may be called: ``listed`` ones as HOST, HOST:PORT or *.DOMAIN; without a list, all but
    loopback.
    """

    listed: tuple[str, ...] = ()

    def check(self, host: str, port: int) -> None:
        """Raises Refused for a host that isn't listed, or an address that nobody may call."""
        if self.listed and not self.lists(host, port):
            shown = f"[{host}]" if ":" in host else host
            raise Refused(f"{shown}:{port} isn't among the operator's --discovery-registries: have it added there")
        try:
            address = ip_address(host)
        except ValueError:
            if ":" in host or host.replace(".", "").isdigit():  # 2130706433 and 127.1 are addresses to a socket
                raise Refused(f"{host} is no address as people write them: write four numbers with dots") from None
            return  # a name: the resolver looks at its addresses
        self.check_address(address, host, port)

    def lists(self, host: str, port: int) -> bool:
        """Whether an administrator named it."""
        host = host.lower().rstrip(".")
        for entry in self.listed:
            name, given = _entry(entry)
            if given is not None and given != port:
                continue
            if name == host or (name.startswith("*.") and host.endswith(name[1:])):
                return True
            if name == _DOCKER_HUB[0] and host in _DOCKER_HUB:
                return True
        return False

    def check_address(self, address: Address, host: str, port: int) -> None:
        """Raises Refused for an address that the host, listed or not, may not have."""
        for each in _meant(address):
            if any(each.version == network.version and each in network for network in _NEVER):
                raise Refused(f"{host} is {each}, a link-local, metadata or reserved address: no registry is there")
            if each.is_loopback and not self.lists(host, port):
                raise Refused(
                    f"{host} is {each}, the operator's own loopback: only a registry listed in "
                    "--discovery-registries may be there"
                )


class GuardedResolver(AbstractResolver):
    """Resolves names to the addresses that may be called; the connection is made to these and no others.

    A look-up can't be given up, and a slow name server is a user's choice too: the threads are its own, or such names
    would hold up what the operator itself has to look up.
    """

    def __init__(self, destinations: Destinations, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._destinations = destinations
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(max_workers=LOOK_UPS_AT_ONCE, thread_name_prefix="discovery-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name; Refused when there is one among them that nobody may call."""
        asked = (host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, *asked)
        results: list[ResolveResult] = []
        for of_family, _, protocol, _, address in found:
            given = str(address[0])
            self._destinations.check_address(ip_address(given.partition("%")[0]), host, port)
            numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            results.append(
                {
                    "hostname": host,
                    "host": given,
                    "port": port,
                    "family": of_family,
                    "proto": protocol,
                    "flags": numeric,
                }
            )
        return results

    async def close(self) -> None:
        """Wait for no look-up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def is_loopback(host: str) -> bool:
    """Whether a host is loopback by its very name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_list(given: Iterable[str]) -> tuple[str, ...]:
    """The listed registries, from words with commas. Raises ValueError for what can't be one."""
    entries = tuple(each for text in given for each in text.replace(",", " ").lower().split())
    for entry in entries:
        name, port = _entry(entry)
        if not name or "/" in name or "*" in name.removeprefix("*.") or (port is not None and not 0 < port < 65536):
            raise ValueError(f"{entry!r} is no registry: write HOST, HOST:PORT or *.DOMAIN")
    return entries


def _entry(entry: str) -> tuple[str, int | None]:
    """Name and port of an entry; an IPv6 address stands in brackets."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        name, _, port = entry.partition(":")
    if port and not port.isdecimal():
        raise ValueError(f"{entry!r} is no registry: write HOST, HOST:PORT or *.DOMAIN")
    return name, int(port) if port else None


def _meant(address: Address) -> Sequence[Address]:
    """The address, and the one that it stands for: IPv4 inside of IPv6 comes in several forms."""
    if isinstance(address, IPv4Address):
        return (address,)
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return (address, *(each for each in inner if each is not None)) if not address.is_loopback else (address,)
