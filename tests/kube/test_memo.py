"""What was made from objects: once per reading, and nothing of what is gone."""

from __future__ import annotations

import kube_objects as objects

from scalesets.kube.memo import Memo
from scalesets.kube.settings import Settings
from scalesets.kube.world import World


def test_a_value_is_made_once_per_reading_and_variant() -> None:
    made: list[str] = []
    memo: Memo[int] = Memo()
    first = objects.a_set()
    for _ in range(2):
        for variant in ("a", "b"):
            memo.get(first, variant, lambda v=variant: made.append(v) or 1)  # type: ignore[misc, func-returns-value]
    assert made == ["a", "b"]
    memo.get(dict(first), "a", lambda: made.append("again") or 1)  # type: ignore[func-returns-value]
    assert made == ["a", "b", "again"]


def test_when_there_are_too_many_the_oldest_goes() -> None:
    memo: Memo[int] = Memo(most=2)
    for number in range(5):
        memo.get(objects.a_set(uid=f"u{number}"), None, lambda: 1)
    assert len(memo) == 2


def test_nothing_is_kept_of_objects_that_are_gone() -> None:
    world = World(Settings(), lambda *_: None)
    memo: Memo[int] = Memo()
    scale_set, image = objects.a_set(), objects.an_image()
    for store, raw in ((world.sets, scale_set), (world.images, image)):
        store.put(raw)
        memo.get(raw, None, lambda: 1)
    successor = objects.a_set(uid="another")
    world.sets.put(successor)
    assert len(memo) == 1
    world.images.gone(image)
    assert len(memo) == 0
