"""What a walk has reached, for ``pytest --hypothesis-show-statistics``: rules that never meet an upgrade at work prove
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hypothesis import event

from scalesets.engine.view import Upgrade, UpgradeType


def tell(upgrades: Iterable[Upgrade]) -> None:
    """Note how upgrades went, each thing once."""
    for words in dict.fromkeys(words for upgrade in upgrades for words in _of(upgrade)):
        event(words)


def _of(upgrade: Upgrade) -> Iterator[str]:
    status = upgrade.status
    if status is None:
        return
    kind = upgrade.type.value
    yield f"{kind}: {status.code.value} {status.error_code}"
    if status.waiting:
        yield f"{kind}: waits, {status.waiting}"
    if any(batch.rolled_back for batch in status.batches):
        yield f"{kind}: put back"
    if any(batch.roll_back_failed for batch in status.batches):
        yield f"{kind}: a put-back failed"
    if upgrade.type is UpgradeType.EXTENSION:
        if len({target.name for target in status.extensions}) > 1:
            yield "several extensions due at once"
        if status.skipped:
            yield "instances skipped"
        for target in status.extensions:
            yield f"an extension: {target.outcome.value} {target.error_code}"
