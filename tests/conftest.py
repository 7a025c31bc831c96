"""What every layer of the tests shares."""

pytest_plugins = ["controlplane"]
