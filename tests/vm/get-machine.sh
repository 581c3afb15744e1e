#!/bin/sh
# usage: get-machine.sh DIR - what tests/vm needs: qemu and mkfs (installed, as root), Debian's kernel (into DIR)
set -eu
directory=$1
packages='qemu-system-x86 busybox-static e2fsprogs xfsprogs btrfs-progs'

missing=
for package in $packages; do
	dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
	[ "$(id -u)" -eq 0 ] || { echo "install these first:$missing" >&2; exit 1; }
	echo "Installing$missing ..."
	apt-get -qq update
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
fi

[ ! -e "$directory/ready" ] || exit 0
rm -rf "$directory"
mkdir -p "$directory/deb"
cd "$directory"
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
echo "Fetching $kernel ..."
(cd deb && apt-get -qq download "$kernel")
# of its 400 MB only what a machine with a disk and these filesystems may load
dpkg-deb --fsys-tarfile deb/*.deb | tar -xf - --wildcards './boot/vmlinuz-*' \
	'*/kernel/fs/*' '*/kernel/net/9p/*' '*/kernel/drivers/virtio/*' '*/kernel/drivers/block/virtio_blk.ko*' \
	'*/kernel/lib/*' '*/kernel/crypto/*' '*/kernel/arch/x86/crypto/*'
mv boot/vmlinuz-* vmlinuz
mkdir modules
find . -path './modules' -prune -o \( -name '*.ko' -o -name '*.ko.xz' \) -exec mv {} modules/ \;
rm -rf deb boot lib usr
: >ready
