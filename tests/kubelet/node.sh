#!/usr/bin/env bash
# The first process of a node: containerd, and a kubelet that starts again whenever it ends, unless there is a file
# `stopped`. Everything of it lies in the folder $1; the programs are on PATH.
set -euo pipefail
cd "$1"
mount --make-rshared /
for folder in /var/log /var/lib/cni /var/lib/kubelet; do
  mkdir -p "$folder" && mount -t tmpfs tmpfs "$folder"
done
hostname "$(basename "$1")"
echo 1 > /proc/sys/net/ipv4/ip_forward
containerd --config "$1/containerd.toml" >> containerd.log 2>&1 &
until ctr version > /dev/null 2>&1; do sleep 0.05; done
[ -e imported ] || { ctr --namespace k8s.io images import "$SAMPLES" > import.log 2>&1 && touch imported; }
while :; do
  kubelet --config="$1/kubelet.json" --kubeconfig="$1/kubeconfig" --root-dir="$1/kubelet" \
    --hostname-override="$(basename "$1")" --node-ip="$ADDRESS" --node-labels="$LABELS" >> kubelet.log 2>&1 || true
  while [ -e stopped ]; do sleep 0.1; done
done
