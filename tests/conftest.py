"""What every layer of the tests shares."""

import os
import signal

import pytest

import goldens

pytest_plugins = ["controlplane"]

# A shell starts what it runs in the background with SIGINT ignored, and that is inherited: Ctrl-C would do nothing in
# the programs under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files of the chosen tests anew")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: half of these tests wait for a cluster while they hold a worker."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden"):
        os.environ[goldens.UPDATE] = "1"
