"""One description of the image: the Dockerfile's last stage is what tools/image.py packs, around the same script."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from workshop import ROOT, context, image

DOCKERFILE = (ROOT / "Dockerfile").read_text()


class TestDockerfile:
    def test_the_image_is_what_the_script_makes(self) -> None:
        steps = list(image.instructions(DOCKERFILE))
        assert [rest for word, rest in steps if word == "FROM"][-1] == "scratch"
        assert [rest for word, rest in steps if word == "COPY"] == [". .", "--from=root /root-of-image /"]
        (build,) = [rest for word, rest in steps if word == "RUN" and image.SCRIPT in rest]
        assert f"{image.SCRIPT} /source /root-of-image" in build

    def test_its_base_is_pinned_by_digest(self) -> None:
        origins = [rest.split()[0] for word, rest in image.instructions(DOCKERFILE) if word == "FROM"]
        assert all(
            origin == "scratch" or re.fullmatch(r"debian:12\S*@sha256:[0-9a-f]{64}", origin) for origin in origins
        )

    def test_it_runs_as_nobody(self) -> None:
        stage = image.read_last_stage(ROOT / "Dockerfile")
        assert stage.user == "65532:65532"
        assert stage.entrypoint == ["/usr/local/bin/scalesets"]
        assert stage.command[0] == "operator"
        assert stage.config()["Env"][0] == "PATH=/usr/local/bin:/usr/bin"

    def test_the_chart_runs_it_as_the_same_user(self) -> None:
        helpers = (ROOT / "charts/scaleset-operator/templates/_helpers.tpl").read_text()
        assert f"runAsUser: {image.read_last_stage(ROOT / 'Dockerfile').user.partition(':')[0]}" in helpers

    @pytest.mark.parametrize("more", ["RUN true", "VOLUME /x", "ADD x /", "SHELL ['a']"])
    def test_an_instruction_that_would_be_left_out_is_an_error(self, tmp_path: Path, more: str) -> None:
        (tmp_path / "Dockerfile").write_text(f"{DOCKERFILE}\n{more}\n")
        with pytest.raises(SystemExit, match=f"doesn't know {more.partition(' ')[0]}"):
            image.read_last_stage(tmp_path / "Dockerfile")

    def test_another_base_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("FROM scratch", "FROM debian:12"))
        with pytest.raises(SystemExit, match="the last stage must be FROM scratch, and is from debian:12"):
            image.read_last_stage(tmp_path / "Dockerfile")

    def test_what_the_script_reads_is_let_in(self, tmp_path: Path) -> None:
        context(tmp_path)
        script = (ROOT / image.SCRIPT).read_text()
        read = set(re.findall(r'"\$source/([\w./-]+)"', script))
        assert read == {
            "image/packages.txt",
            "image/sbom.py",
            "requirements/build.txt",
            "requirements/runtime.txt",
        }
        assert [path for path in (*read, image.SCRIPT, "pyproject.toml") if not (tmp_path / path).is_file()] == []
        assert not list(tmp_path.rglob("__pycache__"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A small file system."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/program").write_text("run")
    (root / "usr/bin/program").chmod(0o755)
    (root / "bin").symlink_to("usr/bin")
    return root


def packed(files: Path, out: Path, **options: Any) -> dict[str, bytes]:
    stage = image.read_last_stage(ROOT / "Dockerfile")
    settings = {"name": "scaleset-operator:0.1.0", "machine": "amd64", "run": stage, "when": 1_700_000_000, **options}
    image.pack(files, out, **settings)
    with tarfile.open(out) as tar:
        contents = {}
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            contents[member.name] = content.read()
    return contents


class TestArchive:
    def test_it_is_an_oci_layout_whose_parts_fit(self, files: Path, tmp_path: Path) -> None:
        contents = packed(files, tmp_path / "image.tar")

        def blob(described: dict[str, Any]) -> bytes:
            content = contents[described["digest"].replace("sha256:", "blobs/sha256/")]
            assert len(content) == described["size"]
            assert hashlib.sha256(content).hexdigest() == described["digest"].removeprefix("sha256:")
            return content

        assert json.loads(contents["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        (described,) = json.loads(contents["index.json"])["manifests"]
        assert described["annotations"] == {
            "io.containerd.image.name": "docker.io/library/scaleset-operator:0.1.0",
            "org.opencontainers.image.ref.name": "0.1.0",
        }
        manifest = json.loads(blob(described))
        config = json.loads(blob(manifest["config"]))
        assert (config["os"], config["architecture"]) == ("linux", "amd64")
        assert config["config"]["User"] == "65532:65532"
        assert config["created"] == "2023-11-14T22:13:20Z"
        (layer,) = manifest["layers"]
        (tmp_path / "layer.tar.gz").write_bytes(blob(layer))
        with tarfile.open(tmp_path / "layer.tar.gz") as tar:
            members = {member.name: member for member in tar}
        assert sorted(members) == ["bin", "usr", "usr/bin", "usr/bin/program"]
        assert all((m.uid, m.gid, m.uname, m.mtime) == (0, 0, "", 1_700_000_000) for m in members.values())
        assert members["usr/bin/program"].mode == 0o755 and members["bin"].linkname == "usr/bin"
        with gzip.open(tmp_path / "layer.tar.gz") as raw:
            assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(raw.read()).hexdigest()}"]

    def test_docker_can_load_it_too(self, files: Path, tmp_path: Path) -> None:
        contents = packed(files, tmp_path / "image.tar")
        (entry,) = json.loads(contents["manifest.json"])
        assert entry["RepoTags"] == ["scaleset-operator:0.1.0"]
        assert {entry["Config"], *entry["Layers"]} <= set(contents)

    def test_the_same_files_make_the_same_bytes(self, files: Path, tmp_path: Path) -> None:
        packed(files, tmp_path / "one.tar")
        os.utime(files / "usr/bin/program", (1, 1))
        packed(files, tmp_path / "two.tar")
        assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()

    def test_what_has_no_place_in_it_is_an_error(self, files: Path, tmp_path: Path) -> None:
        (files / "usr/bin/program").chmod(0o4755)
        with pytest.raises(SystemExit, match="usr/bin/program: runs as its owner whoever starts it"):
            packed(files, tmp_path / "image.tar")
        (files / "usr/bin/program").unlink()
        os.mkfifo(files / "usr/bin/pipe")
        with pytest.raises(SystemExit, match="usr/bin/pipe: neither a file, a folder nor a link"):
            packed(files, tmp_path / "image.tar")
        assert not (tmp_path / "image.tar").exists()

    @pytest.mark.parametrize(
        ("name", "full"),
        [
            ("x:1", "docker.io/library/x:1"),
            ("team/x:1", "docker.io/team/x:1"),
            ("registry.example/x:1", "registry.example/x:1"),
            ("localhost/x:1", "localhost/x:1"),
            ("localhost:5000/x:1", "localhost:5000/x:1"),
        ],
    )
    def test_its_name_is_spelt_out_as_a_kubelet_does(self, name: str, full: str) -> None:
        assert image.full_name(name) == full
