#!/bin/sh
# A backup that dies, at any moment and in any way, leaves a store that is whole, and the next one completes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

begin() { # a backup of src in a session of its own; its id goes to pid
	setsid chkfs-backup src >out 2>err &
	echo $! >pid
	until alive; do sleep 0.01; done
}
alive() { pgrep -s "$(cat pid)" >/dev/null; }
finish() { # SIGNAL: sends it to all of the backup, and waits until none of it is left
	pkill "-$1" -s "$(cat pid)" || true
	while alive; do sleep 0.05; done
	wait 2>/dev/null || true
}
until_incoming() { # KILOBYTES: waits until so much lies in incoming, or the backup has ended
	while alive && [ "$(du -sk store/incoming 2>/dev/null | cut -f 1)" -lt "$1" ]; do sleep 0.02; done
}
whole() { # every object that can be seen is what its name says, and the snapshots that there were are restored
	find store/objects -type f ! -name '*.gz' -exec sha256sum {} + | awk '{ name = $2; sub(/.*\//, "", name) }
		$1 != name { print "damaged: " $2; bad = 1 } END { exit bad }' || return
	find store/objects -type f -name '*.gz' | while read -r path; do
		name=${path##*/}
		[ "$(gzip -dc <"$path" | sha256sum | cut -c 1-64)" = "${name%.gz}" ] || { echo "damaged: $path"; exit 1; }
	done || return
	for pack in store/packs/*.tar.gz; do
		name=${pack##*/}
		[ ! -e "$pack" ] || [ "pack-$(sha256sum <"$pack" | cut -c 1-64).tar.gz" = "$name" ] || { echo "damaged: $pack"; return 1; }
	done
	chkfs-log >log && chkfs-restore -q first back && same_trees first back && rm -r back
}
new_store() { rm -rf store "$XDG_CACHE_HOME/chkfs" && chkfs-init store && chkfs-backup -q first; }

test_expect_success 'some hundred MB, in large files and in small ones' '
	need setsid pgrep
	mkdir -p first src/small src/large
	for n in $(seq 50); do echo "first $n" >first/$n; done
	cat >make.py <<-\END
	import os
	for n in range(3000):
	    with open(f"src/small/entry-{n}", "wb") as file:
	        file.write(os.urandom(9000) + b"text " * 200)
	for n in range(280):
	    with open(f"src/large/large-{n}", "wb") as file:
	        file.write(os.urandom(1000000))
	END
	python3 make.py
	{ head -c 20000000 /dev/urandom; yes big | head -c 9000000; } >src/big
	new_store
	sleep 1
'
for at in 1 30000 150000; do
	AT=$at
	export AT
	test_expect_success "kill -9 when $at kB are in incoming: the store is whole" '
		need setsid pgrep
		begin
		until_incoming $AT
		finish KILL
		whole
		[ ! -e store/refs/backups/src ]
	'
done
test_expect_success 'the next backup completes, and restores equal' '
	need setsid pgrep
	chkfs-backup -q src
	chkfs-restore -q src back
	same_trees src back
	rm -r back
	whole
'
test_expect_success 'what the dead ones left in incoming was taken over, or set aside' '
	need setsid pgrep
	[ -z "$(find store/incoming -mindepth 1 -maxdepth 1 ! -name "left-*")" ]
'
test_expect_success 'kill -9 before the first checkpoint: of what was read, little is read again' '
	need setsid pgrep strace
	strace -o trace true 2>err || skip "strace may not trace here"
	new_store
	begin
	until_incoming 150000
	finish KILL
	[ ! -e store/refs/backups/src ] || skip "it was too fast to be killed"
	find store/incoming -name "*-blob-*" | wc -l >secured
	[ "$(cat secured)" -gt 100 ]
	strace -f -qq -e trace=open,openat -o trace chkfs-backup -q src
	grep -o "\"large-[0-9]*\"" trace | sort -u | wc -l >read_again
	[ "$(cat read_again)" -lt $((280 - $(cat secured) + 70)) ]
	chkfs-restore -q src back
	same_trees src back
	rm -r back
