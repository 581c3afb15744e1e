#!/bin/sh
# usage: get-machine.sh DIR - what tests/vm needs: qemu and mkfs (installed, as root), Debian's kernel (into DIR)
set -eu
directory=$1
packages='qemu-system-x86 busybox-static e2fsprogs xfsprogs btrfs-progs'
is_root() { [ "$(id -u)" -eq 0 ]; }
die() { echo "get-machine.sh: $1" >&2; exit 1; }

command -v apt-get >/dev/null || die 'this needs Debian'
missing=
for package in $packages; do
	dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || [ ! -e "$directory/ready" ] || exit 0

if is_root; then apt-get -qq update; fi
if [ -n "$missing" ]; then
	is_root || die "install these as root:$missing"
	echo "Installing$missing ..."
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1
fi

[ ! -e "$directory/ready" ] || exit 0
kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
[ -n "$kernel" ] || die 'there is no linux-image-amd64 in the package lists: this needs Debian on amd64'
echo "Fetching $kernel ..."
rm -rf "$directory"
mkdir -p "$directory/deb"
cd "$directory"
(cd deb && apt-get -qq -o APT::Sandbox::User=root download "$kernel")
# of its 400 MB only what a machine with a disk and these filesystems may load
dpkg-deb --fsys-tarfile deb/*.deb | tar -xf - --wildcards './boot/vmlinuz-*' \
	'*/kernel/fs/*' '*/kernel/net/9p/*' '*/kernel/drivers/virtio/*' '*/kernel/drivers/block/virtio_blk.ko*' \
	'*/kernel/lib/*' '*/kernel/crypto/*' '*/kernel/arch/x86/crypto/*'
mv boot/vmlinuz-* vmlinuz
mkdir modules
find . -path ./modules -prune -o \( -name '*.ko' -o -name '*.ko.xz' \) -exec mv {} modules/ \;
rm -rf deb boot lib usr
: >ready
