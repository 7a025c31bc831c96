"""Whether two references name one image."""

from __future__ import annotations

import pytest

from scalesets.engine import images

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
NAME = "registry.example:5000/os/ubuntu"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (f"{NAME}:1.0.0", f"{NAME}:1.0.0", True),
        (f"{NAME}:1.0.0", f"{NAME}:1.0.0@{ONE}", True),
        (f"{NAME}@{ONE}", f"{NAME}:1.0.0@{ONE}", True),
        (f"{NAME}:stable@{ONE}", f"{NAME}:1.0.0@{ONE}", True),
        ("anything", "anything", True),
        (f"{NAME}:1.0.0", f"{NAME}:1.0.1", False),
        (f"{NAME}:1.0.0@{ONE}", f"{NAME}:1.0.0@{TWO}", False),
        (f"{NAME}:1.0.0", f"{NAME}:1.0.1@{ONE}", False),
        (f"{NAME}:1.0.0", f"{NAME}@{ONE}", False),
        (NAME, f"{NAME}@{ONE}", False),
        (NAME, f"{NAME}:latest", False),
        (f"{NAME}:1.0.0", f"registry.example/os/ubuntu:1.0.0@{ONE}", False),
        (f"evil.example/os/ubuntu@{ONE}", f"{NAME}@{ONE}", False),
    ],
)
def test_two_references(one: str, other: str, same: bool) -> None:
    assert images.are_same(one, other) is same
    assert images.are_same(other, one) is same


def test_a_port_is_no_tag() -> None:
    assert images.read(NAME) == (NAME, "", "")
    assert images.read(f"{NAME}:1@{ONE}") == (NAME, "1", ONE)
