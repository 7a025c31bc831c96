"""What no file may hold: paths of somebody's machine, hosts of package registries, notes to come back later.

A path or a mirror's host that works on one machine breaks everywhere else, and a note in the code is a promise that
nobody tracks. Part of `make lint`. The patterns are written so that they don't find themselves.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.~:/-])/(?:work|root|Users|tmp)/\w|(?<![\w.~:/-])/home/(?!nonroot)\w"),
    "a folder beside the project": re.compile(r"\.\.[/]shared\b"),
    "the host of a package registry": re.compile(
        r"\b(?:pypi\.org|pythonhosted\.org|proxy\.golang\.org|sum\.golang\.org|registry\.npmjs\.org|crates\.io|"
        r"repo1?\.maven\.(?:org|apache\.org)|deb\.debian\.org)\b"
    ),
    "an index or mirror of packages": re.compile(r"--(?:extra-)?index-url[= ]\S*://|--find-links[= ]/"),
    "a note to come back later": re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b"),
}


def main() -> int:
    """Print each finding as `file:line: what`; the exit status says whether there was one."""
    findings = [finding for path in tracked_files(ROOT) for finding in examine(path, ROOT)]
    print(*findings, sep="\n", end="\n" if findings else "", file=sys.stderr)
    return 1 if findings else 0


def tracked_files(root: Path) -> list[Path]:
    """List the files that git tracks or would track. Ignored ones (environments, caches) are nobody's business."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in sorted(listing.stdout.split("\0")) if name and (path := root / name).is_file()]


def examine(path: Path, root: Path) -> Iterator[str]:
    """Look at one file, line by line; files that are not text are passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in FORBIDDEN.items():
            if found := pattern.search(line):
                yield f"{path.relative_to(root)}:{number}: {what}: {found[0]}"


if __name__ == "__main__":
    sys.exit(main())
