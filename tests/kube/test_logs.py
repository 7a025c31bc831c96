"""The operator's log: a line is a line, for people and for machines."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import orjson
import pytest

from scalesets.kube import logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def fail(name: str) -> None:
    try:
        raise KeyError("inside")
    except KeyError:
        logging.getLogger(name).exception("it failed")


def test_what_kopf_tries_again_at_once_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(json_log=False, verbose=False)
    log = logging.getLogger("kopf._cogs.clients.watching")
    for attempt in (1, 2):
        log.error(f"Request attempt #{attempt}/9 failed; will retry: GET https://127.0.0.1/")

    assert [line.split()[4] for line in capsys.readouterr().err.splitlines()] == ["#2/9"]


@pytest.mark.parametrize(("verbose", "tracebacks"), [(False, 1), (True, 2)])
def test_kopfs_own_tracebacks_are_for_verbose(
    capsys: pytest.CaptureFixture[str], verbose: bool, tracebacks: int
) -> None:
    logs.configure(json_log=False, verbose=verbose)
    fail("kopf._core.reactor.orchestration")
    fail("kopf.objects")
    said = capsys.readouterr().err
    assert said.count("it failed") == 2
    assert said.count("KeyError: 'inside'") == tracebacks


def test_a_line_for_machines_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(json_log=True, verbose=False)
    logging.getLogger("scalesets").info("web: %s", "create 0-3")
    fail("scalesets")
    first, second = map(orjson.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["message"]) == ("info", "web: create 0-3")
    assert "KeyError" in second["traceback"]


def test_what_a_line_is_about_stands_in_fields_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"kind": "ScaleSet", "namespace": "team-a", "name": "web", "upgrade": "", "does": "create 0-3"}
    logs.configure(json_log=True, verbose=False)
    logging.getLogger("scalesets").info("web: %s", "create 0-3", extra={logs.FIELDS: fields})
    line = orjson.loads(capsys.readouterr().err)
    assert {name: line.get(name) for name in fields if name != "upgrade"} == {n: v for n, v in fields.items() if v}
    assert "upgrade" not in line
