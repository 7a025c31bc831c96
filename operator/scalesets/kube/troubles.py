"""What went wrong with the writes of one set, told to the next decision in the server's words (docs/rules.md,
"Trouble").

Trouble is remembered per instance (or per model), with a back-off that doubles. It is forgotten when the step
succeeds, and when nobody tried the step again for a while after it might have been (the instance isn't wanted any
more).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scalesets.engine.view import Trouble, TroubleKind
from scalesets.kube.client import Outcome, Refusal


@dataclass(frozen=True, slots=True)
class BackOff:
    """The first and the longest wait."""

    first: timedelta
    longest: timedelta

    def after(self, failures: int) -> timedelta:
        """The wait after so many failures in a row."""
        factor: int = 2 ** min(failures - 1, 30)
        return min(self.first * factor, self.longest)


BACK_OFFS = {
    TroubleKind.QUOTA: BackOff(timedelta(milliseconds=50), timedelta(seconds=5)),
    TroubleKind.TEMPLATE_REFUSED: BackOff(timedelta(seconds=5), timedelta(minutes=5)),
    TroubleKind.PREFLIGHT: BackOff(timedelta(seconds=10), timedelta(minutes=1)),
    TroubleKind.NAME_CONFLICT: BackOff(timedelta(seconds=1), timedelta(seconds=30)),
    TroubleKind.CLAIM_CONFLICT: BackOff(timedelta(seconds=1), timedelta(seconds=30)),
    TroubleKind.CLAIM_NOT_ADOPTED: BackOff(timedelta(seconds=5), timedelta(minutes=5)),
    TroubleKind.CLAIM_NOT_EXPANDED: BackOff(timedelta(seconds=5), timedelta(minutes=5)),
    TroubleKind.IMAGE_MISSING: BackOff(timedelta(seconds=1), timedelta(minutes=1)),
    TroubleKind.CREATE_FAILED: BackOff(timedelta(milliseconds=100), timedelta(seconds=30)),
    TroubleKind.UPGRADE_NAME_CONFLICT: BackOff(timedelta(seconds=1), timedelta(seconds=30)),
    TroubleKind.WRITE_REFUSED: BackOff(timedelta(minutes=5), timedelta(minutes=5)),  # kept so long: the queue backs off
    TroubleKind.ACTION_REFUSED: BackOff(timedelta(seconds=30), timedelta(seconds=30)),  # so are actions, up to this
    TroubleKind.ZONES_UNKNOWN: BackOff(timedelta(seconds=1), timedelta(minutes=1)),
    TroubleKind.MODEL_REFUSED: BackOff(timedelta(seconds=10), timedelta(minutes=5)),
    TroubleKind.MODEL_NOT_STORED: BackOff(timedelta(seconds=1), timedelta(minutes=1)),
}
SAID_AFTER = timedelta(seconds=10)
"""What may pass by itself, a server that is busy or doesn't answer, is said when it has lasted for so long."""
_PASSING = (Outcome.BUSY, Outcome.NO_ANSWER, Outcome.CONFLICT, Outcome.MISSING, Outcome.EXISTS)
_KEPT = (TroubleKind.WRITE_REFUSED, TroubleKind.ACTION_REFUSED)
"""Others back off for these: here they are only kept to be told."""
_OF_MODEL = (TroubleKind.TEMPLATE_REFUSED, TroubleKind.PREFLIGHT)
STALE_AFTER = timedelta(seconds=30)
"""A step that nobody tried again so long after it might have been is no trouble any more."""

_Where = tuple[TroubleKind, str, int | None]  # kind, model, ordinal (None: all of the model)


@dataclass(slots=True)
class _Entry:
    message: str
    until: datetime
    failures: int


