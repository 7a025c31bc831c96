"""The local control plane: real etcd, kube-apiserver, controller-manager and scheduler, and simulated machines.

It exists so that a newcomer, the tests and the benchmarks meet the real API server without a container runtime
(docs/local.md). `controlplane.ControlPlane` is the way in; `scalesets local up` and the tests both use it.
"""
