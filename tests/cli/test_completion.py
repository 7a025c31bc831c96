"""kubectl's protocol for the completion of plugins: a candidate a line, and a directive."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.test_arguments import a_kubeconfig
from scalesets.cli.completion import candidates_for_kubectl


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", a_kubeconfig(tmp_path))


def names(*words: str) -> list[str]:
    *candidates, directive = candidates_for_kubectl(list(words))
    assert directive == ":4"
    return [candidate.split("\t")[0] for candidate in candidates]


def test_commands() -> None:
    assert {"status", "explain", "start", "update-instances", "local", "operator"} <= set(names(""))
    assert names("sta") == ["status", "start"]
    assert candidates_for_kubectl(["hist"])[0].startswith("history\tThe upgrades of the set")


def test_options_and_their_values() -> None:
    assert "--watch" in names("status", "--w")
    assert names("status", "web", "-o", "") == ["wide", "json", "yaml"]
    assert names("status", "web", "--context", "") == ["here"]


def test_without_a_cluster_there_are_no_names_and_no_words() -> None:
    assert names("status", "") == []
    assert names("update-instances", "web", "") == []
    assert names("status", "web", "-n", "") == []


def test_words_with_quotes_do_no_harm() -> None:
    assert names("status", "it's") == []