class Troubles:
    """The troubles of one scale set."""

    def __init__(self) -> None:
        self._entries: dict[_Where, _Entry] = {}
        self._failing_since: dict[TroubleKind, datetime] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def note(
        self,
        kind: TroubleKind,
        message: str,
        now: datetime,
        *,
        ordinal: int | None = None,
        model: str = "",
        wait: timedelta | None = None,
    ) -> datetime:
        """It went wrong (again): remember it, and say when to try again."""
        where = (kind, model, ordinal)
        before = self._entries.get(where)
        failures = before.failures + 1 if before is not None else 1
        if before is not None and kind is TroubleKind.QUOTA:
            message = before.message  # it counts what is used: a new number would be a new status each time
        until = now + max(BACK_OFFS[kind].after(failures), wait or timedelta(0))
        self._entries[where] = _Entry(message, until, failures)
        return until

    def is_worth_saying(self, kind: TroubleKind, refusal: Refusal, now: datetime) -> bool:
        """Whether a refused step is trouble already: a verdict at once, anything else when it lasts."""
        if refusal.outcome is Outcome.FENCED:
            return False
        since = self._failing_since.setdefault(kind, now)
        return refusal.outcome not in _PASSING or now - since >= SAID_AFTER

    def works(self, *kinds: TroubleKind) -> bool:
        """The steps of these kinds, of the set as a whole, succeeded; whether one was trouble before."""
        for kind in kinds:
            self._failing_since.pop(kind, None)
        before = len(self._entries)
        self.clear(*kinds)
        return len(self._entries) < before

    def first(self, *kinds: TroubleKind, held_at: datetime | None = None) -> tuple[TroubleKind, str] | None:
        """The first of these troubles of the set as a whole, if any (``held_at``: that isn't to be tried again yet)."""
        for (kind, _, ordinal), entry in self._entries.items():
            if kind in kinds and ordinal is None and (held_at is None or entry.until > held_at):
                return kind, entry.message
        return None

    def clear(self, *kinds: TroubleKind, ordinal: int | None = None, model: str | None = None) -> None:
        """The step succeeded: for this instance, or for this model."""
        if not self._entries:
            return
        for where in list(self._entries):
            kind, of_model, of_ordinal = where
            if kind in kinds and of_ordinal == ordinal and (model is None or of_model == model):
                del self._entries[where]

    def try_anew(self, now: datetime) -> None:
        """What was refused may be mended: every step may be tried at once, with the shortest waits."""
        for (kind, _, _), entry in self._entries.items():
            if kind not in _KEPT:
                entry.until, entry.failures = min(entry.until, now), 0

    def forget_models_but(self, models: set[str]) -> bool:
        """Forget what was wrong with models that nobody wants any more. Whether there was anything."""
        stale = [w for w in self._entries if w[0] in _OF_MODEL and w[1] not in models]
        for where in stale:
            del self._entries[where]
        return bool(stale)

    def held_until(self, ordinal: int, now: datetime) -> datetime | None:
        """Until when nothing is to be created for the instance."""
        times = [entry.until for (_, _, of), entry in self._entries.items() if of == ordinal and entry.until > now]
        return max(times, default=None)

    def all(self, now: datetime) -> tuple[Trouble, ...]:
        """What holds, one value per kind and model; the message is that of the lowest ordinal."""
        if not self._entries:
            return ()
        grouped: dict[tuple[TroubleKind, str], list[tuple[int, _Entry]]] = {}
        for where, entry in list(self._entries.items()):
            if entry.until + STALE_AFTER <= now:
                del self._entries[where]
                continue
            kind, model, ordinal = where
            grouped.setdefault((kind, model), []).append((-1 if ordinal is None else ordinal, entry))
        return tuple(
            Trouble(
                kind=kind,
                message=min(found, key=lambda pair: pair[0])[1].message,
                ordinals=frozenset(ordinal for ordinal, _ in found if ordinal >= 0),
                model=model,
                until=max(entry.until for _, entry in found),
                forgotten=min(entry.until for _, entry in found) + STALE_AFTER,
            )
            for (kind, model), found in grouped.items()
        )
