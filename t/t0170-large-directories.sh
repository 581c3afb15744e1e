#!/bin/sh
# Many entries in one directory, and many directories.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

disk_bytes() { find store/packs store/objects -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%d\n", n }'; }

test_expect_success '20,000 files in one directory: its tree is above the size of a pack member, and in pieces' '
	chkfs-init store
	mkdir -p src/many
	cat >make.py <<-\END
	for n in range(20000):
	    with open(f"src/many/a file with a name of some length, number {n:05d}", "w") as file:
	        file.write(f"{n % 5000}\n")
	END
	python3 make.py
	[ "$(find src/many -type f | wc -l)" = 20000 ]
	chkfs-backup -q src
	chkfs-cat-object -s src:many >size
	[ "$(cat size)" -gt 4000000 ]
	[ "$(chkfs-ls src:many | wc -l)" = 20000 ]
'
test_expect_success 'it is restored equal' '
	chkfs-restore -q src there
	same_trees src there
'
test_expect_success 'equal files are stored once' '
	chkfs-list-objects --type blob | wc -l >blobs
	[ "$(cat blobs)" -lt 5010 ]
'
test_expect_success 'one file more' '
	disk_bytes >before
	echo new >"src/many/a file with a name of some length, number 10000a"
	chkfs-backup -q src
	[ "$(chkfs-ls src:many | wc -l)" = 20001 ]
	[ $(($(disk_bytes) - $(cat before))) -lt 2500000 ]
'
test_expect_success 'a directory of more than 8 MiB of tree: its tree is a list of pieces, and a change costs a few' '
	cat >make.py <<-\END
	import os
	os.mkdir("huge")
	for n in range(700):
	    os.symlink(b"\xff" * 4000, b"huge/%05d" % n)
	END
	python3 make.py
	chkfs-backup -q huge
	[ "$(chkfs-cat-object -s huge:)" -gt 8388608 ]
	key=$(chkfs-rev-parse huge:)
	grep -q "^tree/$key\\.list " store/packs/*.index
	[ "$(chkfs-cat-object huge: | sha256sum | cut -c 1-64)" = "$key" ]
	disk_bytes >before
	ln -s new huge/00400a
	chkfs-backup -q huge
	[ $(($(disk_bytes) - $(cat before))) -lt 1500000 ]
	chkfs-restore -q huge huge.back
	listing huge >a
	listing huge.back | cmp a -
'
test_expect_success '1,000 nested directories, each with a file' '
	cat >make.py <<-\END
	import os
	os.mkdir("nested")
	os.chdir("nested")
	for n in range(1000):
	    with open("f", "w") as file:
	        file.write(f"{n}\n")
	    os.mkdir("d")
	    os.chdir("d")
	END
	python3 make.py
	chkfs-backup -q nested
	chkfs-restore -q nested nested.back
	same_trees nested nested.back
	[ "$(chkfs-ls -r nested | wc -l)" = 2000 ]
'
test_expect_success '2,000 directories side by side' '
	cat >make.py <<-\END
	import os
	os.mkdir("wide")
	for n in range(2000):
	    os.mkdir(f"wide/{n}")
	    os.utime(f"wide/{n}", ns=(n, n))
	END
	python3 make.py
	disk_bytes >before
	chkfs-backup -q wide
	[ $(($(disk_bytes) - $(cat before))) -lt 300000 ]
	chkfs-restore -q wide wide.back
	same_trees wide wide.back
'
test_expect_success 'an unchanged source of all this adds a snapshot and nothing else' '
	sleep 1
	chkfs-backup -q src
	find store/packs store/objects/blob store/objects/tree -type f | sort >before
	chkfs-backup -q src huge
	find store/packs store/objects/blob store/objects/tree -type f | sort | diff before -
'
test_done
