"""A kind cluster with the operator in it: `python -m tools.kind up | node-image | install | test | down | trial`.

Two nodes, in zones 1 and 2. kind itself is fetched or built as the control plane's programs are. Docker is the one
that runs here; where none does, root gets one of Debian's, in namespaces of its own, without a firewall rule or a
forwarded packet of the machine changed. The node image is the published one, or `$KIND_NODE_IMAGE`, or the one that
`node-image` has made of packages and Go modules where no registry is reached. All state is in `.local/kind`.

`trial` does all of it in turn and takes it away again; where there can be no Docker it says so in one line, which is no
failure.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from tools.image import ARCHITECTURES, Stage, pack

from scalesets.local.binaries import find_binaries
from scalesets.local.binaries.cache import Cache, cache_directory
from scalesets.local.binaries.gotoolchain import find_go
from scalesets.local.errors import LocalError
from scalesets.local.processes import ProcessIdentity, end, identify, is_alive, spawn
from scalesets.local.progress import Progress
from scalesets.local.versions import KUBERNETES
from tools import debian

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local" / "kind"
KUBECONFIG = STATE / "kubeconfig"
NAME = "scalesets"
OWN_NODE = f"scaleset-operator-node:v{KUBERNETES}"
OPERATOR = "scaleset-operator"
NAMESPACE = "scaleset-system"
_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
_NODE_PROGRAMS = (*_STATIC, "kubectl", "kubelet", "kubeadm", "kube-proxy")
_GROUP = "scalesets-kind"
_REGISTRY = "registry-1.docker.io"
"""Where kind's own node images are."""
_CAP_SYS_RESOURCE = 24


