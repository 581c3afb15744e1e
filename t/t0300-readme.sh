#!/bin/sh
# The README's tours, run as they are printed.
. "$(dirname "$0")/lib.sh"

section() { # TITLE: the commands printed under it
	awk -v title="## $1" '/^## /{ on = ($0 == title) } on && /^    /{ print substr($0, 5) }' "$ROOT/README.md"
}
mkdir -p photos/2024 && head -c 300000 /dev/urandom >photos/2024/beach.jpg && echo hi >photos/note.txt &&
	touch -d '2020-01-01' photos/2024/beach.jpg photos/note.txt || exit

test_expect_success 'the tour in five commands' '
	section "A tour in five commands" >tour
	grep -c . tour | grep -qx 5
	sh -ex tour
	listing photos >before
	listing photos.back >after
	cmp before after
'
test_expect_success 'the same by hand' '
	CHKFS_STORE=$PWD/store
	export CHKFS_STORE
	section "The same by hand" >hand
	[ "$(grep -c . hand)" -ge 5 ]
	sh -ex hand >out
	grep -qx note.txt out
	chkfs-rev-parse by-hand: >one
	chkfs-rev-parse photos: >two
	cmp one two
	[ "$(sha256sum <photos/note.txt)" = "$(sha256sum <"unpacked/blob/$(sha256sum <photos/note.txt | cut -c-64)")" ]
'
test_expect_success 'a drive from the shelf' '
	need_root
	need mkfs.ext4
	truncate -s 16M drive
	mkfs.ext4 -q -d photos drive
	mkdir -p at
	mount -o ro drive at 2>err || skip "no image can be mounted here: $(cat err)"
	umount at
	CHKFS_STORE=$PWD/store
	export CHKFS_STORE
	section "A drive from the shelf" | sed "s|/dev/sdb1|drive|; s|/mnt|at|" >shelf
	[ "$(grep -c "drive\|at" shelf)" -eq 3 ]
	sh -ex shelf
	chkfs log -v laptop-2009 | grep "^Mount:   .* uuid "
	chkfs cat-object laptop-2009:note.txt | grep -qx hi
'
test_expect_success 'every name that it mentions means something' '
	CHKFS_STORE=$PWD/store
	export CHKFS_STORE
	echo more >photos/more
	chkfs backup -q photos
	chkfs rev-parse photos~1 "photos@{1}" photos:2024/beach.jpg
	chkfs log photos >log
	[ "$(grep -c "^snapshot" log)" -eq 2 ]
'
test_done
