#!/bin/sh
# chkfs-fsck: what it finds, what it repairs, and that a backup after it heals the store.
. "$(dirname "$0")/lib.sh"

CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE
mkdir -p data/sub && for n in 1 2 3 4 5 6 7 8 9; do
	head -c 20000 /dev/urandom >data/small$n
	head -c 600000 /dev/urandom >data/sub/large$n
done && head -c 12000000 /dev/urandom >data/huge && chkfs-init && chkfs-backup -q data >key || exit
big_pack() { find store/packs -name '*.tar.gz' -size +50k | head -n 1; }
flip() { # FILE OFFSET
	chmod u+w "$1"
	byte=$(dd if="$1" bs=1 skip="$2" count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\$(printf %03o $((255 - byte)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

test_expect_success 'a whole store: nothing printed, 0' '
	chkfs-fsck >out
	chkfs-fsck --full >>out
	[ ! -s out ]
'
test_expect_success 'a whole store with -v: that it is, on standard error' '
	chkfs-fsck -v >out 2>err
	[ ! -s out ]
	[ "$(cat err)" = "no problem was found" ]
'
test_expect_success 'refs and logs gone: --repair brings every snapshot back' '
	chkfs-backup -q -n other data/sub
	chkfs-for-each-ref >before
	rm -r store/refs store/logs
	chkfs-fsck >out
	[ "$(grep -c "^dangling snapshot/" out)" -eq 2 ]
	chkfs-fsck --repair >out
	chkfs-for-each-ref refs/backups >after
	cmp before after
	[ "$(chkfs-for-each-ref refs/recovered | wc -l)" -eq 2 ]
	chkfs-fsck >out
	[ ! -s out ]
'
test_expect_success 'lost and damaged indexes are found and rebuilt' '
	cat store/packs/*.index | sort >before
	for index in store/packs/*.index; do chmod u+w "$index"; echo more >>"$index"; break; done
	test_expect_code 1 chkfs-fsck >out
	grep -q "^index packs/pack-.*index: .*--repair rebuilds it" out
	rm -f "$index"
	chkfs-fsck >out
	grep -q "^leftover packs/pack-.*index: .*--repair makes it" out
	chkfs-fsck -q --repair >out || [ $? -eq 1 ]
	chkfs-fsck >out
	[ ! -s out ]
	cat store/packs/*.index | sort >after
	cmp before after
	chkfs-fsck
'
test_expect_success 'a flipped byte in a pack costs one frame; its paths are named; the next backup heals' '
	flip "$(big_pack)" 1000
	chkfs-fsck >quick
	[ ! -s quick ]
	test_expect_code 1 chkfs-fsck --full >out
	grep -q "^damaged packs/pack-" out
	grep -q "^missing blob/.*	[0-9a-f]*:small" out
	test_expect_code 1 chkfs-fsck --full --json >json
	grep -q "\"kind\": \"damaged\"" json
	test_expect_code 1 chkfs-fsck --full --repair >out
	test_expect_code 1 chkfs-fsck >still
	chkfs-backup -q data
	chkfs-fsck --full >healed
	[ ! -s healed ]
	chkfs-restore -q data back
	diff -r data back
'
test_expect_success 'a damaged file of its own is set aside, and the next backup stores it again' '
	file=$(find store/objects/blob -type f -size +500k | head -n 1)
	flip "$file" 300000
	test_expect_code 1 chkfs-fsck --full >out
	grep -q "^damaged objects/blob/.*not what its name says" out
	test_expect_code 1 chkfs-fsck --full --repair >out
	grep -q "^repaired objects/blob/.*moved to incoming/damaged-" out
	[ ! -e "$file" ]
	chkfs-backup -q data
	chkfs-fsck --full >healed
	[ ! -s healed ]
'
test_expect_success 'a ref that holds no key is named; the other refs are checked all the same' '
	echo nonsense >store/refs/backups/other
	test_expect_code 1 chkfs-fsck >out
	grep -q "^ref refs/backups/other: " out
	[ "$(wc -l <out)" -eq 1 ] || grep -q "^dangling" out
'
test_expect_success 'what does not belong into a store is named' '
	: >store/packs/notes
	test_expect_code 1 chkfs-fsck >out
	grep -q "^stray packs/notes" out
'
test_expect_success 'README, restore.sh, restore.py: missing and altered ones are named and written again, the altered one kept' '
	rm -rf store
	chkfs-init
	chkfs-backup -q data
	cp -R store fresh
	rm store/README
	echo "echo hello" >store/restore.sh
	test_expect_code 1 chkfs-fsck >out
	diff - out <<-END
	readme README: missing: --repair writes it again
	readme restore.sh: altered: --repair writes it again and keeps this one beside it
	END
	test_expect_code 1 chkfs-fsck --repair >out
	grep -qx "repaired README: written again" out
	grep -qx "repaired restore.sh: written again" out
	for name in README restore.sh restore.py; do cmp fresh/$name store/$name; done
	[ "$(cat store/restore.sh.*)" = "echo hello" ]
	chkfs-fsck >out
	[ ! -s out ]
'
test_expect_success 'those of an earlier version are no problem; the next backup brings them up, and keeps the old ones' '
	for name in README restore.sh restore.py; do cp "$ROOT/tests/data/store-1/gzip/$name" store/; done
	chkfs-fsck >out
	[ ! -s out ]
	chkfs-fsck --repair >out
	[ ! -s out ]
	chkfs-backup -q data
	for name in README restore.sh restore.py; do
		cmp fresh/$name store/$name
		old=$ROOT/tests/data/store-1/gzip/$name
		cmp "$old" "store/$name.$(sha256sum <"$old" | cut -c -12)"
	done
'
test_expect_success 'a backup writes a missing README, and leaves an altered one alone' '
	rm store/restore.py
	echo "my notes" >store/README
	chkfs-backup -q data
	cmp fresh/restore.py store/restore.py
	[ "$(cat store/README)" = "my notes" ]
	test_expect_code 1 chkfs-fsck >out
	[ "$(cut -d : -f 1 out)" = "readme README" ]
'
test_done
