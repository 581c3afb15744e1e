#!/bin/sh
# Where a source came from, and what did not change on a drive that is mounted again, elsewhere; copies of drives.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

drive() { # TYPE IMAGE: a filesystem with some files, all older than any doubt
	need_root
	need mount "mkfs.$1" blkid strace
	mkdir -p fill
	case $1 in xfs) size=320M ;; btrfs) size=128M ;; *) size=16M ;; esac
	case $1 in ext4 | xfs) label=-L ;; btrfs) label=-L ;; vfat) label=-n ;; esac
	truncate -s "$size" "$2"
	"mkfs.$1" "$label" "A DRIVE" "$2" >out 2>&1
	mount -o loop "$2" fill 2>err || skip "$1 cannot be mounted here: $(cat err)"
	mkdir -p fill/sub/deep
	for n in $(seq 20); do echo "$n" >"fill/sub/entry-$n"; done
	echo as-it-was >fill/entry-silent
	[ "$1" != btrfs ] || { btrfs subvolume create fill/volume >out && echo sub >fill/volume/entry-sub; }
	find fill -exec touch -d @1353624000 {} +
	sync
	umount fill
	sleep 2
}
traced() { # OUT CMD: the files that the command and its children open for reading, by name, without directories
	out=$1
	shift
	strace -f -qq -e trace=open,openat,openat2 -o trace "$@" || return
	grep -v 'O_DIRECTORY\|ENOENT' trace | grep -o '"[^"]*"' | tr -d '"' >"$out"
}
at() { # MOUNTPOINT IMAGE OPTIONS CMD: while it is mounted there
	mkdir -p "$1"
	mount -o "loop,$3" "$2" "$1" || return
	point=$1
	shift 3
	code=0
	"$@" || code=$?
	umount "$point"
	return "$code"
}

test_expect_success 'a store' 'chkfs-init store'
for type in ext4 xfs btrfs vfat; do
	TYPE=$type
	export TYPE
	test_expect_success "$TYPE: mounted elsewhere, read-only or not, by another loop device: nothing is read again" '
		drive $TYPE $TYPE.img
		at here $TYPE.img rw,noatime chkfs-backup -q -n $TYPE here
		losetup -f --show $TYPE.img >other
		losetup -d "$(cat other)"
		at elsewhere/deeper $TYPE.img rw,noatime traced opened chkfs-backup -q -n $TYPE elsewhere/deeper
		! grep entry- opened || exit 1
		[ "$(chkfs-rev-parse $TYPE:)" = "$(chkfs-rev-parse $TYPE~:)" ]
		at third $TYPE.img ro traced opened chkfs-backup -q -n $TYPE third
		at fourth $TYPE.img ro traced opened chkfs-backup -q -n $TYPE fourth
		! grep entry- opened || exit 1
		[ "$(chkfs-rev-parse $TYPE:)" = "$(chkfs-rev-parse $TYPE~:)" ]
	'
	test_expect_success "$TYPE: the snapshot tells type, UUID, label, size, access, granularity and the image" '
		chkfs-rev-parse $TYPE >out 2>err || skip "it was not stored"
		uuid=$(blkid -p -o value -s UUID $TYPE.img)
		chkfs-cat-object $TYPE >text
		grep "^mount path=\. type=$TYPE driver=kernel device=/dev/loop[0-9]* options=ro.* uuid=$uuid " text
		grep "^mount .* label=A\\\\040DRIVE root=/ size=[0-9]* access=ro granularity_ns=[0-9]* drives=/dev/loop" text
		grep "^drive device=/dev/loop[0-9]* size=$(stat -c %s $TYPE.img) .*backing=$SCRATCH/$TYPE.img$" text
		chkfs-log -v -n 1 $TYPE >log
		grep "^Mount:   \., type $TYPE, driver kernel, .*uuid $uuid, label A DRIVE, root /," log
		grep "^Drive:   /dev/loop.* backing $SCRATCH/$TYPE.img$" log
		grep "^Files: .* 0 skipped, 0 changed, 0 damaged$" log
		grep "^Features: mode " log
		chkfs-log -n 1 $TYPE | test_must_fail grep "^Mount\|^Drive"
	'
done
test_expect_success 'squashfs has no UUID: known by its beginning and its file' '
	need_root
	need mksquashfs strace mount
	mkdir -p tosquash
	echo data >tosquash/entry-file
	touch -d @1353624000 tosquash/entry-file
	mksquashfs tosquash s.sq -quiet -no-progress >out
	at here s.sq ro chkfs-backup -q -n squash here
	at elsewhere s.sq ro traced opened chkfs-backup -q -n squash elsewhere
	! grep entry- opened || exit 1
	chkfs-cat-object squash | grep "^mount path=\. type=squashfs .* access=ro granularity_ns=1000000000 "
