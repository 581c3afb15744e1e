#!/bin/sh
# Big files are kept in pieces: an insertion in the middle costs a few pieces.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

disk_bytes() { find store/packs store/objects -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%d\n", n }'; }
all_there() { # NAME: its list's pieces hash to their keys and follow each other to the whole
	key=$(sha256sum <"src/$1" | cut -c 1-64)
	grep -h "^blob/$key.list " store/packs/*.index | head -n 1 | grep -q .
}

test_expect_success 'a file of zeros, random bytes, text, and random bytes again' '
	chkfs-init store
	mkdir src
	{
		head -c 10000000 /dev/zero
		head -c 12000000 /dev/urandom
		seq 1 1000000
		head -c 12000000 /dev/urandom
	} >src/big
	chkfs-backup -q src
	all_there big
	disk_bytes >first
	[ "$(cat first)" -lt 29000000 ]
	chkfs-restore -q src there
	cmp src/big there/big
'
test_expect_success '1 MB inserted in the middle: a few MB more' '
	cp src/big before
	{ head -c 17000000 before; head -c 1000000 /dev/urandom; tail -c +17000001 before; } >src/big
	chkfs-backup -q src
	disk_bytes >second
	[ $(($(cat second) - $(cat first))) -lt 9000000 ]
	[ $(($(cat second) - $(cat first))) -gt 999999 ]
	rm -rf there
	chkfs-restore -q src there
	cmp src/big there/big
	chkfs-restore -q src~1 earlier
	cmp before earlier/big
'
test_expect_success 'a byte changed, some appended, the first ones cut off: little more each time' '
	disk_bytes >last
	printf X | dd of=src/big bs=1 seek=30000000 conv=notrunc 2>/dev/null
	chkfs-backup -q src
	[ $(($(disk_bytes) - $(cat last))) -lt 8500000 ]
	disk_bytes >last
	echo "a last line" >>src/big
	chkfs-backup -q src
	[ $(($(disk_bytes) - $(cat last))) -lt 8500000 ]
	disk_bytes >last
	tail -c +12345 src/big >shorter
	mv shorter src/big
	chkfs-backup -q src
	[ $(($(disk_bytes) - $(cat last))) -lt 8500000 ]
	rm -rf there
	chkfs-restore -q src there
	cmp src/big there/big
'
test_expect_success 'a copy under another name costs next to nothing' '
	disk_bytes >last
	cp src/big src/copy
	chkfs-backup -q src
	[ $(($(disk_bytes) - $(cat last))) -lt 20000 ]
'
test_expect_success 'the same pieces, whatever the store was before: the cuts depend on the contents alone' '
	chkfs-init other
	chkfs-backup -q --store other src
	for store in store other; do
		key=$(sha256sum <src/big | cut -c 1-64)
		for pack in $store/packs/*.tar.gz; do
			tar xOzf "$pack" "blob/$key.list" 2>/dev/null || true
		done >list-$store
		[ -s list-$store ]
	done
	cmp list-store list-other
'
test_expect_success 'pieces lie between 512 KiB and 8 MiB, but for the last, and add up' '
	grep -v "^#" list-store | sed "\$d" | awk "\$2 < 524288 || \$2 > 8388608 { exit 1 }"
	[ "$(grep -v "^#" list-store | awk "{ n += \$2 } END { printf \"%d\", n }")" = "$(wc -c <src/big)" ]
'
test_expect_success 'sizes just around the limit of 8 MiB' '
	for size in 8388607 8388608 8388609; do
		head -c $size /dev/urandom >"random-$size"
		key=$(chkfs-hash-object -w "random-$size")
		[ "$key" = "$(sha256sum <"random-$size" | cut -c 1-64)" ]
		chkfs-cat-object "$key" | cmp - "random-$size"
	done
'
test_expect_success 'a file that is many times the same piece' '
	yes "$(head -c 100 /dev/zero | tr "\0" a)" | head -c 30000000 >same
	disk_bytes >last
	key=$(chkfs-hash-object -w same)
	[ $(($(disk_bytes) - $(cat last))) -lt 1000000 ]
	chkfs-cat-object "$key" | cmp - same
	[ "$(chkfs-cat-object -s "$key")" = 30000000 ]
'
test_expect_success 'standard input of unknown length' '
	cat src/big same | chkfs-hash-object -w --stdin >key
	cat src/big same | sha256sum | cut -c 1-64 | cmp - key
	chkfs-cat-object "$(cat key)" | sha256sum | cut -c 1-64 | cmp - key
'
test_expect_success 'nothing is left in incoming' '[ -z "$(ls -A store/incoming)" ]'
test_done