'
test_expect_success 'kill -9 after the first checkpoint: what was secured is not read again' '
	need setsid pgrep strace
	strace -o trace true 2>err || skip "strace may not trace here"
	new_store
	begin
	while alive && [ ! -e store/refs/checkpoints/src ]; do sleep 0.02; done
	finish KILL
	[ ! -e store/refs/backups/src ] || skip "it was too fast to be killed"
	whole
	find store/objects/blob -type f | wc -l >secured
	[ "$(cat secured)" -gt 100 ]
	chkfs-log refs/checkpoints/src | grep -qx "Complete: no"
	chkfs-ls -r src >listed
	[ "$(grep -c large- listed)" -gt 50 ]
	code=0
	chkfs-restore -q src part || code=$?
	for file in part/large/*; do cmp "$file" "src/large/${file##*/}" || exit 1; done
	chkfs-fsck >problems
	[ ! -s problems ]
	strace -f -qq -e trace=open,openat -o trace chkfs-backup -q src
	grep -o "\"large-[0-9]*\"" trace | sort -u | wc -l >read_again
	[ "$(cat read_again)" -lt 180 ]
	! chkfs-log | grep "^Complete" || exit 1
	[ "$(chkfs-rev-parse refs/checkpoints/src)" = "$(chkfs-rev-parse refs/backups/src)" ]
	chkfs-fsck >problems
	[ ! -s problems ]
	chkfs-restore -q src back
	same_trees src back
	rm -r back
'
test_expect_success 'TERM: it says so, tidies up, and the store is whole' '
	need setsid pgrep
	new_store
	begin
	until_incoming 30000
	finish TERM
	grep -q "interrupted" err || [ -e store/refs/backups/src ]
	! grep Traceback err || exit 1
	[ -z "$(ls -A store/incoming)" ]
	whole
	chkfs-backup -q src
	chkfs-restore -q src back
	same_trees src back
	rm -r back
'
test_expect_success 'HUP and TERM to write-tree alone: backup ends as well, without a snapshot' '
	need setsid pgrep
	for signal in HUP TERM; do
		new_store
		begin
		until_incoming 10000
		pkill -$signal -s "$(cat pid)" -f chkfs-write-tree || skip "it was too fast to be interrupted"
		while alive; do sleep 0.05; done
		wait || true
		[ ! -s out ]
		grep -q "^chkfs-backup: interrupted" err
		[ ! -e store/refs/backups/src ]
		[ -z "$(ls -A store/incoming)" ]
	done
	whole
'
test_expect_success 'interrupted between its steps: a snapshot without a ref, a tree without a snapshot' '
	draft=$(chkfs-write-tree -q --draft first)
	whole
	echo "$draft" | chkfs-commit-snapshot -n first >key
	whole
	chkfs-update-ref refs/backups/first "$(cat key)"
	whole
'
test_expect_success 'a restore that is killed leaves the store as it is, and can be done again elsewhere' '
	need setsid pgrep
	chkfs-backup -q src
	find store -printf "%p %i %s %T@\n" | sort >before
	setsid chkfs-restore -q src partly &
	echo $! >pid
	until alive; do sleep 0.01; done
	while alive && [ ! -e partly/large ]; do sleep 0.02; done
	finish KILL
	find store -printf "%p %i %s %T@\n" | sort | diff before -
	test_expect_code 128 chkfs-restore -q src partly
	chkfs-restore -q src back
	same_trees src back
	rm -r back partly
'
test_expect_success 'a full disk: 128, what to do, and what was complete stays; with room the next one completes' '
	need_root
	need mount
	mkdir -p small
	mount -t tmpfs -o size=40m none small 2>err || skip "mounting a tmpfs is not allowed here"
	CHKFS_STORE=$SCRATCH/small/store
	chkfs-init small/store
	chkfs-backup -q first
	code=0
	chkfs-backup src >out 2>err || code=$?
	bad=""
	[ $code = 128 ] || bad="status $code"
	grep -q "cannot write into the store: No space left on device; what is complete is safe: make room" err || bad="$bad message"
	! grep Traceback err || bad="$bad traceback"
	[ -z "$(ls -A small/store/incoming)" ] || bad="$bad incoming"
	chkfs-restore -q first back && same_trees first back || bad="$bad restore"
	rm -rf back
	mount -o remount,size=600m small
	chkfs-backup -q src || bad="$bad again"
	chkfs-restore -q src back && same_trees src back || bad="$bad restore again"
	umount small
	[ -z "$bad" ] || { echo "not so: $bad"; cat err; exit 1; }
'
test_expect_success 'a full disk under a restore: 128, and no half file that looks whole' '
	need_root
	need mount
	mount -t tmpfs -o size=20m none small 2>err || skip "mounting a tmpfs is not allowed here"
	code=0
	chkfs-restore -q src small/back >out 2>err || code=$?
	bad=""
	[ $code = 128 ] || bad="status $code"
	grep -q "No space left on device" err || bad="$bad message"
	(cd small/back && find . -type f) | while read -r path; do cmp "src/$path" "small/back/$path"; done || bad="$bad half"
	umount small
	[ -z "$bad" ] || { echo "not so: $bad"; cat err; exit 1; }
'
test_done
