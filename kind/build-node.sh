#!/usr/bin/env bash
# build-node.sh PROGRAMS PAUSE IMAGES VERSION NAME: makes a node image for kind where the published one can't be
# pulled: Debian with containerd, Kubernetes' programs from PROGRAMS, and the control plane's images from IMAGES. Docker
# takes it in under NAME.
set -euo pipefail
programs=$1 pause=$2 images=$3 version=$4 name=$5
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
. /etc/os-release
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' "Created-By: Packages" | awk -v r="$VERSION_CODENAME" '$2 == r { print $1; exit }')

packages=containerd,runc,containernetworking-plugins,nftables,conntrack,iproute2,ethtool,kmod,procps,socat,mount,util-linux
debootstrap --variant=minbase --include="$packages" "$VERSION_CODENAME" "$root" "$mirror" > "$root.log" 2>&1 ||
  { tail -5 "$root.log" >&2; exit 1; }
rm -rf "$root.log" "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man} "$root"/etc/cni/net.d

mkdir -p "$root"/kind/{images,manifests} "$root"/etc/{containerd,kubernetes/manifests} "$root"/opt/cni
ln -s /usr/lib/cni "$root/opt/cni/bin"
install -m 755 "$programs"/{kubelet,kubeadm,kubectl,kube-proxy} "$root/usr/bin/"
install -m 755 "$here/node/entrypoint" "$root/usr/local/bin/entrypoint"
sed "s#@PAUSE@#$pause#" "$here/node/containerd.toml" > "$root/etc/containerd/config.toml"
install -m 644 "$here"/node/{pods.conflist,kube-proxy.yaml} "$root/kind/"
install -m 644 "$here/node/storage.yaml" "$root/kind/manifests/default-storage.yaml"
cp "$images"/*.tar "$root/kind/images/"
echo "v$version" > "$root/kind/version"
tar --directory "$root" --numeric-owner --create . | docker import --change 'ENTRYPOINT ["/usr/local/bin/entrypoint"]' \
  --change 'ENV container=docker PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'LABEL dev.scalesets.node=true' - "$name"
