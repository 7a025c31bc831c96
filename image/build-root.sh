#!/bin/bash
# Make the file system of the operator's image from Debian's packages, hashed wheels and this source tree.
#
#   image/build-root.sh SOURCE ROOT
#
# The Dockerfile runs it in a container, tools/image.py on a Debian machine that reaches no registry of images: it is
# what the image *is*, so that what the one makes is what the other describes. It needs Debian 12 with apt's lists
# up to date, python3.11 with venv, and nothing of the machine it runs on gets into ROOT. Files are unpacked, no
# maintainer script is run; what such a script would have done and is needed is done here.
set -euo pipefail
export LC_ALL=C TZ=UTC PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PIP_DISABLE_PIP_VERSION_CHECK=1
umask 022

source=$(realpath "$1")
root=$(realpath -m "$2")
[ ! -e "$root" ] || [ -z "$(ls -A "$root")" ] || { echo "error: $root is not empty" >&2; exit 1; }
. /etc/os-release
[ "${ID:-}${VERSION_ID:-}" = debian12 ] || { echo "error: this needs Debian 12, and here is ${PRETTY_NAME:-?}" >&2; exit 1; }
python=$(command -v python3.11) || { echo "error: python3.11 is missing: apt-get install python3 python3-venv" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

echo "== Debian's packages"
mapfile -t packages < <(sed '/^#/d; /^$/d' "$source/image/packages.txt")
mkdir -p "$work/debs" "$root"
# As root apt fetches as the user _apt, who has to get into the folder.
[ "$(id -u)" != 0 ] || chown _apt "$work/debs"
(cd "$work/debs" && apt-get -qq download "${packages[@]}")
for name in bin sbin lib lib64; do
  mkdir -p "$root/usr/$name"
  ln -s "usr/$name" "$root/$name"
done
mkdir -p "$root/var/lib/dpkg/status.d"
for package in "${packages[@]}"; do
  deb=("$work/debs/${package}_"*.deb)
  dpkg-deb --fsys-tarfile "${deb[0]}" | tar -x -C "$root" --no-same-owner --keep-directory-symlink
  # Where scanners of images look for what is installed.
  { dpkg-deb --field "${deb[0]}" | sed '/^Package:/a Status: install ok installed'; echo; } \
    >"$root/var/lib/dpkg/status.d/$package"
done

echo "== What their scripts would have done"
ln -s python3.11 "$root/usr/bin/python3"
mkdir -p "$root/etc/ssl/certs"
find "$root/usr/share/ca-certificates" -name '*.crt' | sort | xargs cat >"$root/etc/ssl/certs/ca-certificates.crt"
printf '%s\n' 'root:x:0:0:root:/nonexistent:/usr/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/home/nonroot:/usr/sbin/nologin' \
  >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$root/etc/group"
printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$root/etc/nsswitch.conf"
mkdir -p "$root/home/nonroot" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
chmod 1777 "$root/tmp"

echo "== The operator and what it needs, hashes checked"
"$python" -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --quiet --no-input)
"${pip[@]}" install --require-hashes --only-binary=:all: -r "$source/requirements/build.txt"
site="$root/usr/local/lib/python3.11/dist-packages"
"${pip[@]}" install --require-hashes --only-binary=:all: --no-deps --no-compile --target "$site" \
  -r "$source/requirements/runtime.txt"
"${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$work/wheel" "$source"
"${pip[@]}" install --no-index --no-deps --no-compile --target "$work/own" "$work/wheel"/*.whl
mkdir -p "$root/usr/local/bin"
rm -rf "$work/own/bin" "$site/bin"
cp -R "$work/own/." "$site/"
# What pip notes names paths of this machine, and programs that aren't there.
find "$site" -path '*.dist-info/direct_url.json' -delete
find "$site" -path '*.dist-info/RECORD' -exec sed -i -e '/^\.\.\/\.\.\/bin\//d' -e '/direct_url\.json/d' {} +
cat >"$root/usr/local/bin/scalesets" <<'PROGRAM'
#!/usr/bin/python3.11 -I
from scalesets.cli.app import main

main()
PROGRAM
chmod 755 "$root/usr/local/bin/scalesets"
ln -s scalesets "$root/usr/local/bin/kubectl-scaleset"

echo "== Without what nobody reads there"
find "$root/usr/share/doc" -not -name copyright -not -type d -delete
find "$root/usr/share/doc" -type d -empty -delete
rm -rf "$root"/usr/share/{man,locale,lintian,bug,info,menu,applications,pixmaps,binfmts} "$root"/usr/lib/valgrind
rm -rf "$root"/usr/lib/python3.11/{ensurepip,idlelib,lib2to3,pydoc_data,turtledemo,tkinter,test}
rm -f "$root"/usr/lib/python3.11/lib-dynload/{nis,_dbm,_curses,_curses_panel,readline}.*
rm -f "$root"/usr/bin/{pydoc3.11,pygettext3.11,2to3-3.11} "$root"/etc/ld.so.cache
find "$root" -depth -name __pycache__ -exec rm -rf {} +
find "$site" -depth -type d -name tests -exec rm -rf {} +

echo "== Byte code, for a root file system that is read-only"
inside=(chroot)
[ "$(id -u)" = 0 ] || inside=(unshare --map-root-user chroot)
[ ! -x /sbin/ldconfig ] || /sbin/ldconfig -r "$root" -X
rm -rf "$root/var/cache/ldconfig"
# By the image's own Python: another one, though of the same 3.11, writes other code.
"${inside[@]}" "$root" /usr/bin/python3.11 -m compileall -q -j 1 --invalidation-mode unchecked-hash \
  /usr/lib/python3.11 /usr/local/lib/python3.11/dist-packages

echo "== The bill of materials"
"$python" "$source/image/sbom.py" "$root" "$root/usr/share/sbom/scaleset-operator.cdx.json"

echo "== It runs"
"${inside[@]}" "$root" /usr/local/bin/scalesets --version
"${inside[@]}" "$root" /usr/bin/python3.11 -I -c 'import ssl, sqlite3, ctypes, bz2, lzma, uuid, kopf, uvloop, cryptography.x509
from scalesets.kube import handlers, otlp'