def main() -> int:
    """Do one of them."""
    parser = argparse.ArgumentParser(description="A kind cluster with the operator in it.")
    commands = {"up": up, "node-image": node_image, "install": install, "down": down}
    parser.add_argument("command", choices=[*commands, "test", "trial"])
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="pytest's, for `test`")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # or `trial` would leave its cluster behind
    try:
        if options.command == "test":
            return test(options.arguments)
        if options.command == "trial":
            return trial()
        commands[options.command]()
    except (LocalError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def up() -> None:
    """Create the cluster unless it is there, and bring either to where pods run on both nodes."""
    docker = _docker(start=True)
    kind = str(find_binaries(Progress(_say), ("kind",))["kind"])
    if _is_there(kind, docker):
        _say("the cluster is there")
        # Perhaps it was made from another clone, or that was interrupted.
        _run([kind, "export", "kubeconfig", "--name", NAME, "--kubeconfig", str(KUBECONFIG)], docker)
    else:
        _create(kind, docker)
    kubectl = [str(find_binaries(Progress(_say), ("kubectl",))["kubectl"]), f"--kubeconfig={KUBECONFIG}"]
    try:
        _run([*kubectl, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s"], docker)
    except subprocess.CalledProcessError:
        raise LocalError("the cluster doesn't get ready: `make kind-down`, and try again") from None
    # Instances may lie on both nodes, or there would be one zone only.
    taint = "node-role.kubernetes.io/control-plane:NoSchedule-"
    subprocess.run([*kubectl, "taint", "nodes", "--all", taint], capture_output=True, check=False)
    _say(f"the cluster is up: export KUBECONFIG={KUBECONFIG.relative_to(ROOT)}")


def _is_there(kind: str, docker: dict[str, str]) -> bool:
    return NAME in _read([kind, "get", "clusters"], docker).split()


def _create(kind: str, docker: dict[str, str]) -> None:
    image = os.environ.get("KIND_NODE_IMAGE") or (OWN_NODE if _is_own(OWN_NODE, docker) else "")
    own = bool(image) and _is_own(image, docker)
    _say(f"node image: {image or 'the published one of kind'}")
    configuration = STATE / "cluster.yaml"
    configuration.write_text(yaml.safe_dump(_configuration(own=own)))
    chosen = ["--image", image] if image else []
    command = [kind, "create", "cluster", "--name", NAME, "--config", str(configuration), *chosen, "--retain"]
    _run([*command, "--kubeconfig", str(KUBECONFIG), *([] if own else ["--wait", "3m"])], docker)
    if own:  # there kube-proxy isn't a pod: it comes as its node
        kubectl = [str(find_binaries(Progress(_say), ("kubectl",))["kubectl"]), f"--kubeconfig={KUBECONFIG}"]
        proxies = ["--clusterrole=system:node-proxier", "--group=system:nodes"]
        _run([*kubectl, "create", "clusterrolebinding", "node-proxiers", *proxies], docker)


def node_image() -> None:
    """Make a node image of Debian's packages and Go modules; Docker keeps it under its name."""
    docker = _docker(start=True)
    _install_package("debootstrap")
    progress = Progress(_say)
    programs = find_binaries(progress, _NODE_PROGRAMS)
    kubeadm = [str(programs["kubeadm"]), "config", "images", "list", f"--kubernetes-version=v{KUBERNETES}"]
    names = _read(kubeadm, docker).split()
    with tempfile.TemporaryDirectory(prefix="scalesets-node-") as directory:
        images, pause = Path(directory) / "images", ""
        images.mkdir()
        program = Path(directory) / "sample"
        go = find_go(cache=Cache(cache_directory()), progress=progress)
        settings = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
        build = [str(go), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(program), "."]
        subprocess.run(build, cwd=ROOT / "tests/sample", env=settings, check=True)
        for name in names:
            short = name.rpartition("/")[2].partition(":")[0]
            if short in _STATIC:
                _static_image(images, name, programs[short], [f"/usr/local/bin/{short}"])
            elif short == "pause":
                pause = name
                _static_image(images, name, program, ["/usr/local/bin/sample", "pause"])
        with progress.step("building the node image"):
            arguments = [str(programs["kubelet"].parent), pause, str(images), KUBERNETES, OWN_NODE]
            _run([str(ROOT / "kind/build-node.sh"), *arguments], docker)


def install() -> None:
    """Load the operator's image, built here, and those that the examples name, and install the chart."""
    if not KUBECONFIG.exists():
        raise LocalError("there is no cluster: run `make kind-up` first")
    docker = _docker(start=False)
    found = find_binaries(Progress(_say), ("kind", "helm", "kubectl"))
    load = [str(found["kind"]), "load"]
    version = yaml.safe_load((ROOT / "charts" / OPERATOR / "Chart.yaml").read_text())["appVersion"]
    image = f"{OPERATOR}:{version}"
    if _is_bookworm():  # what image/build-root.sh asks for
        machine = ARCHITECTURES.get(platform.machine(), platform.machine())
        archive = ROOT / "dist" / f"{OPERATOR}-{version}-{machine}.tar"
        _run([sys.executable, str(ROOT / "tools/image.py"), "--out", str(archive), "--name", image], docker)
        _run([*load, "image-archive", str(archive), "--name", NAME], docker)
    else:
        _run(["docker", "build", "--tag", image, str(ROOT)], docker)
        _run([*load, "docker-image", image, "--name", NAME], docker)
    with tempfile.TemporaryDirectory() as directory:
        written = _read([sys.executable, str(ROOT / "tests/samples.py"), directory], docker).strip()
        _run([*load, "image-archive", written, "--name", NAME], docker)
    helm = [str(found["helm"]), f"--kubeconfig={KUBECONFIG}"]
    asked = [*helm, "status", OPERATOR, f"--namespace={NAMESPACE}"]
    first = subprocess.run(asked, capture_output=True, check=False).returncode != 0
    target = [str(ROOT / "charts" / OPERATOR), f"--namespace={NAMESPACE}", "--create-namespace"]
    _run([*helm, "upgrade", "--install", OPERATOR, *target, "--timeout=3m"], docker)
    kubectl = [str(found["kubectl"]), f"--kubeconfig={KUBECONFIG}", f"--namespace={NAMESPACE}"]
    deployment = f"deployment/{OPERATOR}"
    if not first:  # the image's name is the same, so nobody else would notice that there is a new one
        _run([*kubectl, "rollout", "restart", deployment], docker)
    rolled = subprocess.run([*kubectl, "rollout", "status", deployment, "--timeout=3m"], check=False)
    if rolled.returncode:
        logs = [*kubectl, "logs", deployment, "--tail=5"]
        said = subprocess.run(logs, capture_output=True, text=True, check=False).stdout.strip()
        raise LocalError(f"the operator doesn't get ready; its log ends so:\n{said}")


def test(arguments: list[str]) -> int:
    """Run tests/kind on the cluster."""
    environment = {**_docker(start=False), "SCALESETS_KIND": str(KUBECONFIG)}
    command = [sys.executable, "-m", "pytest", *(arguments or [str(ROOT / "tests/kind")])]
    return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode


def trial() -> int:
    """Go all the way, from a node image to the tests, and leave nothing running."""
    try:
        docker = _docker(start=True)
    except LocalError as why:
        _say(f"test-kind: not run here: {why}")
        return 0
    kind = str(find_binaries(Progress(_say), ("kind",))["kind"])
    if _is_there(kind, docker):
        raise LocalError("a trial would take away the cluster that is there: `make test-kind`, or `make kind-down`")
    try:
        if not (os.environ.get("KIND_NODE_IMAGE") or _is_own(OWN_NODE, docker) or _is_reached(_REGISTRY)):
            if os.geteuid() != 0 or not debian.has("apt-get"):
                _say("test-kind: not run here: no registry is reached, and a node image takes root on Debian")
                return 0
            _timed(node_image)
        for step in (up, install):
            _timed(step)
        return test([])
    finally:
        down()


def down() -> None:
    """Delete the cluster, and end the Docker that was started for it."""
    ours = (STATE / "docker.json").exists()
    try:
        docker = _docker(start=ours)  # one that was killed left a bridge, which it takes along now
    except LocalError:
        if ours or KUBECONFIG.exists():
            raise
        _say("there is no cluster, and no Docker")
        return
    kind = str(find_binaries(Progress(_say), ("kind",))["kind"])
    subprocess.run(
        [kind, "delete", "cluster", "--name", NAME, "--kubeconfig", str(KUBECONFIG)], env=docker, check=False
    )
    if daemon := _our_daemon():
        subprocess.run(["docker", "network", "rm", "kind"], env=docker, capture_output=True, check=False)  # its bridge
        end([daemon])
        _run([str(ROOT / "tools/namespaces.sh"), "--remove", _GROUP], docker)
        (STATE / "docker.json").unlink()
    KUBECONFIG.unlink(missing_ok=True)


def _configuration(*, own: bool) -> dict[str, object]:
    roles = ("control-plane", "worker")
    nodes = [{"role": role, "labels": {"topology.kubernetes.io/zone": str(zone)}} for zone, role in enumerate(roles, 1)]
    base: dict[str, object] = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}
    if not own:
        return base
    patches = [yaml.safe_dump(each) for each in yaml.safe_load_all((ROOT / "kind/node.yaml").read_text())]
    networking = {"ipFamily": "ipv4", "disableDefaultCNI": True, "kubeProxyMode": "none"}
    return {**base, "networking": networking, "kubeadmConfigPatches": patches}


def _static_image(folder: Path, name: str, program: Path, entrypoint: list[str]) -> None:
    """Write an image that holds one program."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / entrypoint[0].lstrip("/")
        place.parent.mkdir(parents=True)
        shutil.copy(program, place)
        place.chmod(0o755)
        machine = ARCHITECTURES.get(platform.machine(), platform.machine())
        run = Stage(directory="/", environment={"PATH": "/usr/local/bin"}, entrypoint=entrypoint)
        pack(Path(directory), folder / f"{place.name}.tar", name=name, machine=machine, run=run, when=0)


# -- Docker ------------------------------------------------------------------------------------------------------------


def _docker(*, start: bool) -> dict[str, str]:
    """Return the environment in which `docker` and `kind` reach a Docker."""
    STATE.mkdir(parents=True, exist_ok=True)
    own = {**os.environ, "DOCKER_HOST": f"unix://{STATE}/docker.sock"}
    if _our_daemon():
        return own
    if not (why := _why_silent(dict(os.environ))):
        return dict(os.environ)
    advice = "start Docker, or name one that runs in $DOCKER_HOST"
    if not start:
        raise LocalError(f"no Docker answers ({why}), and no cluster was made with `make kind-up`: {advice}")
    if sys.platform != "linux" or os.geteuid() != 0:
        raise LocalError(f"no Docker answers ({why}): {advice} (as root on Debian one is installed and started here)")
    _install_package("docker.io", program="dockerd")
    _start_daemon()
    deadline = time.monotonic() + 30
    while _why_silent(own):
        if not _our_daemon() or time.monotonic() > deadline:
            tail = "\n".join((STATE / "docker.log").read_text(errors="replace").splitlines()[-5:])
            raise LocalError(f"Docker did not start; {STATE / 'docker.log'} ends so:\n{tail}")
        time.sleep(0.1)
    return own


def _start_daemon() -> None:
    path = debian.PATH
    if not _may(_CAP_SYS_RESOURCE):
        path = f"{ROOT / 'kind'}:{path}"  # there is a runc that asks for less
    Path("/lib/modules").mkdir(exist_ok=True)  # mounted into nodes; a container's file system has none
    command = [
        *(str(ROOT / "tools/namespaces.sh"), _GROUP, "dockerd", f"--host=unix://{STATE}/docker.sock"),
        *(f"--data-root={STATE}/docker", "--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--bridge=none"),
        *("--iptables=false", "--ip-forward=false", "--default-address-pool=base=10.203.0.0/16,size=24"),
    ]
    environment = {**os.environ, "PATH": path, "NETNS": "/proc/self/ns/net"}
    process = spawn(command, log=STATE / "docker.log", bound=False, environment=environment)
    if (who := identify(process.pid)) is None:
        return  # it ended at once, and its log says why
    (STATE / "docker.json").write_text(json.dumps({"pid": who.pid, "started": who.started}))
    _say(f"started Docker: process {who.pid}, log {STATE.relative_to(ROOT)}/docker.log")


def _our_daemon() -> ProcessIdentity | None:
    try:
        daemon = ProcessIdentity(**json.loads((STATE / "docker.json").read_text()))
    except FileNotFoundError:
        return None
    return daemon if is_alive(daemon) else None


def _may(capability: int) -> bool:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    return bool(int(line.split()[1], 16) >> capability & 1)


def _why_silent(environment: dict[str, str]) -> str:
    """Say why Docker doesn't answer; empty when it does."""
    if shutil.which("docker") is None:
        return "there is no program docker"
    command = ["docker", "version"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return "it is silent for 30 s"
    return debian.last_line(done.stderr) if done.returncode else ""


def _is_bookworm() -> bool:
    system = Path("/etc/os-release")
    return system.exists() and "VERSION_CODENAME=bookworm" in system.read_text()


def _is_own(image: str, environment: dict[str, str]) -> bool:
    command = ["docker", "image", "inspect", image, "--format={{json .Config.Labels}}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "dev.scalesets.node" in done.stdout


def _install_package(package: str, *, program: str = "") -> None:
    if not debian.has(program or package) and (why := debian.install([package], _say)):
        raise LocalError(why)


def _is_reached(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError:
        return False
    return True


def _timed(step: Callable[[], None]) -> None:
    started = time.monotonic()
    step()
    _say(f"{step.__name__.replace('_', '-')}: done after {time.monotonic() - started:.0f} s")


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env=environment, check=True)


def _read(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
