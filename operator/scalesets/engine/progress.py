"""The four counts of an upgrade and its roll-backs, from its batches and scope alone: they always sum to the scope
(I6, O22).
"""

from __future__ import annotations

from dataclasses import replace

from scalesets.engine import checks
from scalesets.engine.view import NONE, Progress, UpgradeStatus


def counted(status: UpgradeStatus) -> UpgradeStatus:
    """The status with its counts brought up to its batches."""
    scope = status.scope
    touched = checks.touched(status.batches, scope)
    failed = checks.failed(status.batches, scope)
    running = status.running_batch
    at_work = (frozenset(running.members) & scope) - failed if running is not None else NONE
    back = frozenset(o for b in status.batches if b is not running for o in b.rolled_back) & scope
    stuck = frozenset(o for b in status.batches for o in b.roll_back_failed) & scope
    return replace(
        status,
        progress=Progress(
            successful=len(touched - failed - at_work),
            failed=len(failed),
            in_progress=len(at_work),
            pending=len(scope - touched),
        ),
        rolled_back=len(back - stuck),
        roll_back_failed=len(stuck),
    )
