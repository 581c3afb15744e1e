#!/bin/sh
# A drive that fails: what can be read is stored and what cannot is said, and the next backup adds what it can.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
{ [ -w /dev/fuse ] && python3 -c "import mfusepy" 2>/dev/null; } || skip_all 'this needs /dev/fuse and mfusepy'
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

show() { # mounts drive as it is at mnt, with the faults in the file faults
	mkdir -p mnt
	python3 "$ROOT/tests/faultyfs.py" mnt drive faults >fuse.log 2>&1 &
	wait_for mountpoint -q mnt || { cat fuse.log; return 1; }
}
hide() { umount mnt; }
tags() { # PATH: of its line in the tree of drive
	chkfs-cat-object drive: | sed -n "s,^\./$1 .* tags=,,p" | tr , '\n' | grep "^$2:"
}
bytes() { # FILE FROM TO
	tail -c +$(($2 + 1)) "$1" | head -c $(($3 - $2))
}

test_expect_success 'a store, and a drive' '
	chkfs-init store
	mkdir drive drive/sub
	head -c 9000 /dev/urandom >drive/small
	head -c 700000 /dev/urandom >drive/middle
	head -c 20000000 /dev/urandom >drive/large
	head -c 5000 /dev/urandom >drive/sub/good
	echo lost >drive/lost
	echo closed >drive/closed
	touch -d @1000000000 drive/* drive/sub/*
	cat >faults <<-\END
	bad small 5000 5001
	bad middle 0 100
	bad middle 300000 301000
	bad middle 699999 700000
	bad large 1048000 1049000
	bad large 19000000 19000512
	bad lost 0 5
	closed closed
	END
	show || skip "cannot mount here"
'
test_expect_success 'exit status 3; what is lost is said to the byte' '
	test_expect_code 3 chkfs-backup -n drive mnt 2>err
	grep -qx "drive: 6 files, 20714012 bytes, 2 skipped, 3 damaged" err
	grep -q "small. is damaged: 512 bytes lost: 4608-5120$" err
	grep -q "middle. is damaged: 2144 bytes lost: 0-512, 299520-301056, 699904-700000$" err
	grep -q "large. is damaged: 2560 bytes lost: 1047552-1049088, 18999808-19000832$" err
	grep -q "lost. cannot be read: Input/output error$" err
	grep -q "closed. cannot be read: Input/output error$" err
'
test_expect_success 'the ranges stand in the tree, the counts in the snapshot, and both are shown' '
	[ "$(tags small damaged)" = damaged:4608-5120 ]
	[ "$(tags middle damaged)" = damaged:0-512+299520-301056+699904-700000 ]
	[ "$(tags large damaged)" = damaged:1047552-1049088+18999808-19000832 ]
	[ "$(tags lost unread)" = unread:EIO ]
	[ "$(tags closed unread)" = unread:EIO ]
	chkfs-cat-object drive >out
	grep -qx "damaged 3" out
	grep -qx "skipped 2" out
	chkfs-log drive | grep -q ", 2 skipped, 3 damaged$"
	chkfs-ls -l drive >out
	grep -q " small (damaged)$" out
	grep -q " lost (could not be read: EIO)$" out
	chkfs-fsck
'
test_expect_success 'restored: every byte that could be read, zeros for the others; this is said, exit status 3' '
	test_expect_code 3 chkfs-restore drive back 2>err
	grep -q "small. is damaged: 512 bytes of it could not be read when it was stored, and are zeros: 4608-5120$" err
	grep -q "3 files are damaged" err
	head -c 10000 /dev/zero >zeros
	at=0
	for range in 0-512 299520-301056 699904-700000; do
		from=${range%-*} to=${range#*-}
		bytes drive/middle $at "$from" >a
		bytes back/middle $at "$from" >b
		cmp a b
		bytes back/middle "$from" "$to" | cmp -n $((to - from)) - zeros
		at=$to
	done
	[ "$(wc -c <back/middle)" = 700000 ]
	bytes drive/large 19000832 20000000 >a
	bytes back/large 19000832 20000000 | cmp - a
	bytes drive/large 1049088 18999808 >a
	bytes back/large 1049088 18999808 | cmp - a
	cmp drive/sub/good back/sub/good
	[ ! -e back/lost ]
'
test_expect_success 'they are tried again; what could be read before is not lost' '
	cat >faults <<-\END
	bad small 5000 5001
	bad middle 300000 300001
	bad middle 4096 4097
	bad large 30000 30001
	END
	test_expect_code 3 chkfs-backup -n drive mnt 2>err
	[ "$(tags small damaged)" = damaged:4608-5120 ]
	[ "$(tags middle damaged)" = damaged:299520-300032 ]
	[ -z "$(tags large damaged)" ]
	[ -z "$(tags lost unread)" ]
	chkfs-cat-object drive:large | cmp - drive/large
	chkfs-cat-object drive:lost | cmp - drive/lost
	chkfs-cat-object drive | grep -qx "damaged 2"
'
test_expect_success 'the drive is well again: so is the backup, and then nothing is read any more' '
	: >faults
	chkfs-backup -n drive mnt
	chkfs-cat-object drive: >tree
	test_must_fail grep -q "damaged:\|unread:" tree
	chkfs-restore -q drive whole
	same_contents drive whole
	chkfs-cat-object drive: >tree.2
	chkfs-backup -q -n drive mnt
	chkfs-cat-object drive: | cmp - tree.2
'
test_expect_success 'a directory that cannot be listed is empty in the tree, and the rest is stored' '
	echo "closed sub" >faults
	test_expect_code 3 chkfs-backup -n drive mnt 2>err
	grep -q "sub. cannot be read: Input/output error$" err
	[ "$(tags sub unread)" = unread:EIO ]
	chkfs-cat-object drive:large | cmp - drive/large
	hide
'
test_done
