"""The official release downloads: kube-* and kubectl from dl.k8s.io, etcd from its releases on GitHub.

Each is checked against the checksum that its publisher serves beside it. A checksum that doesn't fit is an error; a
network that is missing, a file that isn't published for this kind of machine, or a transfer that breaks off only
means that the next source is asked. Both places can be mirrored: `$SCALESETS_KUBERNETES_URL` and
`$SCALESETS_ETCD_URL` name a server with the same layout.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from scalesets.local.binaries.cache import Cache, architecture, system
from scalesets.local.errors import LocalError
from scalesets.local.progress import Progress
from scalesets.local.versions import ETCD, KUBERNETES

_KUBERNETES_URL = "https://dl.k8s.io/release"
_ETCD_URL = "https://github.com/etcd-io/etcd/releases/download"
_CONNECT_SECONDS = 3.0
_READ_SECONDS = 30.0
_CHUNK = 1 << 18


class _NotServedError(Exception):
    """The source doesn't have it, or can't be reached: the next one is asked."""


def download(programs: Sequence[str], *, cache: Cache, progress: Progress) -> dict[str, Path]:
    """Return those of the programs that could be downloaded."""
    got: dict[str, Path] = {}
    kubernetes = [program for program in programs if program not in ("etcd", "registry")]
    try:
        for program in kubernetes:
            got[program] = _kubernetes(program, cache, progress)
    except _NotServedError as why:
        progress.say(f"no download of Kubernetes: {why}")
    if "etcd" in programs:
        try:
            got["etcd"] = _etcd(cache, progress)
        except _NotServedError as why:
            progress.say(f"no download of etcd: {why}")
    return got


def _kubernetes(program: str, cache: Cache, progress: Progress) -> Path:
    base = os.environ.get("SCALESETS_KUBERNETES_URL", _KUBERNETES_URL).rstrip("/")
    url = f"{base}/v{KUBERNETES}/bin/{system()}/{architecture()}/{program}"
    checksum = _checksum(_read(f"{url}.sha256"), url)
    with cache.workspace() as workspace:
        made = workspace / program
        _fetch(url, made, checksum, progress)
        return cache.store(program, made, source=url)


def _etcd(cache: Cache, progress: Progress) -> Path:
    base = os.environ.get("SCALESETS_ETCD_URL", _ETCD_URL).rstrip("/")
    ending = "zip" if system() == "darwin" else "tar.gz"
    if ending == "zip":
        raise _NotServedError("for macOS it is built from source")
    name = f"etcd-v{ETCD}-{system()}-{architecture()}.{ending}"
    url = f"{base}/v{ETCD}/{name}"
    sums = _read(f"{base}/v{ETCD}/SHA256SUMS")
    line = next((line for line in sums.splitlines() if line.split()[1:] == [name]), "")
    if not line:
        raise _NotServedError(f"SHA256SUMS of {base}/v{ETCD} doesn't name {name}")
    with cache.workspace() as workspace:
        archive = workspace / name
        _fetch(url, archive, _checksum(line, url), progress)
        made = workspace / "etcd"
        with tarfile.open(archive) as tar:
            member = next((each for each in tar if each.isfile() and Path(each.name).name == "etcd"), None)
            content = tar.extractfile(member) if member else None
            if content is None:
                raise LocalError(f"{url} holds no program named etcd: report it to its publisher")
            with content, made.open("wb") as file:
                while chunk := content.read(_CHUNK):
                    file.write(chunk)
        return cache.store("etcd", made, source=url)


def _checksum(text: str, url: str) -> str:
    word = text.split()[0] if text.split() else ""
    if not re.fullmatch(r"[0-9a-f]{64}", word):
        raise LocalError(f"what is served as the SHA-256 of {url} is none ({word[:80]!r}): nothing is used without it")
    return word


def _fetch(url: str, into: Path, checksum: str, progress: Progress) -> None:
    digest = hashlib.sha256()
    with _open(url) as response, into.open("wb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        received = 0
        with progress.step(f"downloading {into.name}", total=total, bytewise=True) as step:
            try:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    step.advance(len(chunk))
            except (OSError, http.client.HTTPException) as error:
                raise _NotServedError(f"{url} broke off: {error}") from error
    if total is not None and received < total:
        raise _NotServedError(f"{url} broke off after {received} of {total} bytes")
    if digest.hexdigest() != checksum:
        raise LocalError(
            f"{url} does not fit its checksum: expected SHA-256 {checksum}, got {digest.hexdigest()}. "
            "Nothing was kept. Try again; if it stays so, the download or a mirror is tampered with or broken."
        )


def _read(url: str) -> str:
    try:
        with _open(url) as response:
            return response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise _NotServedError(f"{url}: {error}") from error


def _open(url: str) -> http.client.HTTPResponse:
    _ask_whether_reachable(url)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=_READ_SECONDS)
        return response
    except urllib.error.HTTPError as error:
        raise _NotServedError(f"{url}: {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _NotServedError(f"{url}: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _NotServedError(f"{url}: {error}") from error


def _ask_whether_reachable(url: str) -> None:
    """Fail in seconds where there is no network; a name look-up knows no time-out of its own."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.netloc):
        return
    outcome: list[str] = []

    def connect() -> None:
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_SECONDS).close()
            outcome.append("")
        except OSError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * _CONNECT_SECONDS)
    if why := outcome[0] if outcome else f"no answer within {2 * _CONNECT_SECONDS:.0f} s":
        raise _NotServedError(f"{parts.hostname} can't be reached ({why})")
