#!/bin/sh
# Circles, hard-linked directories and bind mounts: stored once, whole, and restored as asked for.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE
PYTHON=$(chkfs-write-tree --version >/dev/null && command -v python3)
export PYTHON

need_mount() { # OPTION ...: mount, as root
	need_root
	need mount
	mount "$@" 2>err || skip "mount $1 is not allowed here: $(cat err)"
}
need_fuse() { [ -e /dev/fuse ] || skip 'there is no /dev/fuse here'; need_root; }

test_expect_success 'a store' 'chkfs-init store'
test_expect_success 'a true endless circle, as fuse2fs shows it: one entry, at once' '
	need_fuse
	need fuse2fs debugfs mkfs.ext4
	mkdir ext m
	truncate -s 4M ext.img
	mkfs.ext4 -q ext.img 2>err
	fuse2fs -o fakeroot "$SCRATCH/ext.img" m 2>err || skip "fuse2fs cannot mount here: $(cat err)"
	wait_for mountpoint -q m
	mkdir -p m/sub/deep
	echo data >m/sub/deep/file
	umount m
	debugfs -w -R "ln <2> loopdir" ext.img 2>err
	debugfs -w -R "ln sub sub/deep/up" ext.img 2>err
	fuse2fs -o ro,fakeroot "$SCRATCH/ext.img" m 2>err
	wait_for mountpoint -q m
	[ -e m/loopdir/loopdir/loopdir/sub/deep/up/deep/file ]
	timeout 120 chkfs-backup -q -n circle m >out 2>err || { umount m; cat err; exit 1; }
	umount m
	[ "$(chkfs-ls -r circle | grep -c loopdir)" = 1 ]
	chkfs-ls -lr circle | grep " loopdir is \. again$"
	chkfs-ls -lr circle | grep " sub/deep/up is sub again$"
	[ "$(chkfs-ls -r circle | grep -c "/file$")" = 1 ]
	[ "$(chkfs-cat-object circle:loopdir/sub/deep/up/deep/file)" = data ]
'
test_expect_success 'it is restored as relative symlinks' '
	chkfs-rev-parse circle >out 2>err || skip "it was not stored"
	chkfs-restore -q circle links
	[ "$(readlink links/loopdir)" = . ]
	[ "$(readlink links/sub/deep/up)" = .. ]
	[ "$(cat links/loopdir/sub/deep/up/deep/file)" = data ]
'
test_expect_success 'or skipped' '
	chkfs-rev-parse circle >out 2>err || skip "it was not stored"
	chkfs-restore -q --recursion=skip circle none
	[ ! -e none/loopdir ]
	[ ! -e none/sub/deep/up ]
	[ "$(cat none/sub/deep/file)" = data ]
'
test_expect_success 'or as bind mounts' '
	chkfs-rev-parse circle >out 2>err || skip "it was not stored"
	mkdir there
	mount --bind there there 2>err || skip "mount --bind is not allowed here"
	umount there
	rmdir there
	chkfs-restore --recursion bind circle there 2>err
	grep -q "^2 directories are bind mounts" err
	[ "$(cat there/loopdir/sub/deep/file)" = data ]
	[ "$(cat there/sub/deep/up/deep/file)" = data ]
	umount there/sub/deep/up
	umount there/loopdir
	same_trees none there || rmdir there/loopdir there/sub/deep/up
'
test_expect_success 'another word than these three is wrong usage' '
	test_expect_code 2 chkfs-restore --recursion=round circle nowhere
	test_expect_code 2 chkfs-checkout-tree --recursion=round circle nowhere
	test_expect_code 2 chkfs-restore --recursion
	[ ! -e nowhere ]
