"""A real registry on loopback, the one of the distribution project, and a client that pushes tags to it.

`with Registry(directory) as registry:` runs one that asks nobody who he is; `users` or a `TokenServer` make it ask.
It dies with the tests. What it stores stays in its directory, so that it can be stopped and started again.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import subprocess
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from scalesets.local.binaries import find_binaries
from scalesets.local.processes import spawn
from scalesets.local.progress import Progress

START_SECONDS = 20
USER, PASSWORD = "puller", "rehearsal-only"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuzrlMUYofBis/j5Rp301HzdeueryHpcq\n"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Registry:
    """A registry process. `port` 0: the next free one, which it keeps over restarts."""

    directory: Path
    password: bool = False
    tokens: TokenServer | None = None
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> Registry:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        config, log = self.directory / "config.yml", self.directory / "registry.log"
        config.write_text(json.dumps(self._config()))
        begins = log.stat().st_size if log.exists() else 0
        program = find_binaries(Progress(print), ["registry"])["registry"]
        self._process = spawn([str(program), "serve", str(config)], log=log, bound=True)
        deadline = time.monotonic() + START_SECONDS
        while not (listens := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text()[begins:])):
            assert self._process.poll() is None, f"the registry ended:\n{log.read_text()[begins:][-2000:]}"
            assert time.monotonic() < deadline, f"the registry doesn't listen:\n{log.read_text()[begins:][-2000:]}"
            time.sleep(0.02)
        self.port = int(listens[1])

    def stop(self) -> None:
        """End it; what was pushed stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(self, repository: str, tag: str, content: str = "", *, index: bool = False) -> str:
        """Push an image that differs by its content (default: the tag) from others; returns its digest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"is": content or tag}}})
        blob = {"digest": self._push_blob(repository, config.encode()), "size": len(config)}
        described = {"mediaType": "application/vnd.oci.image.config.v1+json", **blob}
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": []}
        if index:
            one = self._put_manifest(repository, "", manifest)
            platform = {"architecture": "amd64", "os": "linux"}
            entry = {"mediaType": OCI_MANIFEST, "digest": one, "platform": platform}
            entry["size"] = len(json.dumps(manifest))
            manifest = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        return self._put_manifest(repository, tag, manifest)

    def delete(self, repository: str, tag: str) -> None:
        """Take a tag away."""
        self._request("DELETE", f"/v2/{repository}/manifests/{tag}", expect=202)

    def _config(self) -> dict[str, Any]:
        auth: dict[str, Any] = {}
        if self.password:
            users = self.directory / "htpasswd"
            users.write_text(_HTPASSWD)
            auth = {"htpasswd": {"realm": "rehearsal", "path": str(users)}}
        elif self.tokens is not None:
            keys = self.directory / "jwks.json"
            keys.write_text(json.dumps({"keys": [self.tokens.public_key()]}))
            at = {"realm": self.tokens.realm, "service": "rehearsal", "issuer": "rehearsal", "jwks": str(keys)}
            auth = {"token": at}
        return {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "rehearsal"},
            **({"auth": auth} if auth else {}),
        }

    def _push_blob(self, repository: str, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = self._request("POST", f"/v2/{repository}/blobs/uploads/", expect=202)["location"]
        parts = urlsplit(location)
        path = f"{parts.path}?{parts.query}&digest={digest}" if parts.query else f"{parts.path}?digest={digest}"
        self._request("PUT", path, content, expect=201)
        return digest

    def _put_manifest(self, repository: str, tag: str, manifest: dict[str, Any]) -> str:
        body = json.dumps(manifest).encode()
        name = tag or f"sha256:{hashlib.sha256(body).hexdigest()}"
        path = f"/v2/{repository}/manifests/{name}"
        return self._request("PUT", path, body, manifest["mediaType"], expect=201)["docker-content-digest"]

    def _request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream", *, expect: int
    ) -> dict[str, str]:
        headers = {"Content-Type": kind}
        if self.password:
            headers["Authorization"] = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        elif self.tokens is not None:
            repository = re.fullmatch(r"/v2/(.+)/(?:blobs|manifests)/.*", path)
            assert repository is not None
            headers["Authorization"] = f"Bearer {self.tokens.sign(repository[1], ['pull', 'push', 'delete'])}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            said = response.read()
            assert response.status == expect, f"{method} {path}: {response.status} {said.decode()[:500]}"
            return {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()


class TokenServer:
    """Gives tokens for pulling to who knows the password: the other half of the token flow."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.realm = ""
        self.asked: list[dict[str, list[str]]] = []

    def public_key(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        x, y = (_b64(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self._kid(), "x": x, "y": y}

    def sign(self, repository: str, actions: list[str]) -> str:
        """A token for the repository."""
        now = int(time.time())
        access = [{"type": "repository", "name": repository, "actions": actions}]
        claims = {"iss": "rehearsal", "sub": USER, "aud": "rehearsal", "access": access, "jti": str(time.time_ns())}
        times = {"nbf": now - 10, "iat": now, "exp": now + 300}
        head = {"typ": "JWT", "alg": "ES256", "kid": self._kid()}
        text = ".".join(_b64(json.dumps(part).encode()) for part in (head, claims | times))
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _kid(self) -> str:
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return _b64(hashlib.sha256(self._key.public_key().public_bytes(*form)).digest())

    @contextmanager
    def serving(self) -> Iterator[TokenServer]:
        """Answer at `realm`."""
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tokens.asked.append(query := parse_qs(urlsplit(self.path).query))
                expected = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
                allowed = self.headers.get("Authorization") == expected
                _, repository, actions = query["scope"][0].split(":")
                body = json.dumps({"token": tokens.sign(repository, actions.split(","))}).encode() if allowed else b"{}"
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            self.realm = f"http://127.0.0.1:{server.server_port}/token"
            yield self
            server.shutdown()


def _b64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
