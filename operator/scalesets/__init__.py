"""Scale sets of pods with automatic, batched, health-judged upgrades, as virtual machine scale sets have them.

Read docs/design.md first. The packages, from the inside out: `engine` decides (pure), `api` describes what users write,
`kube` runs the decisions in a cluster, `local` brings a cluster to try it in, `cli` is what people type.
"""
