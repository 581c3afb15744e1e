#!/bin/sh
# chkfs-hash-object: sha256sum is the interface.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

sum() { if [ $# -eq 0 ]; then sha256sum | cut -c 1-64; else for f; do sha256sum <"$f" | cut -c 1-64; done; fi; }

test_expect_success 'files to hash: small, empty, odd names, 300 kB, 9 MB' '
	chkfs-init store
	mkdir files
	echo hello >files/hello
	: >files/empty
	printf "\0\377\n" >"files/$(printf "b\303\274 \n\377")"
	echo dash >files/-dash
	head -c 300000 /dev/urandom >files/middle
	{ head -c 5000000 /dev/urandom; head -c 4000000 /dev/zero; } >files/big
'
test_expect_success 'keys are those of sha256sum, in the order of the arguments, without a store' '
	chkfs-hash-object files/* >out
	sum files/* >expect
	cmp out expect
	(cd files && chkfs-hash-object -- -dash) >out
	sum files/-dash | cmp - out
'
test_expect_success '--stdin' '
	chkfs-hash-object --stdin <files/big >out
	sum files/big | cmp - out
	chkfs-hash-object --stdin </dev/null >out
	sum files/empty | cmp - out
	cat files/middle | chkfs-hash-object --stdin >out
	sum files/middle | cmp - out
'
test_expect_success '--stdin-paths: one record for one line, misses included, status 3' '
	printf "files/hello\nfiles/none\nfiles/big\nfiles\n" >list
	test_expect_code 3 chkfs-hash-object --stdin-paths <list >out 2>err
	{ sum files/hello; echo missing; sum files/big; echo missing; } | cmp - out
	grep -qF "chkfs-hash-object: cannot read '\''files/none'\'': No such file or directory" err
	grep -qF "cannot read '\''files'\'': Is a directory" err
	[ "$(wc -l <err)" -eq 2 ]
'
test_expect_success '--stdin-paths without a newline at the end, and with nothing at all' '
	printf files/hello | chkfs-hash-object --stdin-paths >out
	sum files/hello | cmp - out
	chkfs-hash-object --stdin-paths </dev/null >out
	[ ! -s out ]
'
test_expect_success '--stdin-paths -z: NUL on both sides, for names with newlines' '
	find files -type f -print0 >list
	chkfs-hash-object --stdin-paths -z <list >out
	[ "$(tr -cd "\0" <out | wc -c)" -eq 6 ]
	[ "$(tr -cd "\n" <out | wc -c)" -eq 0 ]
	tr "\0" "\n" <out >lines
	xargs -0 -n 1 sh -c "sha256sum <\"\$1\" | cut -c 1-64" - <list | cmp - lines
'
test_expect_success 'an argument that is missing: said, a record, the others done, status 3' '
	test_expect_code 3 chkfs-hash-object files/none files/hello >out 2>err
	{ echo missing; sum files/hello; } | cmp - out
	grep -q "No such file or directory" err
'
test_expect_success 'a file that cannot be read, as somebody else: status 3' '
	need_other_user
	chmod 755 .
	echo secret >files/secret
	chmod 600 files/secret
	test_expect_code 3 setpriv --reuid 65534 --clear-groups chkfs-hash-object files/secret >out 2>err
	echo missing | cmp - out
	grep -q "Permission denied" err
	rm files/secret
'
test_expect_success '-w stores, and what is stored is what was read' '
	export CHKFS_STORE=$SCRATCH/store
	find files -type f -print0 | sort -z >list
	chkfs-hash-object -w --stdin-paths -z <list | tr "\0" "\n" >keys
	[ "$(wc -l <keys)" -eq 6 ]
	while read -r key; do
		[ "$(chkfs-cat-object "$key" | sum)" = "$key" ]
	done <keys
	chkfs-cat-object "$(sum files/big)" | cmp - files/big
	[ "$(chkfs-cat-object -s "$(sum files/empty)")" = 0 ]
'
test_expect_success '-w twice adds nothing' '
	export CHKFS_STORE=$SCRATCH/store
	find store/packs store/objects -type f | sort >before
	chkfs-hash-object -w files/hello files/middle files/big >out
	find store/packs store/objects -type f | sort | diff before -
	[ -z "$(ls store/incoming)" ]
'
test_expect_success '-w leaves one small object as a file of its own' '
	echo "one small object" >small
	key=$(chkfs-hash-object --store store -w small)
	find store/objects -name "$key*" | grep .
	[ -z "$(find store -type f -name "$key*" ! -perm 400)" ]
'
test_expect_success '-w without a store: 128, and how to name one' '
	test_expect_code 128 chkfs-hash-object -w files/hello >out 2>err
	[ ! -s out ]
	grep -q -- "--store" err
	grep -q CHKFS_STORE err
'
test_expect_success '-w into a store that cannot be written: 128' '
	need_other_user
	chmod 755 .; chmod -R a+rX store
	test_expect_code 128 setpriv --reuid 65534 --clear-groups chkfs-hash-object --store store -w files/hello 2>err
	grep -q "cannot write into the store: Permission denied" err
	chmod -R go-rwx store
'
test_expect_success 'a pipe that its reader closes ends quietly' '
	yes "$SCRATCH/files/hello" | head -n 20000 >list
	{ chkfs-hash-object --stdin-paths <list; echo $? >status; } 2>err | head -n 1 >out
	[ ! -s err ]
	sum files/hello | cmp - out
'
test_expect_success '-t tree and -t snapshot: what is none is refused with 128' '
	for type in tree snapshot; do
		test_expect_code 128 chkfs-hash-object -t $type files/hello 2>err
		grep -q "^chkfs-hash-object: not a chkfs" err
	done
	printf "#mtree\n# chkfs tree 1\n. type=dir\n" >tree
	chkfs-hash-object -t tree tree >out
	sum tree | cmp - out
'
test_expect_success 'wrong usage: nothing to hash, an unknown type, both ways at once' '
	test_expect_code 2 chkfs-hash-object
	test_expect_code 2 chkfs-hash-object -t file files/hello
	test_expect_code 2 chkfs-hash-object --stdin --stdin-paths </dev/null
	test_expect_code 2 chkfs-hash-object --stdin files/hello </dev/null
'
test_done
