"""The cache: rule 4 of docs/design.md, and the ghosts that it keeps out."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesets.kube.cache import HistoryLost, Store, keep
from scalesets.kube.names import Raw

KEY = ("team", "web-0")


def an_object(version: int, *, uid: str = "u1", name: str = "web-0", namespace: str = "team") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": str(version)}}


def a_store(changes: list[Any] | None = None) -> Store[Raw]:
    return Store(keep, (lambda *change: changes.append(change)) if changes is not None else None)


def version_of(store: Store[Raw]) -> int | None:
    found = store.get(KEY)
    return int(found["metadata"]["resourceVersion"]) if found is not None else None


def test_the_newer_of_two_versions_counts_in_whatever_order_they_come() -> None:
    store = a_store()
    assert store.put(an_object(5))
    assert not store.put(an_object(4))
    assert not store.put(an_object(5))
    assert store.put(an_object(7))
    assert version_of(store) == 7


def test_a_deletion_with_the_version_that_the_delete_answered_is_applied() -> None:
    store = a_store()
    store.put(an_object(5))
    store.put(an_object(8))  # the answer of our DELETE
    assert store.gone(an_object(8))
    assert KEY not in store


def test_a_deletion_of_another_uid_is_not_applied() -> None:
    store = a_store()
    store.put(an_object(9, uid="u2"))
    assert not store.gone(an_object(12, uid="u1"))
    assert version_of(store) == 9


def test_a_late_answer_raises_no_ghost() -> None:
    store = a_store()
    store.put(an_object(5))
    store.gone(an_object(6))
    assert not store.put(an_object(5))
    assert not store.put(an_object(6))
    assert KEY not in store
    store.vanished(KEY, "u1")
    assert not store.put(an_object(8))
    assert KEY not in store


def test_an_object_that_lost_its_label_and_has_it_again_is_seen_again() -> None:
    store = a_store()
    store.put(an_object(5))
    store.gone(an_object(6))  # so says a watch that selects by the label
    assert store.put(an_object(7))
    assert version_of(store) == 7
    listing = store.listing()
    listing.end(8)
    assert KEY not in store
    assert not store.put(an_object(8))
    assert store.put(an_object(9))


def test_a_successor_of_the_same_name_replaces_the_entry_at_once() -> None:
    changes: list[Any] = []
    store = a_store(changes)
    store.put(an_object(5, uid="u1"))
    store.put(an_object(9, uid="u2"))
    assert store.get(KEY) == an_object(9, uid="u2")
    assert not store.gone(an_object(8, uid="u1"))
    assert [(c[1] and c[1]["metadata"]["uid"], c[2] and c[2]["metadata"]["uid"]) for c in changes] == [
        (None, "u1"),
        ("u1", "u2"),
    ]


def test_the_parser_gets_what_was_known_of_the_same_uid_only() -> None:
    seen: list[Any] = []

    def parse(raw: dict[str, Any], previous: int | None) -> int:
        seen.append(previous)
        return int(raw["metadata"]["resourceVersion"])

    store: Store[int] = Store(parse)
    store.put(an_object(1))
    store.put(an_object(2))
    store.put(an_object(3, uid="u2"))
    assert seen == [None, 1, None]


def test_a_list_takes_out_what_it_does_not_hold_and_spares_what_is_newer() -> None:
    store = a_store()
    store.put(an_object(3, name="old", uid="a"))
    store.put(an_object(4, name="kept", uid="b"))
    listing = store.listing()
    listing.add(an_object(4, name="kept", uid="b"))
    store.put(an_object(12, name="made-meanwhile", uid="c"))
    listing.end(10)
    assert {key[1] for key in store.all_keys()} == {"kept", "made-meanwhile"}


def test_the_list_of_one_namespace_leaves_the_others_alone() -> None:
    store = a_store()
    store.put(an_object(3, namespace="a", uid="a"))
    store.put(an_object(4, namespace="b", uid="b"))
    store.listing("a").end(10)
    assert store.all_keys() == (("b", "web-0"),)


def test_a_server_that_went_back_in_time_is_not_believed() -> None:
    store = a_store()
    store.put(an_object(50))
    with pytest.raises(HistoryLost, match="etcd restored"):
        store.listing().end(20)


def test_deleted_uids_are_forgotten_in_the_end() -> None:
    now = [0.0]
    store: Store[Raw] = Store(keep, clock=lambda: now[0])
    for number in range(100):
        now[0] += 10
        store.vanished(KEY, f"u{number}")
    assert len(store._deleted) <= 31


@given(st.lists(st.sampled_from(["write", "delete"]), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_late_answers_never_change_where_the_watch_leads(steps: list[str], order: random.Random) -> None:
    """The watch tells all in order; the answers of our own writes come at any time after the write, also long after."""
    events: list[tuple[str, dict[str, Any]]] = []
    uid = 0
    alive = False
    for version, step in enumerate(steps, start=1):
        if step == "write" or not alive:
            uid += not alive
            alive = True
            events.append(("put", an_object(version, uid=f"u{uid}")))
        else:
            alive = False
            events.append(("gone", an_object(version, uid=f"u{uid}")))
    answers = [raw for kind, raw in events if kind == "put" and order.random() < 0.6]
    # An answer may overtake the watch, but not the write itself.
    schedule = [(index, 1, event) for index, event in enumerate(events)]
    schedule += [(order.uniform(0, len(events) + 3), 0, ("put", raw)) for raw in answers]
    store = a_store()
    for _, _, (kind, raw) in sorted(schedule, key=lambda item: item[:2]):
        (store.put if kind == "put" else store.gone)(raw)
    last_kind, last = events[-1]
    for kind, raw in events:  # the watch is there in the end
        (store.put if kind == "put" else store.gone)(raw)
    assert store.get(KEY) == (last if last_kind == "put" else None)
