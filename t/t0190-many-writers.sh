#!/bin/sh
# Many writers at once, no lock: all succeed, and nothing of any of them is lost.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

test_expect_success 'five sources, with much in common' '
	for n in 1 2 3 4 same; do
		mkdir -p src$n/sub
		seq 1 2000 >src$n/common
		for m in $(seq 200); do echo "$n $m" >src$n/sub/$m; done
		for m in $(seq 200); do echo "$m" >src$n/sub/c$m; done
		head -c 1000000 /dev/urandom >src$n/random
		yes "for all" | head -c 500000 >src$n/large
	done
	head -c 9000000 /dev/urandom >src1/big
	cp src1/big src2/big
	cp src1/big src3/bigger
'
test_expect_success 'four backups of different directories and two of the same, at once, into a new store' '
	chkfs-init store
	for n in 1 2 3 4 same same; do
		id=$n
		[ ! -e started-$n ] || id=again
		: >started-$n
		{
			code=0
			chkfs-backup -q -m "$id" src$n >out-$id 2>err-$id || code=$?
			echo $code >code-$id
		} &
	done
	wait
	cat code-* err-*
	[ "$(cat code-* | sort -u)" = 0 ]
	! cat err-* | grep -v "^chkfs-update-ref: ref .refs/backups/srcsame. is at .*, not at " || exit 1
'
test_expect_success 'all of them restore equal, with the cache and without it' '
	for n in 1 2 3 4 same; do
		chkfs-restore -q src$n back$n
		same_trees src$n back$n
		rm -r back$n
	done
	rm -r "$XDG_CACHE_HOME/chkfs"
	for n in 1 2 3 4 same; do
		chkfs-restore -q src$n back$n
		same_trees src$n back$n
		rm -r back$n
	done
'
test_expect_success 'the two of the same directory are both in its history' '
	chkfs-rev-list srcsame >keys
	[ "$(wc -l <keys)" = 2 ]
	cut -f 1 out-same out-again | sort >made
	sort keys | cmp made -
	[ "$(chkfs-log srcsame | grep -c "^    same$\\|^    again$")" = 2 ]
'
test_expect_success 'objects that several of them stored have one key each' '
	chkfs-list-objects >out
	[ "$(sort -u out | wc -l)" = "$(wc -l <out)" ]
	[ -z "$(ls -A store/incoming)" ]
'
test_expect_success 'ten backups at once of one directory: one history of ten' '
	for n in 1 2 3 4 5 6 7 8 9 10; do
		{
			code=0
			chkfs-backup -q -n ten src1/sub >ten-out$n 2>ten-err$n || code=$?
			echo $code >ten-code$n
		} &
	done
	wait
	[ "$(cat ten-code* | sort -u)" = 0 ]
	[ "$(chkfs-rev-list ten | wc -l)" = 10 ]
	[ "$(wc -l <store/logs/refs/backups/ten)" = 10 ]
	cut -f 1 ten-out* | sort >made
	chkfs-rev-list ten | sort | cmp made -
'
test_expect_success 'reading while others write' '
	for n in 2 3 4; do
		echo "more $n" >src$n/more
		chkfs-backup -q src$n >out$n 2>err$n &
	done
	for n in 1 2 3 4 5; do
		chkfs-restore -q src1 back
		cmp src1/big back/big
		rm -r back
		chkfs-log >out
		chkfs-list-objects >out
	done
	wait
	for n in 2 3 4; do
		[ ! -s err$n ]
		[ "$(chkfs-cat-object src$n:more)" = "more $n" ]
	done
'
test_expect_success 'backups into a store that has just been made' '
	for n in 1 2 3; do
		{
			if [ $n = 1 ]; then chkfs-init fresh; fi
			until [ -e fresh/config ]; do sleep 0.01; done
			code=0
			chkfs-backup -q --store fresh src$n >out 2>fresh-err$n || code=$?
			echo $code >fresh-code$n
		} &
	done
	wait
	[ "$(cat fresh-code* | sort -u)" = 0 ]
	for n in 1 2 3; do
		chkfs-restore -q --store fresh src$n back
		same_trees src$n back
		rm -r back
	done
'
test_done