'
test_expect_success 'a bind mount of a directory elsewhere in the source is stored once, in both orders' '
	mkdir -p bind/early bind/middle/dir bind/zlate
	echo data >bind/middle/dir/file
	mkdir bind/middle/dir/sub
	need_mount --bind bind/middle/dir bind/early
	mount --bind bind/middle bind/zlate
	chkfs-backup bind >out 2>err || { cat err; exit 1; }
	umount bind/early bind/zlate
	chkfs-ls -lr bind >list
	grep " middle/dir is early again$" list
	[ "$(grep -c "/file$" list)" = 1 ]
	grep " early/file$" list
	chkfs-cat-object bind | grep "^mount path=early type=.* root=[^ ]*/bind/middle/dir "
	chkfs-restore -q bind bind.back
	[ "$(cat bind.back/zlate/dir/file)" = data ]
	[ "$(cat bind.back/middle/dir/file)" = data ]
'
test_expect_success 'but not what was left out under the first name' '
	mkdir -p left/a left/z
	echo one >left/a/one
	echo two >left/a/two
	need_mount --bind left/a left/z
	chkfs-backup -q --exclude /a/two left >out 2>err || { cat err; exit 1; }
	umount left/z
	chkfs-ls -r left >list
	printf "%s\n" a a/one z z/one z/two | diff - list
'
test_expect_success 'nor what a mount hides below the first name, or shows below the second' '
	for name in hidden shown; do mkdir -p $name/a/point $name/a/sub $name/z; done
	echo under >hidden/a/point/under
	need_mount --bind hidden/a hidden/z
	mount -t tmpfs none hidden/a/point
	echo over >hidden/a/point/over
	mount --bind shown/a shown/z
	mount -t tmpfs none shown/z/point
	echo over >shown/z/point/over
	chkfs-backup -q hidden shown >out 2>err || { cat err; exit 1; }
	umount hidden/a/point hidden/z shown/z/point shown/z
	chkfs-ls -r hidden >list
	printf "%s\n" a a/point a/point/over a/sub z z/point z/point/under z/sub | diff - list
	chkfs-ls -lr hidden | grep " z/sub is a/sub again$"
	chkfs-ls -r shown | grep -x z/point/over
'
test_expect_success 'a directory that took the place and the inode of another one is no other one' '
	mkdir -p reuse/a
	chkfs-backup -q reuse >out
	for n in $(seq 20); do mkdir "reuse/$n" && rmdir "reuse/$n"; done
	mkdir reuse/new
	echo data >reuse/new/file
	chkfs-backup -q reuse >out
	[ "$(chkfs-cat-object reuse:new/file)" = data ]
'
test_expect_success 'btrfs: subvolumes, and the places where a snapshot lacks them, are directories of their own' '
	need_root
	need mkfs.btrfs btrfs mount
	mkdir disk
	truncate -s 128M btrfs.img
	mkfs.btrfs -q btrfs.img
	mount -o loop btrfs.img disk 2>err || skip "btrfs cannot be mounted here: $(cat err)"
	btrfs subvolume create disk/top >out
	for name in one two; do
		btrfs subvolume create disk/top/$name >out
		echo $name >disk/top/$name/file
	done
	btrfs subvolume snapshot disk/top disk/snapshot >out
	[ "$(stat -c %i disk/top/one disk/top/two | sort -u | wc -l)" = 1 ]
	[ "$(stat -c %d:%i disk/snapshot/one)" = "$(stat -c %d:%i disk/snapshot/two)" ]
	chkfs-backup disk >out 2>err || { umount disk; cat err; exit 1; }
	umount disk
	! grep again err || exit 1
	chkfs-ls -lr disk >list
	! grep " again$" list || exit 1
	for name in one two; do [ "$(chkfs-cat-object disk:top/$name/file)" = $name ]; done
	chkfs-ls -r disk:snapshot >list
	printf "%s\n" one two | diff - list
