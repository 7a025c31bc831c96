"""Sets of ordinals as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesets.engine import ordinals


@given(st.frozensets(st.integers(0, 400)))
def test_what_is_rendered_is_read_back(some: frozenset[int]) -> None:
    assert ordinals.parse(ordinals.render(some)) == some


def test_ranges_are_short() -> None:
    assert ordinals.render([7, 3, 1, 0, 2]) == "0-3,7"
    assert ordinals.render([]) == ""


@pytest.mark.parametrize("text", ["a", "1-", "-3", "1,,2", "1-x"])
def test_other_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="not a set of ordinals"):
        ordinals.parse(text)
