"""Which cluster, as whom, in which namespace: kubectl's rules for the kubeconfig, by the official client's loader.

Whatever is wrong with it (no file, no such context, an exec plugin that fails) is said in words, before any request.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio import client, config

from scalesets.cli.errors import unreachable
from scalesets.cli.fields import text

LOCAL = ".local/kubeconfig"


@dataclass(frozen=True, slots=True)
class Where:
    """What the user's flags say; empty means the kubeconfig's own."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""

    @property
    def paths(self) -> list[Path]:
        """The kubeconfig files: the flag, then ``KUBECONFIG`` (a list), then ``~/.kube/config``."""
        if self.kubeconfig:
            return [Path(self.kubeconfig).expanduser()]
        named = os.environ.get("KUBECONFIG", "")
        if not named:
            return [Path.home() / ".kube" / "config"]
        return [Path(part).expanduser() for part in named.split(os.pathsep) if part]


@dataclass(frozen=True, slots=True)
class Access:
    """A kubeconfig, read: how to connect, and the names that messages use. ``renew`` runs an exec plugin again."""

    api: client.ApiClient
    server: str
    context: str
    namespace: str
    renew: Callable[[], Awaitable[None]]


async def load(where: Where) -> Access:
    """Read the kubeconfig; runs an exec plugin where the context has one."""
    paths = [path for path in where.paths if path.exists()]
    shown = ", ".join(str(path) for path in where.paths)
    if not paths:
        local = any(path.parts[-2:] == Path(LOCAL).parts for path in where.paths)
        another = "; `scalesets local up` makes that one" if local else ""
        if where.kubeconfig:
            mend = f"give another FILE{another}"
        elif os.environ.get("KUBECONFIG"):
            mend = f"KUBECONFIG names it: set it to another, or give --kubeconfig FILE{another}"
        else:
            mend = f"set KUBECONFIG{_local()} or give --kubeconfig FILE"
        raise unreachable(f"no kubeconfig at {shown}", mend=mend)
    known = contexts(where)
    if where.context and where.context not in known:
        mend = f"there are: {', '.join(known)}" if known else "it names no contexts at all"
        raise unreachable(f"no context {where.context!r} in {shown}", mend=mend)
    settings = client.Configuration()
    # Python 3.13 and later refuse certificates of many clusters' own authorities that every other client accepts.
    settings.disable_strict_ssl_verification = True
    try:
        with _reported() as reports:
            loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=os.pathsep.join(str(path) for path in paths),
                context=where.context or None,
                client_configuration=settings,
                persist_config=False,
            )
        current = loader.current_context
        api = client.ApiClient(settings)
    except (config.ConfigException, OSError, KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        mend = "kubectl config view shows it"
        raise unreachable(f"can't use the kubeconfig {shown}: {_in_words(error)}", mend=mend) from error
    context = str(current["name"])
    if reports:
        # The client only logs a failed exec plugin and goes on without credentials; the user should hear of the plugin,
        # not of the 401 that follows.
        await api.close()  # type: ignore[no-untyped-call]
        mend = "run the login command of that cluster"
        raise unreachable(f"no credentials for context {context!r}: {'; '.join(reports)}", mend=mend)
    namespace = where.namespace or text(current, "context.namespace", "default")

    async def renew() -> None:
        with _reported():
            await loader.load_and_set(settings)

    return Access(api=api, server=settings.host, context=context, namespace=namespace, renew=renew)


def contexts(where: Where) -> list[str]:
    """The names of the kubeconfig's contexts."""
    found: dict[str, None] = {}
    for path in where.paths:
        try:
            document = yaml.safe_load(path.read_text())
        except (OSError, ValueError, yaml.YAMLError):
            continue
        entries = document.get("contexts") if isinstance(document, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and "name" in entry:
                found[str(entry["name"])] = None
    return list(found)


def _local() -> str:
    """The kubeconfig of a local control plane, where one was started here."""
    return f"={LOCAL}" if Path(LOCAL).exists() else ""


@contextlib.contextmanager
def _reported() -> Iterator[list[str]]:
    """Collect what the client's loader only logs."""
    reports: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                reports.append(" ".join(record.getMessage().split()))

    log = logging.getLogger("kubernetes.aio.config.kube_config")
    handler, propagate = Collect(), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield reports
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split()).removeprefix("Invalid kube-config file. ") or type(error).__name__
