"""What the API server counts: writes, whoever sent them."""

from __future__ import annotations

import re

from scene import Scene

_WRITES = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)


async def writes(scene: Scene) -> dict[str, float]:
    """How many writes the API server has taken, by resource, those that changed nothing included."""
    found: dict[str, float] = {}
    for match in _WRITES.finditer(await scene.api.text("/metrics")):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        if labels["verb"] in ("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"):
            what = f"{labels['verb']} {labels['resource']}/{labels['subresource']}"
            found[what] = found.get(what, 0) + float(match["count"])
    return found
