"""The referee sees what breaks I10."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from refereeing.book import Book
from refereeing.machines import Machines

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def judged(*machines: dict[str, Any], upgrades: list[dict[str, Any]]) -> list[str]:
    book = Book(timeline_length=100)
    found = Machines(book)
    for machine in machines:
        found.see_machine("ADDED", ("team", machine["name"]), machine)
    for number, upgrade in enumerate(upgrades):
        obj = {"metadata": {"uid": f"u{number}"}, **upgrade}
        found.see_upgrade("MODIFIED", ("team", upgrade["name"]), obj, NOW)
    return [v.invariant for v in book.violations]


def a_machine(name: str, domain: int | None = None, **spec: Any) -> dict[str, Any]:
    return {"name": name, "spec": spec, "status": {} if domain is None else {"updateDomain": domain}}


def works(of: str, outcome: str = "Running", **batch: Any) -> dict[str, Any]:
    field, name = of.split("/")
    return {
        "name": f"{name}-ext",
        "spec": {field: name},
        "status": {"batches": [{"number": 1, "outcome": outcome, **batch}]},
    }


def test_more_machines_than_a_fifth() -> None:
    three = [a_machine(n) for n in "abc"]
    one, two = works("virtualMachine/a"), works("virtualMachine/b")
    assert judged(*three, upgrades=[one, two]) == ["I10"]
    assert judged(*three, upgrades=[one, works("virtualMachine/a", "Succeeded"), two]) == []


def test_machines_of_two_zones() -> None:
    ten = [a_machine(f"m{n}", zone=str(n % 2)) for n in range(10)]
    assert judged(*ten, upgrades=[works("virtualMachine/m0"), works("virtualMachine/m1")]) == ["I10"]
    assert judged(*ten, upgrades=[works("virtualMachine/m0"), works("virtualMachine/m2")]) == []


def test_an_availability_set() -> None:
    three = [a_machine(n, d, availabilitySet="dbs") for n, d in (("a", 0), ("b", 1), ("c", 0))]
    assert judged(*three, upgrades=[works("availabilitySet/dbs", machines=["a", "c"])]) == []
    assert judged(*three, upgrades=[works("availabilitySet/dbs", machines=["a", "b"])]) == ["I10"]
    assert judged(*three, upgrades=[works("availabilitySet/dbs", machines=["a", "b", "c"])]) == ["I10", "I10"]


def test_namespaces_of_one_subscription_count_as_one_and_others_do_not() -> None:
    def of(second: str) -> list[str]:
        book = Book(timeline_length=100)
        found = Machines(book)
        for namespace, subscription in (("team", "one"), ("other", second)):
            found.see_namespace(namespace, {"metadata": {"labels": {"scalesets.dev/subscription": subscription}}})
            found.see_machine("ADDED", (namespace, "a"), a_machine("a"))
        for namespace in ("team", "other"):
            obj = {"metadata": {"uid": namespace}, **works("virtualMachine/a")}
            found.see_upgrade("MODIFIED", (namespace, "a-ext"), obj, NOW)
        return [v.invariant for v in book.violations]

    assert of("one") == ["I10"]
    assert of("two") == []


def test_what_a_deleted_machine_leaves_behind_is_not_at_work() -> None:
    book = Book(timeline_length=100)
    found = Machines(book)
    for name in "ab":
        found.see_machine("ADDED", ("team", name), a_machine(name))
    left, next_one = ({"metadata": {"uid": n}, **works(f"virtualMachine/{n}")} for n in "ab")
    found.see_upgrade("MODIFIED", ("team", "a-ext"), left, NOW)
    found.see_machine("DELETED", ("team", "a"), a_machine("a"))
    found.see_upgrade("MODIFIED", ("team", "a-ext"), left, NOW)
    found.see_upgrade("MODIFIED", ("team", "b-ext"), next_one, NOW)
    assert not book.violations
