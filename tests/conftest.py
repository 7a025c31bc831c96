"""What every layer of the tests shares."""

import signal

pytest_plugins = ["controlplane"]

# A shell starts what it runs in the background with SIGINT ignored, and that is inherited: Ctrl-C would do nothing in
# the programs under test.
signal.signal(signal.SIGINT, signal.default_int_handler)
