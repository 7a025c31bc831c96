"""A conversation with one repository of a registry, by the OCI distribution API: its tags, and the digest of each.

Only what discovery needs, on aiohttp: the known libraries of that API are blocking. Everything that comes from the
registry is bounded (time, size, pages, redirects) and none of its words are repeated but its status and error codes,
since who may name a registry isn't always who may see what it answers. A login goes to the registry's own host and
to the token server that it names, encrypted, and never along a redirect.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import aiohttp
import orjson
from yarl import URL

from scalesets.kube.destinations import HTTP, HTTPS, Destinations, GuardedResolver, Refused, is_loopback
from scalesets.kube.names import FIELD_MANAGER
from scalesets.kube.pullsecrets import Login
from scalesets.kube.tags import LONGEST_TAG

CONNECT_SECONDS, REQUEST_SECONDS = 5.0, 15.0
LONGEST_PAGE, LONGEST_MANIFEST, LONGEST_TOKEN_ANSWER = 4 << 20, 4 << 20, 64 << 10
PAGE = 1000
MOST_PAGES = 200  # some registries give a hundred tags a page, whatever is asked for
MOST_TAGS = 20_000
MOST_REDIRECTS = 3
LONGEST_WAIT = 3600.0
"""Seconds for which a registry may send us away at most."""

MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CODE = re.compile(r"[A-Z][A-Z_]{1,39}")
_PARAMETER = re.compile(r'([A-Za-z]+)="([^"]*)"')
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')
_REDIRECTS = (301, 302, 303, 307, 308)
_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


class Reason(StrEnum):
    """Why discovery found nothing new, as the condition's reason."""

    UNREACHABLE = "RegistryUnreachable"
    REFUSED = "RegistryRefused"  # 401 and 403
    UNKNOWN = "RepositoryNotFound"
    BUSY = "RegistryBusy"  # 429 and 5xx
    INVALID = "RegistryAnswerInvalid"
    TOO_MANY = "TooManyTags"
    NOT_ALLOWED = "RegistryNotAllowed"
    SECRET = "PullSecretUnusable"
    PATTERN = "InvalidPattern"
    OFF = "DiscoveryOff"
    NO_TAGS = "NoTagFits"
    BUG = "Unexpected"


class Problem(Exception):  # noqa: N818 - what a user reads in a condition
    """Why a registry could not be asked. The words stay the same while the problem does."""

    def __init__(self, reason: Reason, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.wait = wait  # seconds that the registry asks for


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as a user names it: the registry's host, with a port maybe, and a path."""

    name: str
    host: str
    path: str

    @classmethod
    def read(cls, name: str) -> Repository:
        """From ``registry.example:5000/os/ubuntu``."""
        host, _, path = name.partition("/")
        return cls(name, host, path)

    def base(self, *, plain: bool) -> URL:
        """Where the registry's API is. Raises Problem for a port or address that can't be one."""
        try:
            return URL(f"{'http' if plain else 'https'}://{_HUB.get(self.host, self.host)}/v2/")
        except ValueError as error:
            words = f"{self.host} is no host that can be called: mend it in repository"
            raise Problem(Reason.NOT_ALLOWED, words) from error


@dataclass(frozen=True, slots=True)
class _Answer:
    url: URL
    status: int
    headers: Mapping[str, Any]
    challenges: tuple[str, ...]
    body: bytes | bytearray


def open_session(destinations: Destinations) -> aiohttp.ClientSession:
    """What all conversations share. Nothing of the environment: a proxy would look names up by itself."""
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(destinations),
        ssl=ssl.create_default_context(),
        use_dns_cache=False,
        limit=64,
        limit_per_host=4,
        keepalive_timeout=15,
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
        headers={"User-Agent": FIELD_MANAGER, "Accept-Encoding": "identity"},
    )


