"""The conversation with a registry: pages, digests, who may know the password, and answers that no registry gives.

The registry here is one that does what it is told, on loopback; `tests/cluster/test_discovery.py` has a real one.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scalesets.kube import registry
from scalesets.kube.destinations import Destinations
from scalesets.kube.pullsecrets import Login
from scalesets.kube.registry import Problem, Reason, Registry, Repository, open_session
from scalesets.local.certificates import make_pki

LISTED = Destinations(("127.0.0.1", "localhost"))
ALICE = Login("alice", "s3cret")
DIGEST = f"sha256:{'a' * 64}"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass
class Told:
    """A registry that answers as it is told, and remembers what it was asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    port: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        given = next((a for path, a in self.answers.items() if request.path.endswith(path)), None)
        if given is None:
            return web.json_response({"errors": [{"code": "NAME_UNKNOWN"}]}, status=404)
        answer = given(request)
        return answer if isinstance(answer, web.StreamResponse) else await answer

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.asked]


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    async with serving() as one:
        yield one


@pytest.fixture
async def other() -> AsyncIterator[Told]:
    async with serving() as one:
        yield one


class serving:  # noqa: N801 - reads as a function
    async def __aenter__(self) -> Told:
        told = Told()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", told.answer)
        self._server = TestServer(app)
        await self._server.start_server()
        told.port = self._server.port or 0
        return told

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()


async def ask(
    told: Told,
    what: Callable[[Registry], Awaitable[Any]],
    *,
    credentials: Login | None = None,
    destinations: Destinations = LISTED,
    plain_http: bool = True,
    host: str = "127.0.0.1",
) -> Any:
    async with open_session(destinations) as session:
        repository = Repository.read(f"{host}:{told.port}/os/ubuntu")
        return await what(Registry(session, destinations, repository, credentials=credentials, plain_http=plain_http))


async def tags(told: Told, **options: Any) -> list[str]:
    return await ask(told, lambda r: r.tags(), **options)


async def digest(told: Told, **options: Any) -> str | None:
    return await ask(told, lambda r: r.digest("1.0.0"), **options)


async def refused(told: Told, what: Callable[..., Awaitable[Any]] = tags, **options: Any) -> Problem:
    with pytest.raises(Problem) as problem:
        await what(told, **options)
    return problem.value


