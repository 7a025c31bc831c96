"""How the operator's log looks: one line per decision for people, or one JSON object a line for machines."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

_QUIET = ("kopf", "kopf.objects", "kopf.activities", "asyncio", "aiohttp.access")
"""Loggers that tell what nobody asked for; their warnings and errors are shown."""


FIELDS = "fields"
"""What a record may carry beside its words (``extra={FIELDS: {…}}``), for machines: empty values are left out."""


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        line = f"{time} {record.levelname[0]} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in getattr(record, FIELDS, {}).items() if value}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def _without_kopfs_insides(record: logging.LogRecord) -> bool:
    """Kopf gives up a watch with a traceback per task, and its line says it all. Those of our handlers stay.

    What it tries again at once for the first time is no trouble yet: a new kind's storage needs a second or two.
    """
    if record.name.startswith("kopf._"):
        if record.getMessage().startswith("Request attempt #1/") and "will retry" in record.getMessage():
            return False
        record.exc_info = record.exc_text = None
    return True


def configure(*, json_log: bool, verbose: bool) -> None:
    """Set up logging to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if json_log else _Text())
    if not verbose:
        handler.addFilter(_without_kopfs_insides)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
