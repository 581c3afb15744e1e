#!/bin/sh
# Sparse files: holes are not read, and come back as holes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

map() { # FILE: where its data is, as the tag data says it
	python3 - "$1" <<-\END
	import os, sys
	fd, at, found = os.open(sys.argv[1], os.O_RDONLY), 0, []
	size = os.fstat(fd).st_size
	while at < size:
	    try:
	        start = os.lseek(fd, at, os.SEEK_DATA)
	    except OSError:
	        break
	    at = os.lseek(fd, start, os.SEEK_HOLE)
	    found.append(f"{start}-{at}")
	print("data:" + ("+".join(found) or "0-0"))
	END
}
data_of() { # NAME: the tag in the tree of sparse
	chkfs-cat-object sparse: | sed -n "s,^\./$1 .* tags=,,p" | tr , '\n' | grep ^data:
}

test_expect_success 'a store, and sparse files: 10 GB with 1 MB of data, small ones, one without data' '
	chkfs-init store
	mkdir sparse
	truncate -s 10G sparse/large
	for block in 0 45776 106811 163823; do # of 64 KiB
		head -c 262144 /dev/urandom | dd of=sparse/large bs=65536 seek=$block conv=notrunc 2>/dev/null
	done
	truncate -s 1000000 sparse/hole
	truncate -s 131072 sparse/small
	echo data | dd of=sparse/small bs=65536 seek=1 conv=notrunc 2>/dev/null
	head -c 5000 /dev/zero >sparse/zeros
	[ "$(map sparse/hole)" = data:0-0 ] || skip "this filesystem knows no holes"
	touch -d @1000000000 sparse/*
'
test_expect_success 'only the data is read' '
	need strace
	strace -f -qq -e trace=read,pread64 -o trace chkfs-backup sparse
	[ "$(grep -c "pread64(.*, 262144, [0-9]*) = 262144$" trace)" = 4 ]
	awk "/pread64\(/ { sum += \$NF } END { exit sum > 2000000 }" trace
'
test_expect_success 'the key is that of the plain content; the map is in the tree' '
	[ "$(map sparse/large)" = "$(data_of large)" ]
	[ "$(data_of large)" = data:0-262144+2999975936-3000238080+6999965696-7000227840+10736304128-10736566272 ]
	[ "$(data_of hole)" = data:0-0 ]
	[ "$(data_of small)" = "$(map sparse/small)" ]
	test_must_fail data_of zeros
	[ "$(sha256sum <sparse/hole | cut -c-64)" = "$(chkfs-rev-parse sparse:hole)" ]
	chkfs-hash-object sparse/large >key
	[ "$(chkfs-rev-parse sparse:large)" = "$(cat key)" ]
'
test_expect_success 'a piece of zeros is stored once' '
	[ "$(du -sk store | cut -f 1)" -lt 3000 ]
'
test_expect_success 'restored with the same holes and the same data' '
	chkfs-restore sparse back
	for name in large hole small; do
		[ "$(map back/$name)" = "$(map sparse/$name)" ]
	done
	[ "$(du -k back/large | cut -f 1)" -le "$(du -k sparse/large | cut -f 1)" ]
	for block in 0 45776 106811 163823; do
		dd if=sparse/large bs=65536 skip=$block count=4 2>/dev/null >a
		dd if=back/large bs=65536 skip=$block count=4 2>/dev/null | cmp - a
	done
	cmp sparse/small back/small
	cmp sparse/zeros back/zeros
	[ "$(listing sparse)" = "$(listing back)" ]
'
test_expect_success 'nothing of the holes is written' '
	need strace
	rm -rf back
	strace -f -qq -e trace=write,pwrite64 -o trace chkfs-restore -q sparse back
	awk "/pwrite64\(/ { sum += \$NF } END { exit !(sum >= 1048576 && sum < 1300000) }" trace
'
test_expect_success 'a second run reads nothing' '
	need strace
	strace -f -qq -e trace=openat -o trace chkfs-backup -q sparse
	test_must_fail grep -q "\"large\"\|\"small\"" trace
'
test_done
