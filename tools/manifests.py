"""The plain manifests of deploy/, for `kubectl apply -f`: the chart with its own values, without hooks and CRDs.

`python tools/manifests.py [--check] --helm PROGRAM`; the CRDs lie in crds/ already.
"""

import argparse
import difflib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "deploy" / "scaleset-operator.yaml"
NAMESPACE = "scaleset-system"
HEAD = f"""\
# Made by `make manifests` from charts/scaleset-operator; edits are lost. Apply crds/ with it.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
"""


def main() -> int:
    """Write the file, or say whether it is current."""
    parser = argparse.ArgumentParser(description="The plain manifests of deploy/, from the chart.")
    parser.add_argument("--helm", default="helm", help="the program (default: the one on PATH)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file isn't current")
    options = parser.parse_args()
    text = HEAD + rendered(options.helm)
    if not options.check:
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(text)
        return 0
    stored = OUT.read_text() if OUT.exists() else ""
    difference = difflib.unified_diff(
        stored.splitlines(keepends=True), text.splitlines(keepends=True), str(OUT), "chart"
    )
    print("".join(difference), end="", file=sys.stderr)
    return int(stored != text)


def rendered(helm: str) -> str:
    """What helm makes of the chart."""
    command = [helm, "template", "scaleset-operator", str(ROOT / "charts/scaleset-operator")]
    flags = [f"--namespace={NAMESPACE}", "--no-hooks", "--set=crds.install=false"]
    return subprocess.run([*command, *flags], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