def says(body: Any, status: int = 200, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.json_response(body, status=status, headers=names)


# -- what is asked -----------------------------------------------------------------------------------------------------


async def test_tags_come_page_by_page_whatever_host_the_link_names(told: Told) -> None:
    def page(request: web.Request) -> web.Response:
        last = request.query.get("last", "")
        following = {"": "b", "b": "d"}.get(last)
        body = {"tags": {"": ["a", "b"], "b": ["c", "d"], "d": ["e"]}[last]}
        link = f'<http://169.254.169.254/v2/os/ubuntu/tags/list?last={following}&n=2>; rel="next"'
        return web.json_response(body, headers={"Link": link} if following else {})

    told.answers["/v2/os/ubuntu/tags/list"] = page
    assert await tags(told) == ["a", "b", "c", "d", "e"]
    assert [request.query["n"] for request in told.asked] == ["1000", "2", "2"]


async def test_a_registry_that_refuses_so_many_at_once_gives_as_many_as_it_likes(told: Told) -> None:
    def page(request: web.Request) -> web.Response:
        if "n" in request.query:
            return web.json_response({"errors": [{"code": "PAGINATION_NUMBER_INVALID"}]}, status=400)
        if "last" in request.query:
            return web.json_response({"tags": ["b"]})
        return web.json_response({"tags": ["a"]}, headers={"Link": '</v2/os/ubuntu/tags/list?last=a>; rel="next"'})

    told.answers["/tags/list"] = page
    assert await tags(told) == ["a", "b"]
    told.answers["/tags/list"] = says({}, 400)
    assert (await refused(told)).reason is Reason.INVALID


async def test_what_is_too_long_for_a_tag_is_not_kept(told: Told) -> None:
    told.answers["/tags/list"] = says({"tags": ["a" * 128, "b" * 129, "c" * 100_000]})
    assert await tags(told) == ["a" * 128]


@pytest.mark.parametrize("body", [{"tags": None}, {"tags": []}])
async def test_a_repository_may_be_empty(told: Told, body: Any) -> None:
    told.answers["/tags/list"] = says(body)
    assert await tags(told) == []


async def test_a_digest_is_asked_for_by_head_with_every_kind_of_manifest(told: Told) -> None:
    told.answers["/manifests/1.0.0"] = lambda _: web.Response(headers={"Docker-Content-Digest": DIGEST})
    assert await digest(told) == DIGEST
    assert [request.method for request in told.asked] == ["HEAD"]
    accepted = told.headers("Accept")[0] or ""
    assert "image.index.v1" in accepted
    assert "manifest.list.v2" in accepted


@pytest.mark.parametrize("headers", [{}, {"Docker-Content-Digest": "sha256:short"}])
async def test_without_a_digest_the_manifest_itself_tells(told: Told, headers: dict[str, str]) -> None:
    manifest = b'{"schemaVersion": 2}'
    told.answers["/manifests/1.0.0"] = lambda _: web.Response(body=manifest, headers=headers)
    assert await digest(told) == f"sha256:{hashlib.sha256(manifest).hexdigest()}"


async def test_a_tag_that_went_meanwhile_is_none(told: Told) -> None:
    assert await digest(told) is None


async def test_a_tag_that_can_t_be_told_of_is_named(told: Told) -> None:
    told.answers["/manifests/1.0.0"] = lambda _: web.Response(status=406)
    problem = await refused(told, digest)
    assert problem.reason is Reason.INVALID
    assert "os/ubuntu:1.0.0" in problem.message
    assert "excludePattern" in problem.message


@pytest.mark.parametrize("host", ["registry.example:99999", "[....]:5000"])
def test_a_host_that_can_t_be_one_is_said(host: str) -> None:
    with pytest.raises(Problem, match="mend it in repository") as problem:
        Repository.read(f"{host}/os/ubuntu").base(plain=False)
    assert problem.value.reason is Reason.NOT_ALLOWED


def test_docker_hub_has_another_host() -> None:
    assert str(Repository.read("docker.io/library/ubuntu").base(plain=False)) == "https://registry-1.docker.io/v2/"


# -- answers that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (says({"nothing": 1}), Reason.INVALID),
        (says([]), Reason.INVALID),
        (says({"tags": "a"}), Reason.INVALID),
        (says({"tags": [1]}), Reason.INVALID),
        (says({}, 204), Reason.INVALID),
        (lambda _: web.Response(text="<html>"), Reason.INVALID),
        (says({"errors": [{"code": "DENIED"}]}, 403), Reason.REFUSED),
        (says({}, 404), Reason.UNKNOWN),
        (says({}, 418), Reason.INVALID),
        (says({}, 500), Reason.BUSY),
        (says({}, 429, Retry_After="77"), Reason.BUSY),
        (says({"tags": ["a"]}, Link='<?n=1000>; rel="next"'), Reason.INVALID),
        (says({"tags": ["a"]}, Link='<http://[>; rel="next"'), Reason.INVALID),
        (lambda _: web.Response(body=b"[" * (registry.LONGEST_PAGE + 1)), Reason.INVALID),
        (lambda _: web.Response(status=302, headers={"Location": "/v2/os/ubuntu/tags/list"}), Reason.INVALID),
        (lambda _: web.Response(status=302, headers={"Location": "file:///etc/passwd"}), Reason.INVALID),
        (lambda _: web.Response(status=302), Reason.INVALID),
        (lambda _: web.Response(status=302, headers={"Location": "http://169.254.169.254/"}), Reason.NOT_ALLOWED),
        (says({}, 401), Reason.REFUSED),
        (says({}, 401, WWW_Authenticate="Bearer"), Reason.INVALID),
        (says({}, 401, WWW_Authenticate='Bearer realm="file:///etc/passwd"'), Reason.INVALID),
        (says({}, 401, WWW_Authenticate='Bearer realm="http://169.254.169.254/"'), Reason.NOT_ALLOWED),
        (says({}, 401, WWW_Authenticate='Bearer realm="https://a:b@c.example/"'), Reason.INVALID),
    ],
)
async def test_an_odd_answer_is_a_problem_by_name(told: Told, answer: Answer, reason: Reason) -> None:
    told.answers["/tags/list"] = answer
    problem = await refused(told)
    assert problem.reason is reason
    assert problem.wait == (77 if "429" in problem.message else None)
    assert (await refused(told)).message == problem.message, "or the status would be written again and again"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("77", 77),
        ("99999999999999", registry.LONGEST_WAIT),
        ("in a minute", None),
        ("-5", None),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True), 600),
        (lambda: format_datetime(datetime.now(UTC) - timedelta(seconds=600), usegmt=True), 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", registry.LONGEST_WAIT),
        ("Fri, 31 Dec 9999 23:59:59 -2300", registry.LONGEST_WAIT),
    ],
)
async def test_when_a_registry_wants_to_be_asked_again(told: Told, header: Any, seconds: float | None) -> None:
    told.answers["/tags/list"] = says({}, 429, Retry_After=header if isinstance(header, str) else header())
    problem = await refused(told)
    assert problem.wait == (None if seconds is None else pytest.approx(seconds, abs=3))


