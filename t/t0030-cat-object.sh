#!/bin/sh
# chkfs-cat-object: types, sizes and contents of objects in every form, one by one and in batches.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

sum() { sha256sum <"$1" | cut -c 1-64; }

test_expect_success 'a backup with files packed, loose, compressed and in pieces' '
	chkfs-init store
	mkdir -p src/sub
	echo hello >src/hello
	: >src/empty
	printf "no newline" >"src/sub/no newline"
	head -c 400000 /dev/urandom >src/random
	yes compressible | head -c 400000 >src/text
	head -c 9000000 /dev/urandom >src/big
	ln -s hello src/link
	chkfs-backup -q src
'
test_expect_success 'contents of every form' '
	find store/objects/blob -name "$(sum src/random)" | grep .
	find store/objects/blob -name "$(sum src/text).gz" | grep .
	grep "blob/$(sum src/big).list " store/packs/*.index
	grep "blob/$(sum src/hello) " store/packs/*.index
	for name in hello empty "sub/no newline" random text big; do
		chkfs-cat-object "$(sum "src/$name")" | cmp - "src/$name"
		chkfs-cat-object -p "src:$name" | cmp - "src/$name"
		[ "$(chkfs-cat-object -s "src:$name")" = "$(wc -c <"src/$name")" ]
		[ "$(chkfs-cat-object -t "src:$name")" = blob ]
	done
'
test_expect_success 'a snapshot and a tree hash to their keys' '
	[ "$(chkfs-cat-object src | sha256sum | cut -c 1-64)" = "$(cat store/refs/backups/src)" ]
	for name in src: src:sub; do
		[ "$(chkfs-cat-object -t $name)" = tree ]
		[ "$(chkfs-cat-object $name | sha256sum | cut -c 1-64)" = "$(chkfs-rev-parse $name)" ]
		[ "$(chkfs-cat-object $name | wc -c)" = "$(chkfs-cat-object -s $name)" ]
	done
	[ "$(chkfs-cat-object -t src)" = snapshot ]
	[ "$(chkfs-cat-object src | wc -c)" = "$(chkfs-cat-object -s src)" ]
'
test_expect_success '-e says yes or no by its status alone' '
	chkfs-cat-object -e src >out 2>&1
	chkfs-cat-object -e src:sub >>out 2>&1
	chkfs-cat-object -e "$(sum src/hello)" >>out 2>&1
	none=$(echo none | sha256sum | cut -c 1-64)
	for name in "$none" nothing src:none src~7 src:hello/below src@{9}; do
		test_expect_code 1 chkfs-cat-object -e "$name" >>out 2>&1
	done
	[ ! -s out ]
'
test_expect_success 'what is not there: 128 and one line' '
	none=$(echo none | sha256sum | cut -c 1-64)
	for name in "$none" nothing src:none src:sub/none src:hello/below "" :; do
		for how in -t -s -p; do
			test_expect_code 128 chkfs-cat-object $how "$name" >out 2>err
			[ ! -s out ]
			[ "$(wc -l <err)" = 1 ]
			grep -q "^chkfs-cat-object: " err
		done
	done
	test_expect_code 128 chkfs-cat-object src:link 2>err
	grep -q "is a link: it has no contents" err
'
test_expect_success 'a unique beginning of a key will do, four digits of it at least' '
	key=$(sum src/hello)
	chkfs-cat-object "$(echo "$key" | cut -c 1-12)" | cmp - src/hello
	test_expect_code 128 chkfs-cat-object "$(echo "$key" | cut -c 1-3)"
	upper=$(echo "$key" | tr a-f A-F)
	[ "$upper" = "$key" ] || test_expect_code 128 chkfs-cat-object "$upper"
'
test_expect_success 'an ambiguous beginning is wrong usage, and the keys are listed' '
	mkdir lots
	for n in $(seq 1000); do echo "$n" >lots/$n; done
	find "$PWD/lots" -type f | chkfs-hash-object -w --stdin-paths | cut -c 1-4 | sort | uniq -d | head -n 1 >twice
	begin=$(cat twice)
	[ -n "$begin" ]
	test_expect_code 2 chkfs-cat-object "$begin" 2>err
	grep -q "beginning of several keys" err
	echo "$begin" | test_expect_code 1 chkfs-cat-object --batch-check >out
	[ "$(cat out)" = "$begin missing" ]
'
test_expect_success '--batch-check: one record for each line, misses included, status 1' '
	none=$(echo none | sha256sum | cut -c 1-64)
	printf "%s\nsrc:hello\nnothing\nsrc:sub\nsrc\n\nsrc:link\n" "$none" |
		test_expect_code 1 chkfs-cat-object --batch-check >out
	cat >expect <<-END
	$none missing
	$(sum src/hello) blob 6
	nothing missing
	$(chkfs-rev-parse src:sub) tree $(chkfs-cat-object -s src:sub)
	$(chkfs-rev-parse src) snapshot $(chkfs-cat-object -s src)
	 missing
	src:link missing
	END
	diff expect out
'
test_expect_success '--batch: header, contents, newline' '
	printf "src:hello\nsrc:empty\nnothing\nsrc:sub/no newline\nsrc:big\n" |
		test_expect_code 1 chkfs-cat-object --batch >out
	{
		echo "$(sum src/hello) blob 6"; cat src/hello; echo
		echo "$(sum src/empty) blob 0"; echo
		echo "nothing missing"
		echo "$(sum "src/sub/no newline") blob 10"; cat "src/sub/no newline"; echo
		echo "$(sum src/big) blob 9000000"; cat src/big; echo
	} | cmp - out
'
test_expect_success '--batch with nothing to do, and with all found: status 0' '
	chkfs-cat-object --batch </dev/null >out
	[ ! -s out ]
	echo src:hello | chkfs-cat-object --batch-check >out
	echo "$(sum src/hello) blob 6" | cmp - out
'
test_expect_success '--batch -z: NUL on both sides, names with newlines' '
	mkdir odd
	printf x >"odd/$(printf "a\nb\377")"
	chkfs-backup -q odd
	printf "odd:a\nb\377\0nothing\nat all\0" | test_expect_code 1 chkfs-cat-object --batch -z >out
	printf "%s blob 1\0x\0nothing\nat all missing\0" "$(printf x | sha256sum | cut -c 1-64)" | cmp - out
'
test_expect_success '--batch of everything that list-objects lists' '
	chkfs-list-objects | cut -d " " -f 1 | chkfs-cat-object --batch-check >checked
	chkfs-list-objects --sizes | LC_ALL=C sort >listed
	LC_ALL=C sort checked | diff listed -
'
test_expect_success '--batch answers at once, so that a program may ask and wait' '
	cat >ask.py <<-\END
	import subprocess, select
	cat = subprocess.Popen(["chkfs-cat-object", "--batch-check"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
	cat.stdin.write(b"src:hello\n")
	cat.stdin.flush()
	answered = select.select([cat.stdout], [], [], 5)[0]
	cat.kill()
	assert answered, "no answer"
	END
	python3 ask.py
'
test_expect_success 'wrong usage: two ways at once, an object and a batch, none, two' '
	test_expect_code 2 chkfs-cat-object -t -s src
	test_expect_code 2 chkfs-cat-object --batch src </dev/null
	test_expect_code 2 chkfs-cat-object --batch --batch-check </dev/null
	test_expect_code 2 chkfs-cat-object
	test_expect_code 2 chkfs-cat-object src src
'
test_expect_success 'a closed pipe ends it quietly' '
	{ chkfs-cat-object src:big; echo $? >status; } 2>err | head -c 10 >out
	[ ! -s err ]
'
test_expect_success 'no directory is open to objects: reading leaves the store as it is' '
	find store -printf "%p %i %T@ %C@\n" | sort >before
	chkfs-cat-object src >out
	chkfs-cat-object src:big >out
	find store -printf "%p %i %T@ %C@\n" | sort | diff before -
'
test_done
