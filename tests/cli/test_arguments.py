"""Exit codes and messages that need no cluster: usage, kubeconfigs that don't work, servers that aren't there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from cli.conftest import PROGRAM
from scalesets.cli.groups import as_kubectl_reads

Run = Callable[..., Result]
LOOKING = ["status", "instances", "history", "images", "extensions", "plan", "explain"]
ACTING = ["start", "cancel", "update-instances", "approve"]


def a_kubeconfig(directory: Path, server: str = "http://127.0.0.1:9", user: dict[str, Any] | None = None) -> str:
    path = directory / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": user or {}}],
            }
        )
    )
    return str(path)


@pytest.fixture
def api_server() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server that gives every request one answer, a set called web; and what it was asked, with which token."""
    asked: list[tuple[str, str]] = []
    answer: dict[str, Any] = {"metadata": {"name": "web", "namespace": "team-a"}, "spec": {"replicas": 0}}
    answer["items"] = [{**answer}]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


# -- usage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*LOOKING, *ACTING])
def test_every_command_has_help(scalesets: Run, command: str) -> None:
    result = scalesets(command, "--help")

    assert result.exit_code == 0
    for option in ("--output", "--namespace", "--context", "--kubeconfig"):
        assert option in result.stdout


def test_help_lists_commands_and_exit_codes(scalesets: Run) -> None:
    told = " ".join(scalesets("--help").stdout.split())

    assert all(command in told for command in [*LOOKING, *ACTING, "operator", "local", "demo"])
    assert "4 the upgrade waited for was Faulted or Cancelled" in told.replace("│", "")


def test_help_cuts_no_option_and_no_command(scalesets: Run) -> None:
    told = scalesets("operator", "--help").stdout

    for option in ("--trigger-delay-min", "--trigger-delay-max", "--extension-retry-interval", "--no-leader-election"):
        assert option in told
    for group in ([], ["local"], ["local", "machines"]):
        lines = scalesets(*group, "--help").stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert not any(line.endswith("...") for line in lines[1:])


def test_the_version_is_told(scalesets: Run) -> None:
    assert scalesets("--version").stdout.startswith("scaleset-operator ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "web", "-o", "xml"],
        ["no-such-command"],
        ["update-instances", "web"],
        ["update-instances", "web", "web-1", "--all"],
        ["approve", "web"],
        ["start", "web", "--timeout", "soon"],
        ["start", "web", "--timeout", "5m"],
        ["status", ""],
        ["status", "web/1"],
        ["status", "deployment/web"],
        ["status", "web frontend"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(scalesets: Run, arguments: list[str]) -> None:
    result = scalesets(*arguments)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("-n team-a status web", "status -n team-a web"),
        ("--context=c --kubeconfig k -o json history web", "history --context=c --kubeconfig k -o json web"),
        ("status web -o=json -n=team-a", "status web -o json -n team-a"),
        ("-n=team-a status web", "status -n team-a web"),
        ("status web -ojson --watch", "status web -ojson --watch"),
        ("local kubectl get pods -o=name", "local kubectl get pods -o=name"),
        ("-n team-a", "-n team-a"),
        ("--version", "--version"),
        ("", ""),
    ],
)
def test_options_stand_where_kubectls_users_put_them(given: str, read: str) -> None:
    assert as_kubectl_reads(given.split()) == read.split()


