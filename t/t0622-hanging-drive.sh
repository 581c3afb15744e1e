#!/bin/sh
# Files that hang are given up, what failed is tried again, and a drive that disappears ends the run.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
{ [ -w /dev/fuse ] && python3 -c "import mfusepy" 2>/dev/null; } || skip_all 'this needs /dev/fuse and mfusepy'
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

show() { # DIR [SUBTYPE]: mounts it at mnt, with the faults in the file faults
	mkdir -p mnt
	python3 "$ROOT/tests/faultyfs.py" mnt "$1" faults ${2+"$2"} >fuse.log 2>&1 &
	wait_for mountpoint -q mnt || { cat fuse.log; return 1; }
}
until_logged() { # LINE: the filesystem says that it came to pass
	wait_for grep -qx "$1" fuse.log || { cat fuse.log; return 1; }
}
hide() { : >faults; umount -l mnt; }
tags() { # PATH: of its line in the tree of drive
	chkfs-cat-object "drive:$1" | sed -n "s,^\./$2 .* tags=,,p" | tr , '\n' | grep "^$3:"
}

test_expect_success 'a store, a drive with few files and one with many' '
	chkfs-init store
	mkdir few many many/sub
	for name in a b c; do echo $name >few/$name; done
	head -c 9000000 /dev/urandom >few/large
	seq 700 | while read -r n; do echo "$n$n" >many/$n; done
	seq 700 | while read -r n; do echo "sub$n" >many/sub/$n; done
	find few many -exec touch -d @1000000000 {} +
	: >faults
	show few || skip "cannot mount here"
	hide
'
test_expect_success 'a small and a large file that hang are given up, the others are stored' '
	printf "hang b\nhang large\n" >faults
	show few
	test_expect_code 3 chkfs-backup --read-timeout 1 --retries 0 -n drive mnt 2>err
	cat err
	grep -q "b. cannot be read: no answer for 1 seconds$" err
	grep -q "large. cannot be read: no answer for 1 seconds$" err
	[ "$(tags "" b unread)" = unread:ETIME ]
	[ "$(tags "" large unread)" = unread:ETIME ]
	[ "$(chkfs-cat-object drive:c)" = c ]
	# while the first reads are still waited for by the kernel, even to open these files hangs
	test_expect_code 3 timeout 100 chkfs-backup -q --read-timeout 1 -n drive mnt 2>err
	[ "$(grep -c "cannot be read: no answer for 1 seconds$" err)" = 2 ]
	hide
	chkfs-fsck
'
test_expect_success 'they are there the next time' '
	show few
	chkfs-backup -n drive mnt
	chkfs-cat-object drive:large | cmp - few/large
	hide
'
test_expect_success 'a worker that hangs costs no file but the one' '
	printf "hang 333\nhang sub/77\n" >faults
	show many
	test_expect_code 3 chkfs-backup --read-timeout=1 --retries=0 -n drive mnt 2>err
	cat err
	[ "$(grep -c "cannot be read: no answer for 1 seconds$" err)" = 2 ]
	[ "$(tags "" 333 unread)" = unread:ETIME ]
	[ "$(tags sub 77 unread)" = unread:ETIME ]
	chkfs-fsck --full
	test_expect_code 3 chkfs-restore -q drive back
	mv many/333 many/sub/77 .
	same_contents many back
	mv 333 many
	mv 77 many/sub
	# workers that are stuck where no signal reaches them, since the first reads are still waited for by the kernel,
	# are left behind, and keep nothing open that somebody waits for the end of
	timeout 100 sh -c "{ chkfs-backup --read-timeout=1 -n drive mnt 2>&1 4>&-; echo \$? >&4; } 4>code | cat" >err
	cat err
	[ "$(cat code)" = 3 ]
	[ "$(grep -c "cannot be read: no answer for 1 seconds$" err)" = 2 ]
	hide
'
test_expect_success 'nor does one that hangs when it is asked for extended attributes' '
	echo "stall sub/77" >faults
	show many fuse2fs # which keeps ctimes: elsewhere files are asked when their directory is listed
	test_expect_code 3 timeout 100 chkfs-backup --read-timeout=1 --retries=0 -n stalled mnt 2>err
	cat err
	[ "$(grep -c "cannot be read: no answer for 1 seconds$" err)" = 1 ]
	chkfs-restore -q stalled stalled || [ $? = 3 ]
	mv many/sub/77 .
	same_contents many stalled
	mv 77 many/sub
	hide
'
test_expect_success 'what failed is tried again in the end' '
	rm -rf store && chkfs-init store
	printf "bad 5 0 1\nhang sub/78\n" >faults
	show many
	chkfs-backup --read-timeout 60 -n drive mnt 2>err &
	backup=$!
	until_logged "bad /5"
	until_logged "hang /sub/78"
	: >faults
	code=0
	wait $backup || code=$?
	cat err
	[ $code = 0 ]
	grep -q "1 file could not be read wholly: once more$" err
	test_must_fail grep "cannot be read" err
	[ "$(chkfs-cat-object drive:5)" = 55 ]
	hide
'
test_expect_success 'a drive that disappears ends the run with one message, and the next run goes on' '
	rm -rf store && chkfs-init store
	echo "hang sub/600" >faults
	show many
	chkfs-backup --read-timeout 60 -n drive mnt 2>err &
	backup=$!
	until_logged "hang /sub/600"
	echo gone >faults
	code=0
	wait $backup || code=$?
	cat err
	[ $code = 128 ]
	[ "$(grep -c . err)" = 1 ]
	grep -q "mnt. is gone: .*; what is stored so far will not be read again$" err
	hide
	show many
	chkfs-backup -n drive mnt
	chkfs-restore -q drive whole
	same_contents many whole
	hide
'
test_expect_success 'numbers that are none are wrong usage' '
	for wrong in x -1 "" 1e9 nan; do
		test_expect_code 2 chkfs-write-tree --read-timeout="$wrong" many
		test_expect_code 2 chkfs-write-tree --retries="$wrong" many
	done
'
test_done
