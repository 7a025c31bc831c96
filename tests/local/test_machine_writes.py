"""The machines' own HTTP for writes: answers in any pieces, connections that stay or break."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scalesets.local.certificates import make_pki
from scalesets.local.machines.writes import Writer, parse

PLAIN = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "answer"),
    [(PLAIN, (201, b"hello", True)), (CHUNKED, (200, b"hello", True)), (CLOSING, (200, b"", False))],
)
def test_an_answer_is_known_with_its_last_byte_and_not_before(received: bytes, answer: tuple[int, bytes, bool]) -> None:
    assert [parse(received[:end]) for end in range(len(received))] == [None] * len(received)
    assert parse(received) == answer


def test_an_answer_without_a_length_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="neither a length nor chunks"):
        parse(b"HTTP/1.1 200 OK\r\n\r\n")


Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def a_server(place: Path, serve: Serve) -> AsyncIterator[tuple[Writer, list[int]]]:
    """Give a writer to a TLS server that calls `serve` per request, and the connections that were opened."""
    pki = make_pki(place, service_address="10.96.0.1")
    opened: list[int] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(len(opened))
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await serve(head.split()[1] + b" " + await reader.readexactly(length), writer)
            if writer.is_closing():
                return

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.apiserver.certificate, pki.apiserver.key)
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    client = Writer(
        port=server.sockets[0].getsockname()[1], context=ssl.create_default_context(cafile=str(pki.authority))
    )
    yield client, opened
    client.close()
    server.close()


async def test_requests_one_after_the_other_share_a_connection(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        for byte in CHUNKED:
            writer.write(bytes([byte]))
            await writer.drain()

    async with a_server(tmp_path, serve) as (client, opened):
        answers = [await client.send("PATCH", f"/pods/{index}", b"{}", "application/json") for index in range(3)]

    assert answers == [(200, b"hello")] * 3
    assert seen == [b"/pods/0 {}", b"/pods/1 {}", b"/pods/2 {}"]
    assert len(opened) == 1


async def test_requests_at_once_have_a_connection_each(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        await both.wait()
        writer.write(PLAIN)

    async with a_server(tmp_path, serve) as (client, opened):
        answers = await asyncio.gather(*(client.send("POST", "/", b"", "text/plain") for _ in range(2)))

    assert answers == [(201, b"hello")] * 2
    assert len(opened) == 2


async def test_a_connection_that_was_closed_is_not_used_again(tmp_path: Path) -> None:
    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(CLOSING)
        writer.close()

    async with a_server(tmp_path, serve) as (client, opened):
        for _ in range(2):
            assert await client.send("POST", "/", b"", "text/plain") == (200, b"")

    assert len(opened) == 2


async def test_a_connection_that_breaks_off_is_an_error_and_the_next_request_goes_on(tmp_path: Path) -> None:
    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request.startswith(b"/bad"):
            writer.write(PLAIN[:-2])
            writer.close()
        else:
            writer.write(PLAIN)

    async with a_server(tmp_path, serve) as (client, _):
        with pytest.raises(ConnectionResetError):
            await client.send("POST", "/bad", b"", "text/plain")
        assert await client.send("POST", "/good", b"", "text/plain") == (201, b"hello")


async def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None: ...

    async with a_server(tmp_path, serve) as (client, _):
        nobody = Writer(port=9, context=client._context)
        with pytest.raises(ConnectionRefusedError):
            await nobody.send("POST", "/", b"", "text/plain")
