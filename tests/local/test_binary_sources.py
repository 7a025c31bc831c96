"""The three sources of the control plane's programs (docs/local.md, "Where the binaries come from")."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scalesets.cli.commands import app
from scalesets.local import versions
from scalesets.local.binaries import find_binaries
from scalesets.local.binaries.cache import Cache, architecture, system
from scalesets.local.binaries.downloads import download
from scalesets.local.binaries.gobuild import build
from scalesets.local.binaries.gotoolchain import find_go
from scalesets.local.binaries.programs import PROGRAMS
from scalesets.local.errors import LocalError
from scalesets.local.progress import Progress

KUBERNETES = f"release/v{versions.KUBERNETES}/bin/{system()}/{architecture()}"
ETCD = f"etcd/v{versions.ETCD}"
ARCHIVE = f"etcd-v{versions.ETCD}-{system()}-{architecture()}.tar.gz"
HELM = f"helm-v{versions.HELM}-{system()}-{architecture()}.tar.gz"
BUILDS = """
[ "$1" = env ] && echo go{go}.1 && exit
[ "$1" = list ] && echo a && echo b && exit
while [ "$1" != -o ]; do echo "$1" >>"{log}"; shift; done
echo built >"$2"
"""
"""A `go` that builds anything at once, and notes how it was called."""
KUBE_PROGRAMS = [program for program in PROGRAMS if program != "etcd"]

pytestmark = pytest.mark.skipif(system() != "linux", reason="the publishers serve these programs for Linux only")


@dataclass
class Mirror:
    """A file server on loopback with the publishers' layout."""

    root: Path
    said: list[str] = field(default_factory=list)
    cut_off: set[str] = field(default_factory=set)
    """Files whose transfer breaks off after ten bytes."""

    @property
    def progress(self) -> Progress:
        return Progress(self.said.append)

    def serve(self, path: str, content: bytes) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def publish_all(self) -> None:
        for program in KUBE_PROGRAMS:
            content = f"the program {program}".encode() * 1000
            self.serve(f"{KUBERNETES}/{program}", content)
            self.serve(f"{KUBERNETES}/{program}.sha256", hashlib.sha256(content).hexdigest().encode())
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for name in ("README.md", "etcdctl", "etcd"):
                content = f"the program {name}".encode()
                entry = tarfile.TarInfo(f"{ARCHIVE.removesuffix('.tar.gz')}/{name}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        self.serve(f"{ETCD}/{ARCHIVE}", archive.getvalue())
        digest = hashlib.sha256(archive.getvalue()).hexdigest()
        self.serve(f"{ETCD}/SHA256SUMS", f"{'0' * 64}  other.zip\n{digest}  {ARCHIVE}\n".encode())


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    served = Mirror(tmp_path / "mirror")
    served.root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def copyfile(self, source: io.BufferedReader, outputfile: io.BufferedIOBase) -> None:
            cut = Path(self.path).name in served.cut_off
            outputfile.write(source.read(10 if cut else -1))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=served.root)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("SCALESETS_KUBERNETES_URL", f"{base}/release")
        monkeypatch.setenv("SCALESETS_ETCD_URL", f"{base}/etcd/")
        monkeypatch.setenv("SCALESETS_HELM_URL", f"{base}/helm/")
        monkeypatch.setenv("SCALESETS_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
        yield served
        server.shutdown()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Take Go off PATH, and the network from pip; returns a directory that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def a_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


class TestDownloads:
    def test_everything_is_downloaded_once(self, mirror: Mirror) -> None:
        mirror.publish_all()

        found = find_binaries(mirror.progress)

        assert set(found) == set(PROGRAMS)
        assert found["etcd"].read_text() == "the program etcd"
        assert all(path.stat().st_mode & 0o111 for path in found.values())
        for path in mirror.root.rglob("*"):
            if path.is_file():
                path.unlink()
        assert find_binaries(mirror.progress) == found, "the second time from the cache"

    def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(self, mirror: Mirror, cache: Cache) -> None:
        mirror.publish_all()
        mirror.serve(f"{KUBERNETES}/kube-apiserver", b"something else")

        with pytest.raises(LocalError, match=r"kube-apiserver does not fit its checksum: expected SHA-256 .* Nothing"):
            find_binaries(mirror.progress)

        assert not cache.path("kube-apiserver").exists()
        assert not list(cache.directory.glob("work-*"))

    def test_a_wrong_checksum_of_etcd_is_an_error(self, mirror: Mirror) -> None:
        mirror.publish_all()
        mirror.serve(f"{ETCD}/{ARCHIVE}", b"something else")

        with pytest.raises(LocalError, match=re.escape(f"{ARCHIVE} does not fit its checksum")):
            find_binaries(mirror.progress)

    def test_a_page_instead_of_a_checksum_is_an_error(self, mirror: Mirror) -> None:
        mirror.publish_all()
        mirror.serve(f"{KUBERNETES}/kubectl.sha256", b"<html>log in first</html>")

        with pytest.raises(LocalError, match="nothing is used without it"):
            find_binaries(mirror.progress)

    def test_a_transfer_that_breaks_off_falls_through(self, mirror: Mirror, cache: Cache) -> None:
        mirror.publish_all()
        mirror.cut_off = {"kube-apiserver", ARCHIVE}

        got = download(["kube-apiserver", "etcd"], cache=cache, progress=mirror.progress)

        assert got == {}
        assert any("kube-apiserver broke off after 10 of" in line for line in mirror.said)
        assert not cache.path("kube-apiserver").exists() and not cache.path("etcd").exists()

    def test_a_checksum_that_breaks_off_falls_through(self, mirror: Mirror, cache: Cache) -> None:
        mirror.publish_all()
        mirror.cut_off = {"kubectl.sha256"}

        assert download(["kubectl"], cache=cache, progress=mirror.progress) == {}

    def test_what_is_not_published_falls_through(self, mirror: Mirror, cache: Cache) -> None:
        mirror.publish_all()
        (mirror.root / ETCD / "SHA256SUMS").write_text(f"{'0' * 64}  other.tar.gz\n")
        (mirror.root / KUBERNETES / "kube-scheduler.sha256").unlink()

        got = download(["kube-apiserver", "kube-scheduler", "etcd"], cache=cache, progress=mirror.progress)

        assert list(got) == ["kube-apiserver"]
        assert any("kube-scheduler.sha256: 404" in line for line in mirror.said)

    def test_no_network_falls_through_at_once(self, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> None:
        monkeypatch.setenv("SCALESETS_KUBERNETES_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("SCALESETS_ETCD_URL", "http://127.0.0.1:9")
        said: list[str] = []

        assert download(PROGRAMS, cache=cache, progress=Progress(said.append)) == {}
        assert [line.split(":")[0] for line in said] == ["no download of Kubernetes", "no download of etcd"]


class TestHelm:
    """A program that no control plane needs: fetched by those who ask for it."""

    def publish(self, mirror: Mirror, *, program: str = "helm", checksum: str = "") -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            entry = tarfile.TarInfo(f"linux-amd64/{program}")
            content = b"the program helm"
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        mirror.serve(f"helm/{HELM}", archive.getvalue())
        digest = checksum or hashlib.sha256(archive.getvalue()).hexdigest()
        mirror.serve(f"helm/{HELM}.sha256sum", f"{digest}  {HELM}\n".encode())

    def test_it_is_downloaded_and_nothing_else_is(self, mirror: Mirror) -> None:
        self.publish(mirror)

        found = find_binaries(mirror.progress, ["helm"])

        assert list(found) == ["helm"]
        assert found["helm"].read_text() == "the program helm"

    def test_a_wrong_checksum_is_an_error(self, mirror: Mirror) -> None:
        self.publish(mirror, checksum="0" * 64)

        with pytest.raises(LocalError, match=re.escape(f"{HELM} does not fit its checksum")):
            find_binaries(mirror.progress, ["helm"])

    def test_an_archive_without_it_is_an_error(self, mirror: Mirror) -> None:
        self.publish(mirror, program="README.md")

        with pytest.raises(LocalError, match="holds no program named helm"):
            find_binaries(mirror.progress, ["helm"])

    def test_what_is_built_is_stamped_with_its_version(self, no_go: Path, cache: Cache) -> None:
        a_program(no_go / "go", BUILDS.format(go=versions.GO, log=no_go / "arguments"))

        assert build(["helm"], cache=cache, progress=Progress(lambda _: None)) == {"helm": cache.path("helm")}
        assert f"version.version=v{versions.HELM}" in (no_go / "arguments").read_text()

    def test_one_that_is_given_is_taken(self, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = a_program(tmp_path / "assets" / "helm", f'[ "$*" = "version --short" ] && echo v{versions.HELM}+g1')
        monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))

        assert find_binaries(mirror.progress, ["helm"]) == {"helm": own}

    def test_it_runs_on_the_control_plane_of_the_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        script = f'[ "$*" = "version --short" ] && echo v{versions.HELM} && exit; echo "$KUBECONFIG: $*"; exit 3'
        a_program(tmp_path / "assets" / "helm", script)
        monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))

        result = CliRunner().invoke(app, ["local", "helm", "--dir", str(tmp_path), "list", "-A", "--help"])

        assert capfd.readouterr().out == f"{tmp_path / 'kubeconfig'}: list -A --help\n"
        assert result.exit_code == 3


