"""Trouble is told in the server's words, waits longer each time, and is forgotten when it is past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from scalesets.engine.view import TroubleKind
from scalesets.kube.troubles import Troubles

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def test_a_full_quota_is_tried_again_after_50_ms_doubling_to_5_seconds() -> None:
    troubles = Troubles()
    waits = [(troubles.note(TroubleKind.QUOTA, "full", NOW, ordinal=3) - NOW) / MS for _ in range(9)]
    assert waits == [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]


def test_the_words_of_a_quota_stay_though_its_numbers_move() -> None:
    troubles = Troubles()
    troubles.note(TroubleKind.QUOTA, "used: pods=3", NOW, ordinal=3)
    troubles.note(TroubleKind.QUOTA, "used: pods=4", NOW, ordinal=3)
    assert troubles.all(NOW)[0].message == "used: pods=3"


def test_a_refused_template_waits_up_to_five_minutes() -> None:
    troubles = Troubles()
    for _ in range(20):
        until = troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", NOW, model="m1")
    assert until - NOW == timedelta(minutes=5)


def test_the_server_may_ask_for_a_longer_wait() -> None:
    until = Troubles().note(TroubleKind.CREATE_FAILED, "busy", NOW, ordinal=1, wait=timedelta(seconds=9))
    assert until - NOW == timedelta(seconds=9)


def test_one_value_per_kind_with_all_its_instances_and_the_words_of_the_first() -> None:
    troubles = Troubles()
    troubles.note(TroubleKind.NAME_CONFLICT, "web-7 is foreign", NOW, ordinal=7)
    troubles.note(TroubleKind.NAME_CONFLICT, "web-2 is foreign", NOW, ordinal=2)
    troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", NOW, model="m1")
    conflict, refused = sorted(troubles.all(NOW), key=lambda t: t.kind.value)
    assert (conflict.kind, conflict.ordinals, conflict.message) == (
        TroubleKind.NAME_CONFLICT,
        frozenset({2, 7}),
        "web-2 is foreign",
    )
    assert (refused.model, refused.ordinals) == ("m1", frozenset())


def test_success_clears_it_for_that_instance_only() -> None:
    troubles = Troubles()
    troubles.note(TroubleKind.QUOTA, "full", NOW, ordinal=1)
    troubles.note(TroubleKind.QUOTA, "full", NOW, ordinal=2)
    troubles.clear(TroubleKind.QUOTA, TroubleKind.CREATE_FAILED, ordinal=1)
    assert [t.ordinals for t in troubles.all(NOW)] == [frozenset({2})]
    assert troubles.held_until(1, NOW) is None
    assert troubles.held_until(2, NOW) is not None


def test_a_condition_does_not_flap_between_two_tries_but_ends_when_nobody_tries_any_more() -> None:
    troubles = Troubles()
    until = troubles.note(TroubleKind.NAME_CONFLICT, "foreign", NOW, ordinal=1)
    assert troubles.all(until + timedelta(seconds=5))
    assert not troubles.all(until + timedelta(seconds=31))
    assert not troubles


def test_when_something_may_be_mended_all_is_tried_at_once_and_still_told() -> None:
    troubles = Troubles()
    for _ in range(5):
        troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", NOW, model="m1")
        troubles.note(TroubleKind.WRITE_REFUSED, "not stored", NOW)
    troubles.try_anew(NOW)
    until = {t.kind: t.until for t in troubles.all(NOW)}
    assert until[TroubleKind.TEMPLATE_REFUSED] == NOW
    assert until[TroubleKind.WRITE_REFUSED] == NOW + timedelta(minutes=5), "it is only kept to be told"
    assert troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", NOW, model="m1") == NOW + timedelta(seconds=5)


def test_what_was_wrong_with_models_that_are_past_is_forgotten() -> None:
    troubles = Troubles()
    troubles.note(TroubleKind.PREFLIGHT, "Secret keys is missing", NOW, model="old")
    assert troubles.forget_models_but({"new"}) and not troubles


def test_the_refused_templates_of_models_that_are_past_are_forgotten() -> None:
    troubles = Troubles()
    troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", NOW, model="old")
    troubles.note(TroubleKind.TEMPLATE_REFUSED, "no", NOW, model="new")
    assert troubles.forget_models_but({"new"})
    assert [t.model for t in troubles.all(NOW)] == ["new"]
    assert not troubles.forget_models_but({"new"})