class Registry:
    """One conversation about one repository. Every method raises Problem."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        destinations: Destinations,
        repository: Repository,
        *,
        credentials: Login | None = None,
        plain_http: bool = False,
    ) -> None:
        self._session = session
        self._destinations = destinations
        self._repository = repository
        self._credentials = credentials
        self._plain = plain_http
        self._base = repository.base(plain=plain_http)
        self._authorization = ""

    async def tags(self) -> list[str]:
        """All tags, page by page."""
        first = self._base.joinpath(self._repository.path, "tags", "list")
        url = first.with_query(n=PAGE)
        found: list[str] = []
        for _ in range(MOST_PAGES):
            answer = await self._ask("GET", url, accept="application/json", most=LONGEST_PAGE)
            if answer.status == 400 and url.query.get("n") == str(PAGE):  # more than it gives: as many as it likes
                url = first
                continue
            if answer.status != 200:
                raise self._unexpected(answer)
            found += self._read_tags(answer.body)
            if len(found) > MOST_TAGS:
                break
            following = self._next_page(answer, url)
            if following is None:
                return found
            url = following
        words = f"{self._repository.name} has more than {MOST_TAGS} tags, or too many pages of them: delete old ones"
        raise Problem(Reason.TOO_MANY, words)

    async def digest(self, tag: str) -> str | None:
        """The digest that the tag points at now; None when there is no such tag any more."""
        url = self._base.joinpath(self._repository.path, "manifests", tag)
        answer = await self._ask("HEAD", url, accept=MANIFESTS, most=0)
        if answer.status == 404:
            return None
        told = str(answer.headers.get("Docker-Content-Digest", ""))
        if answer.status == 200 and _DIGEST.fullmatch(told):
            return told
        if answer.status not in (200, 405):
            raise self._unexpected(answer, tag)
        answer = await self._ask("GET", url, accept=MANIFESTS, most=LONGEST_MANIFEST)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._unexpected(answer, tag)
        return f"sha256:{hashlib.sha256(answer.body).hexdigest()}"

    # ------------------------------------------------------------------ answers

    def _read_tags(self, body: bytes | bytearray) -> list[str]:
        """The tags of a page; what is too long for a tag is none, and must not fill the memory."""
        try:
            answer = orjson.loads(body)
        except ValueError:
            answer = None
        tags = (answer.get("tags") or []) if isinstance(answer, dict) and "tags" in answer else None
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            words = f"{self._base.host} doesn't list tags as a registry does: is {self._repository.name} a repository?"
            raise Problem(Reason.INVALID, words)
        return [tag for tag in tags if len(tag) <= LONGEST_TAG]

    def _next_page(self, answer: _Answer, url: URL) -> URL | None:
        """The next page by the header Link; never anywhere but at the same place."""
        link = _NEXT.search(str(answer.headers.get("Link", "")))
        if link is None:
            return None
        try:
            query = dict(URL(link[1]).query)
        except ValueError:
            query = {}
        if not query or query == dict(url.query):
            raise Problem(Reason.INVALID, f"{self._base.host} names a next page of tags that is none")
        return url.with_query(query)

    def _unexpected(self, answer: _Answer, tag: str = "") -> Problem:
        host, status = answer.url.host, answer.status
        codes = _codes(answer.body)
        said = f"{status}{f' {codes}' if codes else ''}"
        if status in (401, 403):
            if self._credentials is None:
                mend = "name a Secret with credentials in pullSecretRef, or make the repository public"
            else:
                mend = "see that the user of pullSecretRef may pull from it, and renew the password"
            return Problem(Reason.REFUSED, f"{host} refuses {self._repository.name} ({said}): {mend}")
        if status == 404:
            words = f"{host} has no repository {self._repository.path} ({said}): push to it, or mend the name"
            return Problem(Reason.UNKNOWN, words)
        if status == 429 or status >= 500:
            words = f"{host} can't answer now ({said}); it is asked again"
            return Problem(Reason.BUSY, words, wait=_seconds(answer.headers.get("Retry-After")))
        if tag:
            words = f"{host} doesn't tell what {self._repository.path}:{tag} is ({said}): keep it out by excludePattern"
            return Problem(Reason.INVALID, words)
        return Problem(Reason.INVALID, f"{host} answers as no registry does ({said}): is it one?")

    # ----------------------------------------------------------------- requests

    async def _ask(self, method: str, url: URL, *, accept: str, most: int) -> _Answer:
        """One question to the registry; once more with what it asks for when it doesn't know us."""
        answer = await self._send(method, url, accept=accept, most=most)
        if answer.status == 401 and answer.url.origin() == url.origin() and await self._introduce(answer):
            answer = await self._send(method, url, accept=accept, most=most)
        return answer

    async def _send(self, method: str, url: URL, *, accept: str, most: int) -> _Answer:
        headers = {"Accept": accept}
        if self._authorization:
            headers["Authorization"] = self._authorization
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._exchange(method, url, headers, most)
            if answer.status not in _REDIRECTS:
                return answer
            url = self._redirected(answer)
            if url.origin() != answer.url.origin():
                headers.pop("Authorization", None)
        raise Problem(Reason.INVALID, f"{self._base.host} sends us round in circles")

    def _redirected(self, answer: _Answer) -> URL:
        try:
            url = answer.url.join(URL(str(answer.headers.get("Location", ""))))
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host or url.user is not None:
            raise Problem(Reason.INVALID, f"{self._base.host} redirects to nowhere")
        if answer.url.scheme == "https" and url.scheme != "https":
            raise Problem(Reason.INVALID, f"{self._base.host} redirects to {url.host} without TLS: not followed")
        self._check_plain(url)
        return url.with_fragment(None)

    def _check_plain(self, url: URL) -> None:
        """Without TLS nothing but its own host is asked on a registry's word: a service inside the cluster that
        speaks plain HTTP would take any path and query for a question of ours.
        """
        host, port = url.host or "", url.port or HTTP
        if url.scheme == "https" or host == self._base.host or self._destinations.lists(host, port):
            return
        words = f"{self._base.host} sends us to {host}:{port} without TLS: only hosts in --discovery-registries may be"
        raise Problem(Reason.NOT_ALLOWED, words)

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str], most: int) -> _Answer:
        host, port = url.host or "", url.port or (HTTPS if url.scheme == "https" else HTTP)
        try:
            self._destinations.check(host, port)
            async with self._session.request(method, url, headers=headers, allow_redirects=False) as response:
                body = b"" if method == "HEAD" else await _read(response, most if response.status < 300 else 4096)
                challenges = tuple(response.headers.getall("WWW-Authenticate", ()))
                return _Answer(url, response.status, response.headers, challenges, body)
        except _TooLong as error:
            raise Problem(Reason.INVALID, f"{host}:{port} gives an answer longer than any registry's") from error
        except Refused as refused:
            raise Problem(Reason.NOT_ALLOWED, str(refused)) from refused
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Problem(Reason.UNREACHABLE, _unreachable(error, host, port, url.scheme)) from error

    # ------------------------------------------------------------ authentication

    async def _introduce(self, answer: _Answer) -> bool:
        """Get what the registry asks for; False when there is nothing to give."""
        challenges = {scheme.lower(): words for c in answer.challenges for scheme, _, words in (c.partition(" "),)}
        if "bearer" in challenges:
            self._authorization = await self._token(dict(_PARAMETER.findall(challenges["bearer"])))
            return True
        if "basic" in challenges and self._credentials is not None:
            self._authorization = self._basic(answer.url)
            return True
        return False

    async def _token(self, asked: Mapping[str, str]) -> str:
        """A token for pulling from this repository, and no more than that, whatever the registry asks for."""
        host = self._base.host
        try:
            realm = URL(asked.get("realm", ""))
        except ValueError:
            realm = URL()
        if realm.scheme not in ("http", "https") or not realm.host or realm.user is not None:
            raise Problem(Reason.INVALID, f"{host} names no server to get a token from")
        if realm.scheme == "http" and not self._plain:
            raise Problem(Reason.INVALID, f"{host} names a token server without TLS, {realm.host}: not asked")
        self._check_plain(realm)
        query = {"scope": f"repository:{self._repository.path}:pull"}
        if service := asked.get("service"):
            query["service"] = service
        headers = {"Accept": "application/json"}
        if self._credentials is not None:
            headers["Authorization"] = self._basic(realm)
        answer = await self._exchange("GET", realm.update_query(query), headers, LONGEST_TOKEN_ANSWER)
        if answer.status in (401, 403, 429) or answer.status >= 500:
            raise self._unexpected(answer)
        try:
            body = orjson.loads(answer.body)
            token = (body.get("token") or body.get("access_token")) if answer.status == 200 else None
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Problem(
                Reason.INVALID, f"{realm.host}, where {host} sends us for a token, gives none ({answer.status})"
            )
        return f"Bearer {token}"

    def _basic(self, url: URL) -> str:
        assert self._credentials is not None
        if url.scheme != "https" and not is_loopback(url.host or ""):
            words = f"credentials aren't sent to {url.host} without TLS: leave plainHTTP out, or pullSecretRef"
            raise Problem(Reason.SECRET, words)
        known = f"{self._credentials.user}:{self._credentials.password}".encode()
        return f"Basic {b64encode(known).decode()}"