class TestAssets:
    def test_programs_of_our_minor_version_are_taken_others_passed_over(
        self, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror.publish_all()
        minor = versions.KUBERNETES.rpartition(".")[0]
        own = a_program(tmp_path / "assets" / "kube-apiserver", f"echo Kubernetes v{minor}.99")
        other = a_program(tmp_path / "assets" / "kubectl", "echo Client Version: v1.20.1")
        monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))

        found = find_binaries(mirror.progress)

        assert found["kube-apiserver"] == own
        assert found["kubectl"] != other
        assert f"{other} is 1.20.1, not {minor}: passed over" in mirror.said


def test_fetch_fills_the_cache_and_says_where_each_program_lies(mirror: Mirror, cache: Cache) -> None:
    mirror.publish_all()

    result = CliRunner().invoke(app, ["local", "fetch"])

    assert result.exit_code == 0, result.output
    for program in PROGRAMS:
        assert f"{program}: {cache.path(program)}" in result.stdout.splitlines()
        assert cache.path(program).is_file()


class TestCache:
    def test_half_an_entry_is_never_used(self, mirror: Mirror, cache: Cache) -> None:
        mirror.publish_all()
        whole = find_binaries(mirror.progress)["kubectl"].read_bytes()
        cache.path("kubectl").write_bytes(whole[:100])

        assert find_binaries(mirror.progress)["kubectl"].read_bytes() == whole
        assert any("kubectl is incomplete" in line for line in mirror.said)

    def test_an_entry_without_its_note_is_never_used(self, cache: Cache) -> None:
        cache.path("kubectl").parent.mkdir(parents=True)
        cache.path("kubectl").write_text("who knows")

        assert cache.find("kubectl", say=lambda _: None) is None

    def test_a_failure_while_it_is_filled_leaves_nothing(self, cache: Cache) -> None:
        with contextlib.suppress(ZeroDivisionError), cache.workspace() as workspace:
            (workspace / "module").mkdir(mode=0o755)
            (workspace / "module" / "kubectl").write_text("half")
            (workspace / "module").chmod(0o555)
            raise ZeroDivisionError

        assert list(cache.directory.iterdir()) == []

    def test_two_at_once_download_each_program_once(self, mirror: Mirror) -> None:
        mirror.publish_all()
        results: list[dict[str, Path]] = []
        threads = [threading.Thread(target=lambda: results.append(find_binaries(mirror.progress))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert results[0] == results[1] == results[2] and set(results[0]) == set(PROGRAMS)
        assert [line for line in mirror.said if line.startswith("downloading kubectl")].count(
            "downloading kubectl …"
        ) == 1


class TestBuilding:
    def test_without_go_and_without_network_it_says_what_to_do(self, no_go: Path, cache: Cache) -> None:
        with pytest.raises(
            LocalError, match=r"there is no go on PATH, and pip could not install .*(?s:.)*Install Go 1"
        ):
            build(["etcd"], cache=cache, progress=Progress(lambda _: None))

    def test_a_go_that_is_too_old_is_not_used(self, no_go: Path, cache: Cache) -> None:
        a_program(no_go / "go", "echo go1.20.3")

        with pytest.raises(LocalError, match=r"the go on PATH \(.*\) is 1\.20\.3, and pip could not install"):
            find_go(cache=cache, progress=Progress(lambda _: None))

    def test_the_go_of_the_wheel_is_found_in_the_cache(self, no_go: Path, cache: Cache) -> None:
        place = cache.directory / f"{versions.GO_WHEEL.replace('==', '-')}-{system()}-{architecture()}"
        go = a_program(place / "go" / "bin" / "go", f"echo go{versions.GO}.1")

        assert find_go(cache=cache, progress=Progress(lambda _: None)) == go

    def test_a_build_without_network_says_what_to_do(self, no_go: Path, cache: Cache) -> None:
        refused = 'echo "go: k8s.io/api@v0: Get: dial tcp: lookup proxy: no such host" >&2; exit 1'
        a_program(no_go / "go", f'[ "$1" = env ] && echo go{versions.GO}.1 && exit; {refused}')

        with pytest.raises(
            LocalError, match=r"`go list` failed with 1:\n.*no such host\n.*\$GOPROXY.*KUBEBUILDER_ASSETS"
        ):
            build(["kubectl"], cache=cache, progress=Progress(lambda _: None))
        assert not cache.path("kubectl").exists()

    def test_what_is_built_is_kept_and_stamped(self, no_go: Path, cache: Cache) -> None:
        a_program(no_go / "go", BUILDS.format(go=versions.GO, log=no_go / "arguments"))

        built = build(["kubectl", "etcd"], cache=cache, progress=Progress(lambda _: None))

        assert built == {program: cache.path(program) for program in ("etcd", "kubectl")}
        assert f"gitVersion=v{versions.KUBERNETES}" in (no_go / "arguments").read_text()
        note = json.loads((cache.path("kubectl").parent / ".kubectl.json").read_text())
        assert note["source"].startswith("built from k8s.io/kubernetes/cmd/kubectl by go")

    def test_the_pinned_modules_are_those_of_versions(self) -> None:
        modules = Path(versions.__file__).parent / "gomodules"
        kubernetes = (modules / "kubernetes" / "go.mod").read_text()
        others = {
            "etcd": f"go.etcd.io/etcd/server/v3 v{versions.ETCD}",
            "helm": f"helm.sh/helm/v4 v{versions.HELM}",
            "kind": f"sigs.k8s.io/kind v{versions.KIND}",
            "registry": f"github.com/distribution/distribution/v3 v{versions.REGISTRY}",
            "metrics-server": f"sigs.k8s.io/metrics-server v{versions.METRICS_SERVER}",
        }

        assert f"k8s.io/kubernetes v{versions.KUBERNETES}" in kubernetes
        assert f"k8s.io/api => k8s.io/api v0.{versions.KUBERNETES.partition('.')[2]}" in kubernetes
        for name, pinned in others.items():
            assert pinned in (modules / name / "go.mod").read_text()
        for text in [(modules / name / "go.mod").read_text() for name in ("kubernetes", *others)]:
            assert re.search(rf"^go {re.escape(versions.GO)}\.", text, re.MULTILINE)
