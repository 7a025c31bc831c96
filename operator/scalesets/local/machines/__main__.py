"""`python -m scalesets.local.machines`: how the control plane starts the machines' process."""

import argparse
from pathlib import Path

from scalesets.local.machines.process import Options, run_machines


def main() -> None:
    """Read the command line and play the machines."""
    parser = argparse.ArgumentParser(prog="scalesets.local.machines", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--zones", default="")
    parser.add_argument("--boot-min", type=float, default=0.05)
    parser.add_argument("--boot-max", type=float, default=0.3)
    parser.add_argument("--patch-min", type=float, default=0.0)
    parser.add_argument("--patch-max", type=float, default=2.0)
    parser.add_argument("--slow", type=float, default=3.0)
    parser.add_argument("--heartbeat", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    run_machines(
        Options(
            directory=given.dir,
            port=given.port,
            nodes=given.nodes,
            zones=tuple(zone for zone in given.zones.split(",") if zone),
            boot_seconds=(given.boot_min, given.boot_max),
            patch_seconds=(given.patch_min, given.patch_max),
            slow_seconds=given.slow,
            heartbeat=given.heartbeat,
            seed=given.seed,
        )
    )


main()
