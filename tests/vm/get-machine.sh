#!/bin/sh
# usage: get-machine.sh DIR - what tests/vm needs: qemu and mkfs (installed, as root), a kernel of Debian (into DIR)
set -eu
directory=$1
packages='qemu-system-x86 busybox-static e2fsprogs xfsprogs btrfs-progs dosfstools exfatprogs ntfs-3g udftools hfsutils
	genisoimage'
is_root() { [ "$(id -u)" -eq 0 ]; }
die() { echo "get-machine.sh: $1" >&2; exit 1; }
version=$(cksum <"$0")
is_complete() { [ "$(cat "$directory/ready" 2>/dev/null)" = "$version" ]; }

command -v apt-get >/dev/null || die 'this needs Debian'
missing=
for package in $packages; do
	dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || ! is_complete || exit 0

if is_root; then apt-get -qq update; fi
if [ -n "$missing" ]; then
	is_root || die "install these as root:$missing"
	echo "Installing$missing ..."
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1 ||
		die "apt-get could not install$missing"
fi
! is_complete || exit 0

# The kernel of Debian 12 has no ntfs3, that of its backports has.  They are looked for where this system's packages
# are from, with lists of our own, so that nothing of this system changes.
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
# shellcheck disable=SC2016 # apt puts in the values
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(CREATED_BY)' | sed -n "s/ $release Packages$//p" | head -n 1)
[ -n "$mirror" ] || die 'the package lists are empty: run "apt-get update" as root'
rm -rf "$directory"
mkdir -p "$directory/deb/lists/partial" "$directory/deb/cache/archives/partial"
cd "$directory/deb"
printf 'deb %s %s\n' "$mirror" "$release-backports main" "$mirror" "$release main non-free" >sources
printf 'Package: *\nPin: release n=%s\nPin-Priority: 600\n' "$release-backports" >preferences
cat >apt.conf <<END
Dir::Etc::SourceList "$PWD/sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "$PWD/preferences";
Dir::State::Lists "$PWD/lists";
Dir::Cache "$PWD/cache";
APT::Sandbox::User "root";
END
export APT_CONFIG="$PWD/apt.conf"
apt-get -qq update || echo 'Some packages may be missing' # mirrors without backports
kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
[ -n "$kernel" ] || die 'there is no linux-image-amd64 in the package lists: this needs Debian on amd64'
echo "Fetching $kernel ..."
apt-get -qq download "$kernel"
# of its 400 MB only what a machine with a disk and these filesystems may load
dpkg-deb --fsys-tarfile linux-image-*.deb | tar -xf - --wildcards './boot/vmlinuz-*' \
	'*/kernel/fs/*' '*/kernel/net/9p/*' '*/kernel/drivers/virtio/*' '*/kernel/drivers/block/virtio_blk.ko*' \
	'*/kernel/lib/*' '*/kernel/crypto/*' '*/kernel/arch/x86/crypto/*' '*/kernel/drivers/cdrom/*'
# not free software to Debian, and used by the test of the driver alone
if apt-get -qq download hfsprogs 2>/dev/null; then
	dpkg-deb --fsys-tarfile hfsprogs_*.deb | tar -xOf - ./sbin/mkfs.hfsplus >../mkfs.hfsplus
	chmod 755 ../mkfs.hfsplus
fi
mv boot/vmlinuz-* ../vmlinuz
mkdir ../modules
find . \( -name '*.ko' -o -name '*.ko.xz' \) -exec mv {} ../modules/ \;
cd ..
rm -rf deb
echo "$version" >ready