'
test_expect_success 'a copy of a drive is read as another drive, and when both are mounted this is said' '
	chkfs-rev-parse ext4 >out 2>err || skip "there is no drive"
	cp ext4.img copy.img
	at here copy.img ro traced opened chkfs-backup -q -n copy here
	grep "^entry-silent$\|/entry-silent$" opened
	mkdir -p both
	mount -o loop,ro ext4.img both
	at here copy.img ro chkfs-backup -n copy here 2>err
	at here copy.img ro traced opened chkfs-backup -q -n ext4 both
	umount both
	! grep entry- opened || exit 1
	grep "has the same UUID as ./dev/loop.*one is a copy of the other" err
'
test_expect_success 'a read-only image that was mended since is read again' '
	chkfs-rev-parse ext4 >out 2>err || skip "there is no drive"
	at here ext4.img ro chkfs-backup -q -n ext4 here
	offset=$(grep -abo as-it-was ext4.img | cut -d : -f 1)
	printf mended... | dd of=ext4.img bs=1 seek="$offset" conv=notrunc 2>err
	at here ext4.img ro chkfs-backup -q -n ext4 here
	[ "$(chkfs-cat-object ext4:entry-silent)" = mended... ]
'
test_expect_success '--rehash finds what changed silently, says it and stores it; then it is as known as any' '
	chkfs-rev-parse ext4 >out 2>err || skip "there is no drive"
	at here ext4.img rw,noatime chkfs-backup -q -n ext4 --rehash here || [ $? = 3 ]
	offset=$(grep -abo mended... ext4.img | cut -d : -f 1)
	printf broken... | dd of=ext4.img bs=1 seek="$offset" conv=notrunc 2>err
	at here ext4.img rw,noatime chkfs-backup -q -n ext4 here
	[ "$(chkfs-cat-object ext4:entry-silent)" = mended... ]
	code=0
	at here ext4.img rw,noatime chkfs-backup -n ext4 --rehash here 2>err || code=$?
	[ $code = 3 ]
	grep ".entry-silent. has other contents than before, though its size and times are the same" err
	[ "$(grep -c "other contents" err)" = 1 ]
	[ "$(chkfs-cat-object ext4:entry-silent)" = broken... ]
	[ "$(chkfs-cat-object ext4~:entry-silent)" = mended... ]
	at here ext4.img rw,noatime chkfs-backup -n ext4 --rehash here 2>err
	at here ext4.img rw,noatime traced opened chkfs-backup -q -n ext4 here
	! grep entry- opened || exit 1
'
test_expect_success '--rehash-sample: of everything, of nothing, and of no number' '
	need strace
	mkdir -p plain
	for n in $(seq 20); do echo "$n" >plain/entry-$n; done
	sleep 2
	chkfs-backup -q plain
	strace -o trace true 2>err || skip "strace may not trace here"
	traced opened chkfs-backup -q --rehash-sample 0 plain
	! grep entry- opened || exit 1
	traced opened chkfs-backup -q --rehash-sample=100 plain
	[ "$(grep -c entry- opened)" = 20 ]
	for percent in 101 -1 x "" nan; do
		test_must_fail chkfs-backup -q --rehash-sample="$percent" plain 2>err || exit 1
		grep "number of percent" err
	done
	test_expect_code 2 chkfs-write-tree --rehash --rehash-sample 5 plain
'
test_expect_success 'a source that is read-only now tells times of access, and is read once more for it' '
	need_root
	need mount strace
	mkdir -p plain ro
	chkfs-backup -q -n plain plain
	mount --bind plain ro 2>err || skip "mount --bind is not allowed here"
	mount -o remount,ro,bind ro
	traced opened chkfs-backup -q -n plain ro
	grep -q entry- opened
	traced opened chkfs-backup -q -n plain ro
	umount ro
	! grep entry- opened || exit 1
	[ "$(chkfs-cat-object plain: | grep -c "atime:")" = 20 ]
	traced opened chkfs-backup -q -n plain plain
	! grep entry- opened || exit 1
	! chkfs-cat-object plain: | grep "atime:" || exit 1
'
test_expect_success 'one image in user space: told by its file' '
	need_root
	need fuse2fs mkfs.ext4 blkid
	[ -e /dev/fuse ] || skip "there is no /dev/fuse here"
	truncate -s 4M f.img
	mkfs.ext4 -q -L "A DRIVE" f.img
	mkdir -p fuse
	fuse2fs -o ro,fakeroot "$SCRATCH/f.img" fuse 2>err || skip "fuse2fs cannot mount here: $(cat err)"
	wait_for mountpoint -q fuse
	chkfs-backup -q fuse || { umount fuse; exit 1; }
	umount fuse
	chkfs-cat-object fuse >text
	grep "^mount path=\. type=fuse.ext4 driver=fuse2fs device=$SCRATCH/f.img .* label=A\\\\040DRIVE " text
	grep "^drive device=$SCRATCH/f.img size=4194304$" text
'
test_done