class _TooLong(Exception):  # noqa: N818 - becomes a Problem
    """More than we read."""


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | bytearray:
    """The body, when it isn't longer than it may be. Of a refusal the beginning is enough."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            if response.status >= 300:
                return bytes(body[:most])
            raise _TooLong
    return body


def _unreachable(error: BaseException, host: str, port: int, scheme: str) -> str:
    """Why there is no answer, in words that stay the same from one time to the next."""
    where = f"{host}:{port}"
    match error:
        case aiohttp.ClientConnectorDNSError():
            why = "its name can't be resolved"
        case aiohttp.ClientConnectorCertificateError():
            why = "its certificate isn't trusted (a file of authorities can be named in SSL_CERT_FILE)"
        case aiohttp.ClientSSLError():
            why = "it doesn't speak TLS (plainHTTP: true asks without)"
        case TimeoutError():
            why = f"no answer within {REQUEST_SECONDS:g} s"
        case OSError() if error.errno:
            why = os.strerror(error.errno).lower() if error.errno in errno.errorcode else "the connection failed"
        case ValueError():
            why = str(error)
        case _:
            why = "the connection broke off" + (" (is it HTTPS?)" if scheme == "http" else "")
    return f"{where} can't be reached: {why}"


def _codes(body: bytes | bytearray) -> str:
    """The error codes of an answer, such as UNAUTHORIZED; nothing else of it."""
    try:
        errors = orjson.loads(body)["errors"]
        codes = [e["code"] for e in errors[:3]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return " ".join(c for c in codes if isinstance(c, str) and _CODE.fullmatch(c))


def _seconds(retry_after: str | None) -> float | None:
    """How long a registry wants to be left alone: it says seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return min(float(retry_after[:9]), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(retry_after)
        wait = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_WAIT)
