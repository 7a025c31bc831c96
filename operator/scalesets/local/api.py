"""A small blocking client of the local API server, for the start and for steering the machines.

The start needs a dozen requests before anything else is up, so this uses the standard library alone and the
certificates in the control plane's own directory.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
import urllib.parse
from typing import Any

from scalesets.local.certificates import KeyPair, Pki

JsonObject = dict[str, Any]

_FIELD_MANAGER = "scalesets-local"
_CONTENT_TYPES = {"POST": "application/json", "PUT": "application/json", "PATCH": "application/merge-patch+json"}

_PATIENCE = 10
"""How often a request is sent that the server puts off; client-go does the same."""


class ApiError(Exception):
    """The API server refused a request; carries its status code and words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """One keep-alive connection to the API server; not for use by several threads at once."""

    def __init__(self, *, port: int, pki: Pki, client: KeyPair | None = None, timeout: float = 30.0) -> None:
        pair = client or pki.admin
        context = ssl.create_default_context(cafile=str(pki.authority))
        context.load_cert_chain(pair.certificate, pair.key)
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=timeout)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str) -> JsonObject:
        """Read an object or a list; ApiError when it isn't there."""
        return self._request("GET", path)

    def find(self, path: str) -> JsonObject | None:
        """Read an object, or None when it isn't there."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def text(self, path: str) -> str:
        """Read a plain-text endpoint such as /readyz."""
        return self._raw("GET", path, None, None).decode()

    def create(self, path: str, body: JsonObject) -> JsonObject:
        """POST an object."""
        return self._request("POST", path, body)

    def replace(self, path: str, body: JsonObject) -> JsonObject:
        """PUT an object; 409 when its resourceVersion is old."""
        return self._request("PUT", path, body)

    def merge(self, path: str, body: JsonObject) -> JsonObject:
        """PATCH an object with a JSON merge patch."""
        return self._request("PATCH", path, body)

    def strategic(self, path: str, body: JsonObject) -> JsonObject:
        """PATCH an object with a strategic merge patch: lists are merged by their keys."""
        return self._request("PATCH", path, body, content_type="application/strategic-merge-patch+json")

    def delete(self, path: str, body: JsonObject | None = None) -> JsonObject:
        """DELETE an object."""
        return self._request("DELETE", path, body)

    def apply(self, path: str, body: JsonObject) -> JsonObject:
        """Apply an object server-side, taking over every field named in it."""
        query = urllib.parse.urlencode({"fieldManager": _FIELD_MANAGER, "force": "true"})
        return self._request("PATCH", f"{path}?{query}", body, content_type="application/apply-patch+yaml")

    def _request(
        self, method: str, path: str, body: JsonObject | None = None, *, content_type: str | None = None
    ) -> JsonObject:
        answer: JsonObject = json.loads(self._raw(method, path, body, content_type))
        return answer

    def _raw(self, method: str, path: str, body: JsonObject | None, content_type: str | None) -> bytes:
        headers = {"Accept": "application/json"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = content_type or _CONTENT_TYPES.get(method, "application/json")
        for _ in range(_PATIENCE):
            try:
                self._connection.request(method, path, body=payload, headers=headers)
                response = self._connection.getresponse()
                content = response.read()
            except BaseException:
                self._connection.close()  # the next request opens a new one
                raise
            if response.status != 429:
                break
            time.sleep(float(response.headers.get("Retry-After", "1")))  # a kind's storage is getting ready, mostly
        if response.status >= 400:
            message = content.decode(errors="replace").strip()
            with contextlib.suppress(ValueError, AttributeError):
                message = json.loads(content).get("message", message)
            raise ApiError(response.status, message)
        return content
