"""Events: told once, in the background, and never in the way."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.engine.decision import Event
from scalesets.kube.logs import FIELDS
from scalesets.kube.recorder import Recorder

SET: dict[str, Any] = {"metadata": {"name": "web", "namespace": "team", "uid": "set-uid"}}


async def test_an_event_is_posted_on_its_set_and_the_same_one_only_once() -> None:
    posted: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        posted.append((request.path, await request.json()))
        return json({})

    async with serving(answer) as cluster:
        recorder = Recorder(cluster, "op-1")
        for _ in range(3):
            recorder.tell(SET, Event("UpgradeStarted", "web-os-1: 4 instances"))
        recorder.tell(SET, Event("RollingBack", "web-3", warning=True))
        await recorder.flush()
    assert [path for path, _ in posted] == ["/apis/events.k8s.io/v1/namespaces/team/events"] * 2
    first, second = (body for _, body in posted)
    assert (first["type"], first["reason"], first["note"]) == ("Normal", "UpgradeStarted", "web-os-1: 4 instances")
    assert first["regarding"]["uid"] == "set-uid"
    assert second["type"] == "Warning"
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_what_is_told_stands_in_the_log_too_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """In the cluster events are gone after an hour. A container's last words make no lines of their own."""
    recorder = Recorder(None, "op-1")  # type: ignore[arg-type]  # nothing is posted
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            recorder.tell(SET, Event("UpgradeStarted", "web-os-1: 4 instances"))
        recorder.tell(SET, Event("BatchFailed", "web-3: died\n12:00:00.000 I all is well", warning=True))
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("INFO", "team/web: UpgradeStarted: web-os-1: 4 instances"),
        ("WARNING", "team/web: BatchFailed: web-3: died 12:00:00.000 I all is well"),
    ]
    fields = {"kind": "ScaleSet", "namespace": "team", "name": "web", "reason": "BatchFailed"}
    assert getattr(caplog.records[1], FIELDS) == fields


async def test_a_refused_event_is_nobodys_trouble_and_the_next_is_posted() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((await request.json())["reason"])
        return status_object(500, "InternalError", "no") if len(asked) == 1 else json({})

    async with serving(answer) as cluster:
        recorder = Recorder(cluster, "op-1")
        recorder.tell(SET, Event("One", ""))
        recorder.tell(SET, Event("Two", ""))
        await recorder.close()
    assert asked == ["One", "Two"]


async def test_when_events_pile_up_the_oldest_make_room() -> None:
    notes: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        notes.append((await request.json())["note"])
        return json({})

    async with serving(answer) as cluster:
        recorder = Recorder(cluster, "op-1")
        for number in range(520):
            recorder.tell(SET, Event(f"Many{number}", f"{number} {'x' * 2000}"))
        await recorder.flush()
    assert len(notes) == 500
    assert notes[0].startswith("20 ")
    assert all(len(note) <= 1024 for note in notes)


async def test_what_flaps_is_told_25_times_and_then_every_five_minutes() -> None:
    notes: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        notes.append((await request.json())["note"])
        return json({})

    now = 1000.0
    async with serving(answer) as cluster:
        recorder = Recorder(cluster, "op-1", clock=lambda: now)
        other = {"metadata": {**SET["metadata"], "uid": "another-uid"}}
        for number in range(40):
            recorder.tell(SET, Event("CreateFailed", f"attempt {number}", warning=True))
        recorder.tell(SET, Event("UpgradeFaulted", "stopped"))
        recorder.tell(other, Event("CreateFailed", "of another set"))
        await recorder.flush()
        assert len(notes) == 25 + 2
        assert notes[-2:] == ["stopped", "of another set"], "neither another reason nor another set suffers"

        now += 299
        recorder.tell(SET, Event("CreateFailed", "attempt 40"))
        now += 2
        recorder.tell(SET, Event("CreateFailed", "attempt 41"))
        recorder.tell(SET, Event("CreateFailed", "attempt 42"))
        await recorder.flush()
    assert notes[27:] == ["attempt 41 (16 of the kind were left out before)"]
