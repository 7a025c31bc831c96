"""The plain manifests of deploy/, for `kubectl apply -f`: the chart with its own values, without hooks and CRDs.

`python tools/manifests.py [--check] --helm PROGRAM`; the CRDs lie in crds/ already. The namespace is a file of its own:
who deletes the operator keeps the catalog that users made in it.
"""

import argparse
import difflib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
NAME = "scaleset-system"
HEAD = "# Made by `make manifests` from charts/scaleset-operator; edits are lost.\n"
NAMESPACE = f"""\
{HEAD}# The catalog lies in it, images and extensions of all users: it is no part of what is deleted with the operator.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAME}
"""


def main() -> int:
    """Write the files, or say whether they are current."""
    parser = argparse.ArgumentParser(description="The plain manifests of deploy/, from the chart.")
    parser.add_argument("--helm", default="helm", help="the program (default: the one on PATH)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when one isn't current")
    options = parser.parse_args()
    files = {
        DEPLOY / "namespace.yaml": NAMESPACE,
        DEPLOY / "scaleset-operator.yaml": f"{HEAD}# Apply crds/ with it.\n{rendered(options.helm)}",
    }
    stale = False
    for path, text in files.items():
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        stored = path.read_text() if path.exists() else ""
        before, after = stored.splitlines(keepends=True), text.splitlines(keepends=True)
        print("".join(difflib.unified_diff(before, after, str(path), "chart")), end="", file=sys.stderr)
        stale |= stored != text
    return int(stale)


def rendered(helm: str) -> str:
    """What helm makes of the chart."""
    command = [helm, "template", "scaleset-operator", str(ROOT / "charts/scaleset-operator")]
    flags = [f"--namespace={NAME}", "--no-hooks", "--set=crds.install=false"]
    return subprocess.run([*command, *flags], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
