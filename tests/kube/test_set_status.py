"""ScaleSet.status: what is written is read back as it was, fits the API, and moves no time without need."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from kube_objects import NOW, a_set, at
from shapes import unknown_fields
from status_strategies import releases, set_statuses

from scalesets.api.scaleset_status import ScaleSetStatus
from scalesets.engine.view import Code, Condition, LastUpgrade, Release, SetStatus
from scalesets.kube import statuses, times


@given(set_statuses)
def test_what_is_written_is_read_back(status: SetStatus):
    assert statuses.read_set(statuses.write_set(status, a_set(), NOW)) == status


@given(set_statuses)
def test_what_is_written_fits_the_api(status: SetStatus):
    body = statuses.write_set(status, a_set(), NOW)

    assert list(unknown_fields(ScaleSetStatus, body)) == []
    ScaleSetStatus.model_validate(body)


@given(set_statuses)
def test_writing_what_was_read_changes_nothing(status: SetStatus):
    body = statuses.write_set(status, a_set(), NOW)
    again = statuses.write_set(statuses.read_set(body), a_set(status=body), NOW + timedelta(hours=1))

    assert statuses.same(body, again)


def test_a_set_that_was_never_seen_has_an_empty_status():
    assert statuses.read_set(None) == statuses.read_set({}) == SetStatus()


@given(releases, releases)
def test_the_record_is_grouped_by_what_instances_run(one: Release, other: Release):
    record = {0: one, 1: one, 2: other, 3: one, 9: one}

    groups = statuses.write_record(record)

    assert statuses.read_record(groups) == record
    assert [g["ordinals"] for g in groups] == (["0-1,3,9", "2"] if one != other else ["0-3,9"])


def test_the_selector_is_that_of_the_scale_subresource():
    assert statuses.write_set(SetStatus(), a_set("db"), NOW)["selector"] == "scalesets.dev/scaleset=db"


def test_only_the_newest_faulted_versions_are_kept():
    versions = tuple(f"1.0.{n}" for n in range(25))

    written = statuses.write_set(SetStatus(faulted_os_versions=versions), a_set(), NOW)

    assert written["faultedOSVersions"] == list(versions[-20:])


# -- conditions --------------------------------------------------------------------------------------------------------


def write(*conditions: Condition, before=None):
    return statuses.write_conditions(conditions, {"conditions": before or []}, NOW, 7)


def test_a_condition_keeps_its_time_while_its_status_stays():
    before = [{"type": "Ready", "status": "True", "reason": "Old", "lastTransitionTime": at(-99)}]

    (same,) = write(Condition("Ready", True, "New", "words"), before=before)
    (other,) = write(Condition("Ready", False, "New", since=times.parse(at(-5))), before=before)
    (fresh,) = write(Condition("Ready", None, "New"))

    assert (same["lastTransitionTime"], same["reason"], same["message"]) == (at(-99), "New", "words")
    assert (other["lastTransitionTime"], other["status"]) == (at(-5), "False")
    assert (fresh["lastTransitionTime"], fresh["status"]) == (at(0), "Unknown")
    assert fresh["observedGeneration"] == 7


def test_words_that_the_api_would_refuse_are_cut():
    (condition,) = write(Condition("Ready", True, "Ready", "x" * 50_000))

    assert len(condition["message"]) == statuses.LONGEST_MESSAGE
    assert condition["message"].endswith("…")


def test_no_change_but_in_time_is_no_change():
    status = SetStatus(conditions=(Condition("Ready", True, "Ready", since=NOW),))
    body = statuses.write_set(status, a_set(), NOW)
    later = replace(status, conditions=(Condition("Ready", True, "Ready", since=NOW + timedelta(hours=1)),))

    assert statuses.same(body, statuses.write_set(later, a_set(status=body), NOW + timedelta(hours=1)))
    assert not statuses.same(body, None)
    assert statuses.same(None, {})


# -- extensions --------------------------------------------------------------------------------------------------------

FAILED = LastUpgrade(
    "web-ext-1", "1.1.0", Code.FAULTED, NOW, code="Max", reason="2 of 2", model="abc", retry_delay=timedelta(days=3)
)


@pytest.mark.requirement("E4", "E11")
def test_how_an_extensions_upgrade_ended_and_when_it_is_tried_again_is_said():
    status = SetStatus(extensions=(("monitor", "1.0.0", "Enabled"),), last_extension_upgrades={"monitor": FAILED})

    body = statuses.write_set(status, a_set(), NOW)

    assert body["extensions"] == [
        {
            "name": "monitor",
            "version": "1.0.0",
            "automaticUpgrade": "Enabled",
            "lastUpgrade": {
                "name": "web-ext-1",
                "version": "1.1.0",
                "outcome": "Faulted",
                "code": "Max",
                "reason": "2 of 2",
                "model": "abc",
                "completedTime": "2026-11-22T12:00:00Z",
                "retryTime": "2026-11-25T12:00:00Z",
            },
        }
    ]


def test_the_last_upgrade_of_an_extension_that_is_gone_is_forgotten():
    status = SetStatus(extensions=(("agent", "1.0.0", "Enabled"),), last_extension_upgrades={"monitor": FAILED})

    body = statuses.write_set(status, a_set(), NOW)

    assert [e["name"] for e in body["extensions"]] == ["agent"]
    assert statuses.read_set(body).last_extension_upgrades == {}


@pytest.mark.parametrize("last", [None, {}])
def test_an_extension_without_a_last_upgrade_is_read(last):
    body = {"extensions": [{"name": "agent", "automaticUpgrade": "NotSupported", "lastUpgrade": last}]}

    found = statuses.read_set(body)

    assert found.extensions == (("agent", "", "NotSupported"),)
    assert found.last_extension_upgrades == {}