'
test_expect_success 'an overlay: a bind mount in it is recognised by the table of mounts' '
	need_root
	need mount
	mkdir -p layers/lower/a layers/upper layers/work overlay
	echo lower >layers/lower/a/file
	mkdir layers/lower/b
	mount -t overlay -o lowerdir=layers/lower,upperdir=layers/upper,workdir=layers/work none overlay 2>err ||
		skip "overlays cannot be mounted here: $(cat err)"
	echo upper >overlay/a/new
	mount --bind overlay/a overlay/b
	chkfs-backup -q overlay >out 2>err || { umount overlay/b overlay; cat err; exit 1; }
	umount overlay/b overlay
	chkfs-ls -lr overlay | grep " b is a again$"
	[ "$(chkfs-cat-object overlay:b/new)" = upper ]
'
test_expect_success 'a part of a snapshot: what it is again may be in it, or outside' '
	tree=$(printf "%s\n" "./in type=dir mode=0755 tags=again:sub/there" "./out type=dir mode=0755 tags=again:other" \
		"./there type=dir mode=0755 tags=tree:$(chkfs-mktree </dev/null)" | chkfs-mktree)
	empty=$(chkfs-mktree </dev/null)
	top=$(printf "%s\n" "./other type=dir mode=0755 tags=tree:$empty" "./sub type=dir mode=0755 tags=tree:$tree" |
		chkfs-mktree)
	chkfs-restore -q "$top" whole
	[ "$(readlink whole/sub/in)" = there ]
	[ "$(readlink whole/sub/out)" = ../other ]
	test_expect_code 3 chkfs-restore -q "$top:sub" part 2>err
	[ "$(readlink part/in)" = there ]
	grep "out. not restored: it is .other. again, which is not in what is restored here" err
	chkfs-restore -q "$top:sub/in" alone
	[ -d alone ]
'

endless() { # HOW DIR: a filesystem of our own, mounted at DIR
	need_fuse
	"$PYTHON" -c "import mfusepy" 2>err || skip 'there is no mfusepy here'
	mkdir "$2"
	"$PYTHON" "$T/endless.py" "$1" "$SCRATCH/$2" >server 2>&1 &
	wait_for mountpoint -q "$2" || skip "FUSE cannot mount here: $(cat server)"
}
partly() { # DIR: backs up and unmounts one that has no end: there must be one, and exit status 3
	code=0
	timeout 400 chkfs-backup "$1" >out 2>err || code=$?
	umount "$1"
	[ "$code" = 3 ] || { cat err; return 1; }
}
test_expect_success 'endless, and always other inodes: some rounds, then an end that is said' '
	endless counted counted
	partly counted
	grep "cannot be read: 8 directories above it have the same entries: an endless circle?" err
	chkfs-ls -r counted >list
	grep -x self/self/self/file list
	[ "$(wc -l <list)" -lt 2000 ]
	chkfs-ls-tree -r counted | grep -q "sub/self/sub"
	chkfs-cat-object "$(chkfs-rev-parse counted:self/self/self/self/self/self/self)" | grep "unread:ELOOP"
	chkfs-fsck
	[ "$(chkfs-cat-object counted:file)" = "hello world" ]
'
test_expect_success 'one inode for everything: nothing is taken for anything else' '
	endless constant constant
	partly constant
	! grep "again: not entered" err || exit 1
	! chkfs-ls -lr constant | grep " again$" || exit 1
	for name in one two; do [ "$(chkfs-cat-object "constant:$name/$name")" = "$name" ]; done
'
test_expect_success 'endless with new names each time: an end by the length of the path' '
	endless growing growing
	partly growing
	grep "the path is longer than 16384 bytes: an endless circle?" err
	chkfs-ls -r growing | awk "{ if (length(\$0) > longest) longest = length(\$0) } END { exit longest < 16384 }"
'
test_expect_success 'a directory within a directory, 5000 times, is stored whole' '
	"$PYTHON" -c "
import os
for n in range(5000):
    os.mkdir(\"d\"); os.chdir(\"d\")
open(\"file\", \"w\").write(\"deep\")
" || skip "no such depth here"
	chkfs-backup -q d >out
	[ "$(chkfs-ls -r d | wc -l)" = 5000 ]
'
test_done
