"""Figures of the running operator: what it wrote, what it cost, how quick it was (`make bench` reads them).

``SCALESETS_STATS=FILE`` makes the operator write them as JSON at its end and whenever it gets SIGUSR1. Only
successful writes count; dry-runs, Events and the Lease are counted apart, because a cluster pays for them
differently.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from array import array
from collections import Counter
from pathlib import Path

import orjson

_SAMPLES = 20_000  # per series; enough for a bench, bounded for an operator that runs for months


class Stats:
    """Counters and samples of one process."""

    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()  # "POST pods", "PATCH scalesets/status", …
        self.apart: Counter[str] = Counter()  # dry-runs, Events, the Lease
        self.failed: Counter[str] = Counter()  # "409 PATCH scalesets/status", …
        self.marks: dict[str, dict[str, float]] = {}
        self._series: dict[str, array[float]] = {}
        self._counts: Counter[str] = Counter()
        self._start = time.monotonic()

    def wrote(self, method: str, what: str, *, apart: bool) -> None:
        """A write succeeded."""
        (self.apart if apart else self.writes)[f"{method} {what}"] += 1

    def refused(self, status: int, method: str, what: str) -> None:
        """A request failed; status 0 when there was no answer."""
        self.failed[f"{status} {method} {what}"] += 1

    def sample(self, series: str, milliseconds: float) -> None:
        """One measured duration; the oldest make room."""
        samples = self._series.setdefault(series, array("d"))
        count = self._counts[series]
        self._counts[series] = count + 1
        if count < _SAMPLES:
            samples.append(milliseconds)
        else:
            samples[count % _SAMPLES] = milliseconds

    def next_batch_touched(self, since: float) -> None:
        """The first instance of a batch was touched; ``since``: when the last of the batch before was seen healthy."""
        self.sample("next_batch_latency", (time.monotonic() - since) * 1000)

    def mark(self, name: str) -> None:
        """Note time, CPU and memory at a moment such as "synced"; the first time counts."""
        if name not in self.marks:
            self.marks[name] = self._cost()

    def _cost(self) -> dict[str, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds_since_start": round(time.monotonic() - self._start, 4),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 4),
            "rss_mb": round(_resident_mb(), 1),
            "peak_rss_mb": round(usage.ru_maxrss / 1024, 1),
        }

    def figures(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        return {
            **self._cost(),
            "pid": os.getpid(),
            "time": time.time(),
            "writes": dict(self.writes),
            "writes_apart": dict(self.apart),
            "failed_requests": dict(self.failed),
            "marks": self.marks,
            "milliseconds": {name: _summary(samples, self._counts[name]) for name, samples in self._series.items()},
        }

    def dump(self, path: Path) -> None:
        """Write the figures; the file appears whole or not at all."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(orjson.dumps(self.figures(), option=orjson.OPT_INDENT_2))
        temporary.replace(path)


def _summary(samples: array[float], count: int) -> dict[str, object]:
    ordered = sorted(samples)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return {
        "count": count,
        "mean": round(sum(ordered) / len(ordered), 3),
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "max": round(ordered[-1], 3),
        "last": [round(value, 3) for value in samples[-100:]],
    }


def _resident_mb() -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
