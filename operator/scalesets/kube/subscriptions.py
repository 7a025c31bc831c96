"""Which namespaces are one subscription's (E5b), and what an operator that serves only some namespaces can't know.

The label is honoured wherever it may be read. Where it may not, the machines of those namespaces take turns as those of
one subscription, which is never too many at once, and their conditions say so. An operator doesn't see machines in
namespaces that it doesn't serve: when they are of the same subscription, that is said too.
"""

from __future__ import annotations

from collections.abc import Mapping

from scalesets.engine.view import Trouble, TroubleKind
from scalesets.kube.cache import Store, keep
from scalesets.kube.names import LABEL_SUBSCRIPTION, Raw
from scalesets.kube.phrases import first_of
from scalesets.kube.settings import Settings


class Subscriptions:
    """The namespaces with a subscription, and those of which nobody knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.namespaces: Store[Raw] = Store(keep)
        self._refused: Mapping[str, str] = {}
        self._troubles: dict[str, tuple[Trouble, ...]] = {}  # by namespace, until something changes

    def of(self, namespace: str) -> str:
        """The subscription of a namespace; empty: that of the cluster."""
        raw: Raw = self.namespaces.get(("", namespace)) or {"metadata": {}}
        labels: Mapping[str, str] = raw["metadata"].get("labels") or {}
        return labels.get(LABEL_SUBSCRIPTION, "")

    def refused(self, words: Mapping[str, str]) -> None:
        """The namespaces whose label the operator may not read, and the server's words."""
        self._refused = dict(words)
        self.changed()

    def changed(self) -> None:
        """A namespace came, changed or went."""
        self._troubles.clear()

    def troubles(self, namespace: str) -> tuple[Trouble, ...]:
        """What the machines of a namespace have to know of their budget."""
        if not self._settings.namespaces:
            return ()
        known = self._troubles.get(namespace)
        if known is None:
            known = self._troubles[namespace] = tuple(self._look(namespace))
        return known

    def _look(self, namespace: str) -> list[Trouble]:
        if (words := self._refused.get(namespace)) is not None:
            message = (
                f"the label {LABEL_SUBSCRIPTION} of namespace {namespace} can't be read, so its machines take turns "
                f"with all others whose subscription isn't known: {words}; give the operator get on namespaces"
            )
            return [Trouble(TroubleKind.SUBSCRIPTION_UNKNOWN, message)]
        name = self.of(namespace)
        alike = sorted(raw["metadata"]["name"] for raw in self.namespaces.values())
        beyond = [n for n in alike if name and self.of(n) == name and not self._settings.serves(n)]
        if not beyond:
            return []
        told = first_of(beyond, 3)
        message = (
            f"subscription {name} has namespaces that this operator doesn't serve ({told}): machines there don't "
            "count, and may be upgraded at the same time; let one operator serve all of the subscription"
        )
        return [Trouble(TroubleKind.SUBSCRIPTION_IN_PART, message)]