async def test_no_words_of_the_answer_are_repeated_but_its_codes(told: Told) -> None:
    body = {"errors": [{"code": "DENIED", "message": "the secret is 42"}, {"code": "secret 42"}, {"code": 42}]}
    told.answers["/tags/list"] = says(body, 403)
    message = (await refused(told)).message
    assert "(403 DENIED)" in message
    assert "42" not in message.replace(str(told.port), "")


async def test_pages_without_an_end_end(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def page(request: web.Request) -> web.Response:
        last = int(request.query.get("last", "0"))
        return web.json_response({"tags": [str(last)]}, headers={"Link": f'<?last={last + 1}>; rel="next"'})

    told.answers["/tags/list"] = page
    assert (await refused(told)).reason is Reason.TOO_MANY
    assert len(told.asked) == registry.MOST_PAGES
    monkeypatch.setattr(registry, "MOST_TAGS", 3)
    assert (await refused(told)).reason is Reason.TOO_MANY


async def test_a_registry_that_never_ends_its_answer(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 1000)
            await asyncio.sleep(0.01)

    monkeypatch.setattr(registry, "REQUEST_SECONDS", 0.3)
    told.answers["/tags/list"] = drip
    monkeypatch.setattr(registry, "LONGEST_PAGE", 1 << 40)
    assert "no answer within" in (await refused(told)).message


# -- who is called -----------------------------------------------------------------------------------------------------


async def test_loopback_is_refused_unless_listed(told: Told) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert (await refused(told, destinations=Destinations(), host=host)).reason is Reason.NOT_ALLOWED
    assert not told.asked


async def test_plain_http_is_asked_for_by_name(told: Told) -> None:
    problem = await refused(told, plain_http=False)
    assert (problem.reason, "plainHTTP" in problem.message) == (Reason.UNREACHABLE, True)


async def test_with_tls_a_certificate_has_to_be_trusted_and_nothing_goes_on_without(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.answers["/tags/list"] = says({"tags": ["1.0.0"]})
    pki = make_pki(tmp_path / "pki", hosts=["10.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.serving.certificate, pki.serving.key)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", told.answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    try:
        told.port = server.port or 0
        problem = await refused(told, plain_http=False)
        assert (problem.reason, "isn't trusted" in problem.message) == (Reason.UNREACHABLE, True)
        monkeypatch.setenv("SSL_CERT_FILE", str(pki.authority))
        assert await tags(told, plain_http=False) == ["1.0.0"]

        told.answers["/tags/list"] = lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
        assert "without TLS: not followed" in (await refused(told, plain_http=False)).message
        told.answers["/tags/list"] = says({}, 401, WWW_Authenticate='Bearer realm="http://127.0.0.1:1/"')
        assert "token server without TLS" in (await refused(told, plain_http=False, credentials=ALICE)).message
    finally:
        await server.close()


async def test_a_refused_connection_is_said(told: Told) -> None:
    told.port = 1
    problem = await refused(told)
    assert problem.message == "127.0.0.1:1 can't be reached: connection refused"


async def test_a_redirect_is_followed_without_the_credentials(told: Told, other: Told) -> None:
    there = f"http://127.0.0.1:{other.port}/elsewhere"

    def challenge(request: web.Request) -> web.Response:
        if "Authorization" not in request.headers:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return web.Response(status=307, headers={"Location": there})

    told.answers["/tags/list"] = challenge
    other.answers["/elsewhere"] = says({"tags": ["1.0.0"]})
    assert await tags(told, credentials=ALICE) == ["1.0.0"]
    assert told.headers("Authorization")[-1] is not None
    assert other.headers("Authorization") == [None]

    other.answers["/elsewhere"] = says({}, 401, WWW_Authenticate='Basic realm="give me"')
    assert (await refused(told, credentials=ALICE)).reason is Reason.REFUSED
    told.answers["/tags/list"] = lambda _: web.Response(status=307, headers={"Location": there})
    realm = f'Bearer realm="http://127.0.0.1:{other.port}/token"'
    other.answers["/elsewhere"] = says({}, 401, WWW_Authenticate=realm)
    assert (await refused(told, credentials=ALICE)).reason is Reason.REFUSED
    assert set(other.headers("Authorization")) == {None}, "nor to whom the other one sends us for a token"


async def test_without_tls_nobody_else_is_asked_on_a_registrys_word(told: Told) -> None:
    """Or whoever names a registry of his own in an image had any service of the cluster asked for any path."""
    elsewhere = "http://localhost:1/admin?delete=all"
    alone = Destinations((f"127.0.0.1:{told.port}",))
    for answer in (
        lambda _: web.Response(status=307, headers={"Location": elsewhere}),
        says({}, 401, WWW_Authenticate=f'Bearer realm="{elsewhere}"'),
    ):
        told.answers["/tags/list"] = answer
        problem = await refused(told, destinations=alone)
        assert (problem.reason, "localhost:1 without TLS" in problem.message) == (Reason.NOT_ALLOWED, True)
        assert (await refused(told)).reason is Reason.UNREACHABLE, "listed, it is asked"


async def test_a_redirect_out_of_the_list_is_not_followed(told: Told, other: Told) -> None:
    told.answers["/tags/list"] = lambda _: web.Response(
        status=302, headers={"Location": f"http://127.0.0.1:{other.port}/"}
    )
    only = Destinations((f"127.0.0.1:{told.port}",))
    assert (await refused(told, destinations=only)).reason is Reason.NOT_ALLOWED
    assert not other.asked


# -- who knows the password --------------------------------------------------------------------------------------------


async def test_credentials_are_sent_only_when_asked_for(told: Told) -> None:
    told.answers["/tags/list"] = says({"tags": []})
    await tags(told, credentials=ALICE)
    assert told.headers("Authorization") == [None]


async def test_a_token_is_for_pulling_from_this_repository_whatever_is_asked_for(told: Told, other: Told) -> None:
    scope = "repository:os/ubuntu:pull,push registry:catalog:*"
    challenge = f'Bearer realm="http://127.0.0.1:{other.port}/token?x=1",service="reg",scope="{scope}"'

    def listing(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer t0ken":
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.json_response({"tags": ["1.0.0"]})

    told.answers["/tags/list"] = listing
    other.answers["/token"] = says({"access_token": "t0ken"})
    assert await tags(told, credentials=ALICE) == ["1.0.0"]
    assert dict(other.asked[0].query) == {"x": "1", "scope": "repository:os/ubuntu:pull", "service": "reg"}
    assert (other.headers("Authorization")[0] or "").startswith("Basic ")
    assert [h for h in told.headers("Authorization") if h and "Basic" in h] == []

    for body in ({}, {"token": 1}, {"token": "a\r\nX: y"}, {"token": "é"}, []):
        other.answers["/token"] = says(body)
        assert (await refused(told, credentials=ALICE)).reason is Reason.INVALID
    other.answers["/token"] = says({}, 404)
    problem = await refused(told, credentials=ALICE)
    assert (problem.reason, "gives none (404)" in problem.message) == (Reason.INVALID, True), "not: no repository"
    other.answers["/token"] = says({}, 429, Retry_After="7")
    problem = await refused(told, credentials=ALICE)
    assert (problem.reason, problem.wait) == (Reason.BUSY, 7)
    other.answers["/token"] = says({}, 401)
    assert (await refused(told, credentials=ALICE)).reason is Reason.REFUSED
    other.answers["/token"] = lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    assert (await refused(told, credentials=ALICE)).reason is Reason.INVALID


@pytest.mark.parametrize("scheme", ["Basic realm=x", 'Bearer realm="http://elsewhere.example/token"'])
async def test_credentials_are_not_sent_in_the_clear(told: Told, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told.answers["/tags/list"] = says({}, 401, WWW_Authenticate=scheme)
    monkeypatch.setattr(registry, "is_loopback", lambda host: False)
    problem = await refused(told, credentials=ALICE, destinations=Destinations(("127.0.0.1", "elsewhere.example")))
    assert (problem.reason, "without TLS" in problem.message) == (Reason.SECRET, True)
    assert set(told.headers("Authorization")) == {None}
