"""Lists that are too long for a message."""

from __future__ import annotations

import pytest

from scalesets.kube.phrases import first_of


@pytest.mark.parametrize(
    ("some", "separator", "words"),
    [
        ([], ", ", ""),
        (["a", "b"], ", ", "a, b"),
        (["a", "b", "c", "d"], ", ", "a, b and 2 more"),
        (["a", "b"], "; ", "a; b"),
        (["a", "b", "c"], "; ", "a; b; and 1 more"),
    ],
)
def test_the_first_and_how_many_more(some: list[str], separator: str, words: str) -> None:
    assert first_of(some, 2, separator=separator) == words
