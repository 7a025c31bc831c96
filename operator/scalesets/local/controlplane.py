"""One control plane: started in parallel, ready in a few seconds, and gone without a trace.

`ControlPlane` is used in two ways. As a context manager (`with` or `async with`: tests, demo, benchmarks) its processes
are bound to this one and die with it, however it ends. `scalesets local up` starts it unbound, and what runs stands in
`state.json`, by which `down` ends exactly that.

A start that fails or is interrupted at any point ends what it had started.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from scalesets.local import components, install
from scalesets.local.api import Api, ApiError
from scalesets.local.binaries import find_binaries
from scalesets.local.certificates import make_pki
from scalesets.local.errors import LocalError
from scalesets.local.kubeconfig import write_kubeconfig
from scalesets.local.layout import Layout
from scalesets.local.processes import ProcessIdentity, end, identify, is_alive, spawn, uninterrupted
from scalesets.local.progress import Progress
from scalesets.local.settings import Settings
from scalesets.local.state import Ports, State, read_state, write_state
from scalesets.local.versions import KUBERNETES

_ATTEMPTS = 5
_PORT_TAKEN = ("address already in use", "Address already in use")
_START_SECONDS = 90.0
_POLL_SECONDS = 0.03


class ControlPlane:
    """etcd, kube-apiserver, controller-manager, scheduler and the simulated machines, in one directory."""

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        bound: bool = True,
        say: Callable[[str], None] = lambda _: None,
        binaries: Mapping[str, Path] | None = None,
        choose_ports: Callable[[int], list[int]] | None = None,
        **options: Any,
    ) -> None:
        """Prepare a control plane; nothing runs before `start`.

        Without a `directory` it gets a temporary one, deleted at the end. `options` are the fields of `Settings`.
        Without `binaries` they are found, or fetched and told through `say`, at the start.
        """
        self._temporary = directory is None
        path = Path(tempfile.mkdtemp(prefix="scalesets-")) if directory is None else Path(directory)
        self.layout = Layout(path.resolve())
        self.settings = Settings(**options)
        self._bound = bound
        self._say = say
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._binaries = dict(binaries or {})
        self._choose_ports = choose_ports or free_ports
        self._state: State | None = None
        self._cancelled = threading.Event()

    # What others need of a running one.

    @property
    def directory(self) -> Path:
        """Where everything of it lies."""
        return self.layout.directory

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    @property
    def operator_kubeconfig(self) -> Path:
        """The kubeconfig of the operator's ServiceAccount."""
        return self.layout.operator_kubeconfig

    @property
    def ports(self) -> Ports:
        """Where its parts listen."""
        if self._state is None:
            raise LocalError("the control plane has not been started")
        return self._state.ports

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.ports.apiserver}"

    def binary(self, name: str) -> Path:
        """Say where a component's program lies (also `kubectl`'s)."""
        return self._binaries[name]

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it printed."""
        done = subprocess.run(
            [str(self.binary("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=components.environment(),
        )
        if check and done.returncode:
            raise LocalError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout + (done.stderr if not check else "")

    def api(self) -> Api:
        """Open a connection to the API server as the administrator."""
        return Api(port=self.ports.apiserver, pki=self.layout.pki)

    def log_tail(self, name: str, *, lines: int = 15) -> str:
        """Return the last lines that a component logged."""
        path = self.layout.log(name)
        text = path.read_text(errors="replace") if path.exists() else ""
        return "\n".join(line[:500] for line in text.splitlines()[-lines:])

    def pid(self, name: str) -> int:
        """Return the pid of one of its processes."""
        return self._processes[name].pid

    # Start and stop.

    def start(self) -> ControlPlane:
        """Start everything and wait until it is usable; a failure or an interrupt leaves nothing behind."""
        self._binaries = self._binaries or find_binaries(Progress(self._say))
        self.directory.mkdir(parents=True, exist_ok=True)
        _must_be_ours(self.layout)
        with _locked(self.layout):
            if (state := read_state(self.layout.state)) and any(map(is_alive, state.processes.values())):
                raise LocalError(
                    f"a control plane already runs in {self.directory}: use it, end it with "
                    "`scalesets local down`, or choose another directory with --dir"
                )
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._start_once()
                    break
                except _PortTakenError as error:
                    self._end_all()
                    if attempt == _ATTEMPTS:
                        raise LocalError(f"no free port was found in {_ATTEMPTS} tries: {error}") from None
                except BaseException:
                    self._end_all()
                    raise
        return self

    def stop(self) -> None:
        """End everything and wait until it is gone; its data goes too, the logs stay (unless temporary)."""
        self._end_all()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def stop_apiserver(self) -> None:
        """Kill the API server, as a crash would; everything else goes on."""
        self._stop("kube-apiserver")

    def start_apiserver(self) -> None:
        """Start the API server again, on its former port, and wait until it is ready."""
        self._spawn("kube-apiserver", components.apiserver(self.layout, self.ports, self.settings))
        self._await_ready(time.monotonic() + _START_SECONDS)

    def restart_apiserver(self) -> None:
        """Kill the API server and start it again, and the scheduler with it.

        A scheduler that loses the answer to a binding may end itself ("Scheduler cache is corrupted"); elsewhere a
        kubelet starts it again, here nobody would.
        """
        self.stop_apiserver()
        self._stop("kube-scheduler")
        self.start_apiserver()
        self._spawn("kube-scheduler", components.scheduler(self.layout, self.ports, self.settings))

    def stop_machines(self) -> None:
        """Kill the process that plays the machines: no heartbeats, no pod moves on."""
        self._stop("machines")

    def start_machines(self) -> None:
        """Start the machines (again): they go on with the pods as they find them."""
        self._spawn_machines()

    def launch(self, name: str, command: list[str]) -> None:
        """Start a program beside the components: it ends with them, and its output goes to a log of that name."""
        assert self._state is not None
        if self._cancelled.is_set():
            raise LocalError("the start was cancelled")
        with uninterrupted():
            process = spawn(command, log=self.layout.log(name), bound=self._bound, environment=components.environment())
            self._processes[name] = process
            if who := identify(process.pid):
                self._state = self._state.having(name, who)
                write_state(self.layout.state, self._state)

    def __enter__(self) -> ControlPlane:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> ControlPlane:
        starting = asyncio.create_task(asyncio.to_thread(self.start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._cancelled.set()
            with contextlib.suppress(BaseException):
                await starting
            self.stop()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # How.

    def _start_once(self) -> None:
        layout, settings = self.layout, self.settings
        deadline = time.monotonic() + _START_SECONDS
        shutil.rmtree(layout.data, ignore_errors=True)
        shutil.rmtree(layout.logs, ignore_errors=True)
        layout.logs.mkdir(parents=True)
        make_pki(
            layout.directory / "pki", hosts=(components.SERVICE_ADDRESS, settings.address), nodes=settings.kubelets
        )
        ports = Ports(*self._choose_ports(5))
        self._state = State(ports=ports, kubernetes=KUBERNETES, nodes=settings.nodes if settings.machines else 0)
        write_kubeconfig(
            layout.kubeconfig,
            server=self.server,
            authority=layout.pki.authority,
            user="admin",
            client=layout.pki.admin,
        )
        self._spawn("etcd", components.etcd(layout, ports))
        # Not before etcd listens: a refused connection is tried again only after a second.
        self._await(lambda: _listens(ports.etcd), "etcd", deadline)
        self._spawn("kube-apiserver", components.apiserver(layout, ports, settings))
        self._await_ready(deadline)
        # Not before: without its bootstrapped roles they are refused, and come back only after a back-off.
        self._spawn("kube-controller-manager", components.controller_manager(layout, ports, settings))
        self._spawn("kube-scheduler", components.scheduler(layout, ports, settings))
        if settings.machines:
            self._spawn_machines()
        with self.api() as api:
            crds = install.install(api, layout, server=self.server) if settings.install else []
            self._await(lambda: _usable(api, settings), "nodes and the default ServiceAccount", deadline)
            install.await_established(api, crds, deadline=deadline)

    def _spawn(self, name: str, arguments: list[str]) -> None:
        self.launch(name, [str(self._binaries[name]), *arguments])

    def _spawn_machines(self) -> None:
        settings = self.settings
        (low, high), (soon, late) = settings.boot_seconds, settings.patch_seconds
        command = [
            *(sys.executable, "-m", "scalesets.local.machines", f"--dir={self.directory}"),
            *(f"--port={self.ports.apiserver}", f"--nodes={settings.nodes}", f"--zones={','.join(settings.zones)}"),
            *(f"--boot-min={low}", f"--boot-max={high}", f"--seed={settings.seed}"),
            *(f"--patch-min={soon}", f"--patch-max={late}"),
            *(f"--slow={settings.slow_seconds}", f"--heartbeat={min(4.0, settings.node_grace_seconds / 4)}"),
        ]
        self.launch("machines", command)

    def _stop(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        if self._state is not None:
            self._state = self._state.without(name)
            write_state(self.layout.state, self._state)

    def _await_ready(self, deadline: float) -> None:
        # Impatient: where a stranger has the port, nobody may ever answer.
        with Api(port=self.ports.apiserver, pki=self.layout.pki, timeout=1.0) as api:

            def ready() -> bool:
                try:
                    return api.text("/readyz") == "ok"
                except (OSError, ApiError, http.client.HTTPException):
                    return False

            self._await(ready, "kube-apiserver", deadline)

    def _await(self, holds: Callable[[], bool], what: str, deadline: float) -> None:
        while not holds():
            self._check_processes()
            if self._cancelled.is_set():
                raise LocalError("the start was cancelled")
            if time.monotonic() > deadline:
                tails = "\n".join(f"--- {self.layout.log(name)}\n{self.log_tail(name)}" for name in self._processes)
                raise LocalError(f"waited {_START_SECONDS:.0f} s in vain for {what}; the logs end so:\n{tails}")
            time.sleep(_POLL_SECONDS)

    def _check_processes(self) -> None:
        for name, process in self._processes.items():
            if (code := process.poll()) is not None:
                tail = self.log_tail(name)
                if any(words in tail for words in _PORT_TAKEN):
                    raise _PortTakenError(f"{name}: {tail.splitlines()[-1]}")
                raise LocalError(f"{name} ended with {code}; {self.layout.log(name)} ends so:\n{tail}")

    def _end_all(self) -> None:
        if self._state is None:
            return  # it never started: what runs in the directory is somebody else's
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self._processes.values():
            process.wait()
        left = end(self._state.processes.values())
        self._processes.clear()
        self._state = None
        _clean(self.layout, left)


def stop_in(directory: Path) -> list[str]:
    """End what `state.json` in a directory names, wait for it, and return the names of what had still run."""
    layout = Layout(directory.resolve())
    if not layout.lock.exists():
        return []
    with _locked(layout):
        state = read_state(layout.state)
        if state is None:
            return []
        running = [name for name, who in state.processes.items() if is_alive(who)]
        left = end(state.processes.values())
        _clean(layout, left)
        return running


def _clean(layout: Layout, left: list[ProcessIdentity]) -> None:
    if left:
        pids = ", ".join(str(who.pid) for who in left)
        raise LocalError(f"processes of {layout.directory} don't end: pid {pids}; run `scalesets local down` again")
    layout.state.unlink(missing_ok=True)
    layout.kubeconfig.unlink(missing_ok=True)
    layout.operator_kubeconfig.unlink(missing_ok=True)
    for gone in (layout.data, layout.configuration, layout.directory / "pki"):
        shutil.rmtree(gone, ignore_errors=True)


def _must_be_ours(layout: Layout) -> None:
    """Refuse a directory with other things in it: a start and an end delete what they know by name."""
    if not layout.lock.exists() and any(layout.directory.iterdir()):
        raise LocalError(f"{layout.directory} is not empty and no control plane's: name a new directory with --dir")


class _PortTakenError(Exception):
    """Somebody took a port between our choice and the component's start."""


def _usable(api: Api, settings: Settings) -> bool:
    if api.find("/api/v1/namespaces/default/serviceaccounts/default") is None:
        return False
    if not settings.machines:
        return True
    nodes = api.get("/api/v1/nodes")["items"]
    return len(nodes) >= settings.nodes and not any(node["spec"].get("taints") for node in nodes)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_ports(count: int) -> list[int]:
    """Let the kernel choose; all sockets are open at once, so that no port is given twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(f"another `up` or `down` is at work in {layout.directory}: wait for it") from None
        yield