def test_a_namespace_before_the_command(
    scalesets: Run, tmp_path: Path, api_server: tuple[str, list[tuple[str, str]]]
) -> None:
    kubeconfig = a_kubeconfig(tmp_path, api_server[0])

    result = scalesets("-n", "team-b", "--kubeconfig", kubeconfig, "status", "web", "-o=json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["name"] == "web"
    assert all("/namespaces/team-b/" in path for path, _ in api_server[1])


def test_a_wrong_word_is_told_with_the_right_ones(scalesets: Run) -> None:
    told = scalesets("status", "web", "-o", "xml").stderr

    assert "'xml' is not one of 'wide', 'json'" in told
    assert "Value error" not in told


@pytest.mark.parametrize("name", ["web", "vmss/web", "scaleset/web", "scaleset.scalesets.dev/web"])
def test_a_set_is_named_as_kubectl_names_it(
    scalesets: Run, tmp_path: Path, api_server: tuple[str, list[tuple[str, str]]], name: str
) -> None:
    result = scalesets("status", name, "--kubeconfig", a_kubeconfig(tmp_path, api_server[0]))

    assert result.exit_code == 0
    assert any(path.endswith("/namespaces/team-a/scalesets/web") for path, _ in api_server[1])


def test_wrong_usage_names_the_mend(scalesets: Run) -> None:
    assert "scalesets update-instances web web-0 web-1, or --all" in scalesets("update-instances", "web").stderr
    assert "write it like 90s, 30m or 2h" in _flat(scalesets("start", "web", "--timeout", "soon"))


def _flat(result: Result) -> str:
    return " ".join(result.stderr.replace("│", "").split())


# -- kubeconfigs -------------------------------------------------------------------------------------------------------


def test_the_kubeconfig_of_a_local_control_plane_that_is_down(
    scalesets: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/.local/kubeconfig")
    result = scalesets("status", "web")

    assert result.exit_code == 6
    assert f"no kubeconfig at {tmp_path}/.local/kubeconfig (KUBECONFIG names it" in result.stderr
    assert "`scalesets local up` makes that one" in result.stderr


def test_no_kubeconfig(scalesets: Run, tmp_path: Path) -> None:
    result = scalesets("status", "web")

    assert result.exit_code == 6
    assert f"no kubeconfig at {tmp_path}/.kube/config" in result.stderr


def test_the_kubeconfig_of_a_local_control_plane_is_pointed_out(
    scalesets: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "kubeconfig").touch()

    assert "set KUBECONFIG=.local/kubeconfig" in scalesets("status", "web").stderr


def test_a_context_that_is_not_there(scalesets: Run, tmp_path: Path) -> None:
    result = scalesets("status", "web", "--kubeconfig", a_kubeconfig(tmp_path), "--context", "elsewhere")

    assert result.exit_code == 6
    assert "no context 'elsewhere'" in result.stderr
    assert "there are: here" in result.stderr


@pytest.mark.parametrize("content", ["", "[]", "just words", "a: {", "apiVersion: v1\nkind: Config\n", "contexts: 3"])
def test_a_broken_kubeconfig(scalesets: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken"
    path.write_text(content)

    result = scalesets("status", "web", "--kubeconfig", str(path))

    assert result.exit_code == 6
    assert str(path) in result.stderr
    assert "Traceback" not in result.output


def test_a_certificate_that_is_no_certificate(scalesets: Run, tmp_path: Path) -> None:
    kubeconfig = a_kubeconfig(tmp_path, user={"client-certificate-data": "eA==", "client-key-data": "eA=="})

    assert scalesets("status", "web", "--kubeconfig", kubeconfig).exit_code == 6


def test_connection_refused(scalesets: Run, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{free.getsockname()[1]}"

    result = scalesets("status", "web", "--kubeconfig", a_kubeconfig(tmp_path, server))

    assert result.exit_code == 6
    assert f"can't reach the cluster at {server}: connection refused" in result.stderr
    assert "'here'" in result.stderr


def test_a_server_that_speaks_no_tls(scalesets: Run, tmp_path: Path, api_server: tuple[str, list[Any]]) -> None:
    server = api_server[0].replace("http:", "https:")

    result = scalesets("status", "web", "--kubeconfig", a_kubeconfig(tmp_path, server))

    assert result.exit_code == 6
    assert "Traceback" not in result.output


def test_kubeconfig_from_the_environment_may_be_a_list(
    scalesets: Run, tmp_path: Path, api_server: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_kubeconfig(tmp_path, api_server[0])
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "absent"), path]))

    assert scalesets("status", "web").exit_code == 0
    assert "/namespaces/team-a/scalesets/web" in str(api_server[1])  # the context's namespace


def an_exec_user(directory: Path, script: str) -> dict[str, Any]:
    plugin = directory / "plugin"
    plugin.write_text(f"#!{sys.executable}\n{script}")
    plugin.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": str(plugin), "interactiveMode": "Never"}}


def test_an_exec_plugin_gives_the_token(scalesets: Run, tmp_path: Path, api_server: tuple[str, list[Any]]) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-the-plugin"},
    }
    user = an_exec_user(tmp_path, f"print({json.dumps(json.dumps(credential))})")

    result = scalesets("status", "web", "--kubeconfig", a_kubeconfig(tmp_path, api_server[0], user))

    assert result.exit_code == 0
    assert {token for _, token in api_server[1]} == {"Bearer from-the-plugin"}


def test_an_exec_plugin_that_fails(scalesets: Run, tmp_path: Path, api_server: tuple[str, list[Any]]) -> None:
    user = an_exec_user(tmp_path, "import sys; sys.exit('session expired: log in again')")

    result = scalesets("status", "web", "--kubeconfig", a_kubeconfig(tmp_path, api_server[0], user))

    assert result.exit_code == 6
    assert "session expired: log in again" in result.stderr
    assert not api_server[1]


def test_an_exec_plugin_that_is_not_installed(scalesets: Run, tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": "no-such-login", "interactiveMode": "Never"}}

    result = scalesets("status", "web", "--kubeconfig", a_kubeconfig(tmp_path, user=user))

    assert result.exit_code == 6
    assert "no-such-login" in result.stderr


def test_a_web_server_that_is_no_api_server(scalesets: Run, tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        kubeconfig = a_kubeconfig(tmp_path, f"http://127.0.0.1:{server.server_port}")
        result = scalesets("status", "web", "--kubeconfig", kubeconfig)
    finally:
        server.shutdown()
        server.server_close()

    assert result.exit_code == 6
    assert "not as an API server does" in result.stderr


# -- the process -------------------------------------------------------------------------------------------------------


def test_an_ascii_locale_and_no_colour(tmp_path: Path, api_server: tuple[str, list[Any]]) -> None:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "HOME": str(tmp_path)}
    kubeconfig = a_kubeconfig(tmp_path, api_server[0])

    done = subprocess.run(
        [str(PROGRAM), "status", "web", "--kubeconfig", kubeconfig], env=environment, capture_output=True, check=False
    )

    assert done.returncode == 0
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout


@pytest.mark.timeout(60)
def test_ctrl_c_ends_a_watch_without_a_word(tmp_path: Path, api_server: tuple[str, list[Any]]) -> None:
    kubeconfig = a_kubeconfig(tmp_path, api_server[0])
    process = subprocess.Popen(
        [str(PROGRAM), "status", "web", "--watch", "--kubeconfig", kubeconfig],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)

    assert "web:" in first
    assert process.returncode == 130
    assert "Traceback" not in told


@pytest.mark.timeout(60)
def test_ctrl_c_while_the_commands_are_loaded_is_no_traceback() -> None:
    """`python -v` tells which modules it has loaded, so that the signal comes in the midst of them."""
    program = [sys.executable, "-v", "-c", "from scalesets.cli.app import main; main()", "--version"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    loaded = next(line for line in process.stderr if "import 'typer" in line)
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=20)

    assert loaded
    assert process.returncode == 130
    assert printed == ""
    assert "Traceback" not in told
