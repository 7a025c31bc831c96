"""Which tags are versions: patterns, orders, and the newest of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesets.engine import versions
from scalesets.kube import tags
from scalesets.kube.tags import TagRule, UnusablePattern, choose


def read(tag: str, **spec: object) -> str | None:
    rule = TagRule(spec)
    part = rule.part(tag)
    return None if part is None else rule.version(part)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.2.3", "1.2.3"),
        ("v1.2.3", "1.2.3"),
        ("V01.002.0003", "1.2.3"),
        ("22.4.202611010", "22.4.202611010"),
        ("latest", None),
        ("1.2", None),
        ("1", None),
        ("1.2.3.4", None),
        ("1.2.3-rc.1", None),
        ("1.2.3_build", None),
        ("12345678901.0.0", None),
        ("٣.1.2", None),
        ("1.2.3\n", None),
    ],
)
def test_a_tag_as_a_version(tag: str, version: str | None) -> None:
    assert read(tag) == version


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("20261101", "2026.1101.0"),
        ("2026-11-01", "2026.1101.0"),
        ("2026.01.09", "2026.109.0"),
        ("20261101.2", "2026.1101.2"),
        ("20261101-1530", "2026.1101.1530"),
        ("2026-11-01T153059", "2026.1101.153059"),
        ("20261301", None),
        ("20260230", None),
        ("2026-1101", None),
        ("202611010", None),
        ("20261101-1234567", None),
        ("1.2.3", None),
    ],
)
def test_a_tag_as_a_date(tag: str, version: str | None) -> None:
    assert read(tag, order="Date") == version


def test_dates_come_in_their_order() -> None:
    days = ["20251231", "20260101", "20260102.1", "20260102.2", "20260102-1530", "20260201", "20261001"]
    found = [read(tag, order="Date") for tag in days]
    assert found == sorted(found, key=lambda v: versions.parse(v or ""))


@pytest.mark.parametrize(
    ("tag", "version"),
    [("1.2.3-jammy", "1.2.3"), ("1.2.3-noble", None), ("x1.2.3-jammy", None), ("1.2.3-jammy-debug", None)],
)
def test_the_pattern_is_for_the_whole_tag_and_its_group_takes_the_version(tag: str, version: str | None) -> None:
    assert read(tag, tagPattern="(?P<version>[0-9.]+)-jammy") == version


def test_a_pattern_without_a_group_takes_the_whole_tag() -> None:
    assert read("v1.2.3", tagPattern="v.*") == "1.2.3"
    assert read("1.2.3", tagPattern="v.*") is None
    assert read("v1.2.3", tagPattern="^v.*$") == "1.2.3"


def test_what_is_excluded_does_not_count() -> None:
    assert read("1.2.3", excludePattern=r"1\.2\..*") is None
    assert read("11.2.3", excludePattern=r"1\.2\..*") == "11.2.3", "the whole tag or nothing"


def test_an_optional_group_that_took_no_part_is_no_version() -> None:
    assert read("edge", tagPattern="(?P<version>[0-9.]+)?edge") is None


@pytest.mark.parametrize("field", ["tagPattern", "excludePattern"])
@pytest.mark.parametrize("pattern", ["(", "(?=1)", r"(1)\1", "(?:(?:a{0,30}){0,30}){0,30}" * 9])
def test_a_pattern_that_can_t_be_used_is_said(field: str, pattern: str) -> None:
    with pytest.raises(UnusablePattern, match=field):
        TagRule({field: pattern})


def test_no_pattern_takes_long() -> None:
    rule = TagRule({"tagPattern": "(a|a)*(a*)*(?:a|a?)+$b", "excludePattern": "(x+x+)+y"})
    started = time.monotonic()
    for letter in "ax":
        for _ in range(200):
            rule.part(letter * tags.LONGEST_TAG)
    assert time.monotonic() - started < 2


def test_a_pattern_of_many_repetitions_is_given_up() -> None:
    """RE2 is linear in the tag, and this one takes 10 ms for each: for 20,000 of them some minutes."""
    rule = TagRule({"tagPattern": "(?P<version>" + "(.?){0,1000}" * 4 + ")"})
    listed = [f"{'a' * 120}{n:08d}" for n in range(20_000)]
    began = time.thread_time()
    with pytest.raises(UnusablePattern, match="fewer repetitions"):
        choose(listed, rule, most=9, known={})
    assert time.thread_time() - began < 3 * tags.MATCHING_SECONDS


def test_a_pattern_as_people_write_them_copes_with_as_many_tags_as_there_may_be() -> None:
    rule = TagRule({"tagPattern": "v?(?P<version>[0-9.]+)-(jammy|noble)", "excludePattern": ".*-debug"})
    listed = [f"v1.{n}.{m}-jammy" for n in range(200) for m in range(100)]
    assert choose(listed, rule, most=1, known={}).versions == (("1.199.99", "v1.199.99-jammy"),)


def test_the_newest_are_chosen_and_the_rest_is_counted() -> None:
    chosen = choose(["1.9.0", "1.10.0", "latest", "1.2.0", "edge", "1.1.0"], TagRule({}), most=3, known={})

    assert chosen.versions == (("1.10.0", "1.10.0"), ("1.9.0", "1.9.0"), ("1.2.0", "1.2.0"))
    assert (chosen.unreadable, chosen.examples, chosen.older) == (2, ("edge", "latest"), 1)


def test_of_two_tags_for_a_version_the_known_one_stays() -> None:
    listed = ["v1.0.0", "1.0.0", "1.00.0"]

    assert choose(listed, TagRule({}), most=9, known={}).versions == (("1.0.0", "1.0.0"),)
    assert choose(listed, TagRule({}), most=9, known={"1.0.0": "v1.0.0"}).versions == (("1.0.0", "v1.0.0"),)
    assert choose(listed, TagRule({}), most=9, known={"1.0.0": "gone"}).versions == (("1.0.0", "1.0.0"),)
    assert choose(listed, TagRule({}), most=9, known={}).doubles == 2


@given(st.lists(st.text(max_size=20) | st.from_regex(r"v?[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True)))
def test_the_order_of_the_list_does_not_matter(listed: list[str]) -> None:
    rule = TagRule({})
    assert choose(listed, rule, most=5, known={}) == choose(list(reversed(listed)), rule, most=5, known={})
    numbers = [versions.parse(v) for v, _ in choose(listed, rule, most=5, known={}).versions]
    assert numbers == sorted(numbers, reverse=True)
    assert all(len(n) == 3 for n in numbers)
