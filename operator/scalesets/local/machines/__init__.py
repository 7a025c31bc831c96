"""Simulated machines: somebody plays the kubelet where no container runtime is (docs/local.md).

Nodes with heartbeats, pods that boot, get ready, fail, are patched in place and end, and claims that are bound. The
machines are a process of their own that knows nothing of scale sets but their labels: what they show is what a real
kubelet would show, so that the operator can't tell the difference.

- `lifecycle` is the life of one pod, pure: what its status says at a time, and when it changes next; `containers` and
  `statuses` are its parts.
- `faults` says which containers misbehave: by a word in the image's tag, or by rules that people set while it runs.
- `pods`, `nodes` and `claims` watch the API server and write what follows.
- `steering` is the other side: it writes the rules that the machines watch.

Two rules keep instances from being lost: a pod is known by its UID alone, and every write carries it.
"""
