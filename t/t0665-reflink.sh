#!/bin/sh
# Restored files share their blocks with the store, where both are on a filesystem that can.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

on() { # TYPE SIZE: a store and a source on a new filesystem
	need_root
	need "mkfs.$1" losetup filefrag
	truncate -s "$2" "$1.img"
	mkdir "$1"
	"mkfs.$1" -q "$1.img" >/dev/null 2>&1
	mount -o loop "$1.img" "$1" 2>/dev/null || { rmdir "$1"; skip "$1 cannot be mounted here"; }
	cd "$1" || exit
	chkfs-init store
	mkdir src
	head -c 300000 /dev/urandom >src/plain
	head -c 5000000 /dev/urandom >src/large
	head -c 9500000 /dev/urandom >src/pieces
	yes text | head -c 900000 >src/packed
	echo small >src/small
	chkfs-backup -q --store store src
	sync -f .
}
shared() { filefrag -v "$1" | grep -q shared; }
for type in btrfs xfs; do
	case $type in btrfs) size=200M ;; xfs) size=320M ;; esac
	test_expect_success "$type: plain objects are shared, all else is written, and all is equal" "
		on $type $size
		chkfs-restore -q --reflink --store store src there
		same_trees src there
		sync -f .
		for name in plain large; do shared there/\$name; done
		for name in pieces packed small; do ! shared there/\$name || exit 1; done
	"
	test_expect_success "$type: without --reflink nothing is shared" "
		[ -d $type/store ] || skip 'there is no $type here'
		cd $type
		chkfs-restore -q --store store src apart
		same_trees src apart
		sync -f .
		! shared apart/large || exit 1
	"
	test_expect_success "$type: a change of what was restored leaves the store whole" "
		[ -d $type/store ] || skip 'there is no $type here'
		cd $type
		chmod u+w there/large
		printf X | dd of=there/large bs=1 seek=1000 conv=notrunc 2>/dev/null
		chkfs-fsck --store store
	"
	test_expect_success "$type: a damaged object is not shared, and the file not restored" "
		[ -d $type/store ] || skip 'there is no $type here'
		cd $type
		object=\$(find store/objects -name \"\$(sha256sum <src/plain | cut -c 1-64)\")
		chmod u+w \"\$object\"
		printf X | dd of=\"\$object\" bs=1 seek=1000 conv=notrunc 2>/dev/null
		test_expect_code 3 chkfs-restore -q --reflink --store store src damaged
		[ ! -e damaged/plain ]
		cmp src/large damaged/large
	"
done
test_expect_success 'where blocks cannot be shared, --reflink writes' '
	chkfs-init store
	mkdir src
	head -c 300000 /dev/urandom >src/one
	head -c 300000 /dev/urandom >src/two
	chkfs-backup -q --store store src
	chkfs-restore -q --reflink --store store src there
	same_trees src there
	mkdir tmpfs
	mount -t tmpfs none tmpfs 2>/dev/null || skip "no tmpfs can be mounted here"
	chkfs-restore -q --reflink --store store src tmpfs/there
	same_trees src tmpfs/there
'
test_done
