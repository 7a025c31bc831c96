"""What the tests of the API ask of the API server: take an object, or say why not."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiException, CustomObjectsApi

from scalesets.api.generate import KINDS
from scalesets.api.schema import GROUP, VERSION

Body = dict[str, Any]
PLURALS = {kind.kind_info.name: kind.kind_info.plural for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason of a refusal: the field that it points to, and the words."""

    field: str
    message: str


class RefusedError(AssertionError):
    """The API server does not take the object."""

    def __init__(self, status: Body) -> None:
        super().__init__(status["message"])
        self.causes = tuple(
            Cause(cause.get("field", ""), cause.get("message", ""))
            for cause in status.get("details", {}).get("causes", ())
        )

    def names(self, field: str, words: str) -> bool:
        """Whether one cause points to the field and has the words."""
        return any(cause.field == field and words in cause.message for cause in self.causes)


class Server:
    """Create, replace and remove objects of the group; without `keep` nothing is stored."""

    def __init__(self, kubeconfig: Path) -> None:
        self._api = CustomObjectsApi(config.new_client_from_config(str(kubeconfig)))

    def create(self, body: Body, *, keep: bool = False) -> Body:
        """The object as the API server would store it, its defaults filled in."""
        return self._call(self._api.create_namespaced_custom_object, body, keep=keep, named=False)

    def replace(self, body: Body, *, keep: bool = False) -> Body:
        """The same for a change of a stored object."""
        return self._call(self._api.replace_namespaced_custom_object, body, keep=keep)

    def replace_status(self, body: Body, *, keep: bool = False) -> Body:
        """The same for its status."""
        return self._call(self._api.replace_namespaced_custom_object_status, body, keep=keep)

    def scale(self, body: Body, replicas: int, *, keep: bool = False) -> Body:
        """Set the replicas through the scale subresource."""
        scale = {**body, "spec": {"replicas": replicas}}
        return self._call(self._api.patch_namespaced_custom_object_scale, scale, keep=keep)

    def get(self, body: Body) -> Body:
        """The stored object."""
        return self._api.get_namespaced_custom_object(*self._where(body), body["metadata"]["name"])

    def remove(self, bodies: Iterable[Body]) -> None:
        """Delete stored objects."""
        for body in bodies:
            self._api.delete_namespaced_custom_object(*self._where(body), body["metadata"]["name"])

    def _where(self, body: Body) -> tuple[str, str, str, str]:
        return GROUP, VERSION, body["metadata"]["namespace"], PLURALS[body["kind"]]

    def _call(self, method: Any, body: Body, *, keep: bool, named: bool = True) -> Body:
        name = (body["metadata"]["name"],) if named else ()
        options = {} if keep else {"dry_run": "All"}
        try:
            return method(*self._where(body), *name, body, field_validation="Strict", **options)
        except ApiException as refusal:
            raise RefusedError(json.loads(refusal.body)) from None
