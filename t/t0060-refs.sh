#!/bin/sh
# Refs: compare-and-swap, names, logs; and every way to name a snapshot.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE
ZEROS=0000000000000000000000000000000000000000000000000000000000000000

test_expect_success 'four snapshots: one, two after one, three after two, and four after two and three' '
	chkfs-init store
	mkdir -p src/sub
	echo 1 >src/file
	echo deep >src/sub/file
	tree=$(chkfs-write-tree src)
	chkfs-commit-snapshot -m one "$tree" >one
	chkfs-commit-snapshot -m two -p "$(cat one)" "$tree" >two
	chkfs-commit-snapshot -m three -p "$(cat two)" "$tree" >three
	chkfs-commit-snapshot -m four -p "$(cat two)" -p "$(cat three)" "$tree" >four
'
test_expect_success 'update-ref: silence, one line in the ref, one in its log' '
	chkfs-update-ref -m "the  first" refs/backups/src "$(cat one)" >out 2>&1
	[ ! -s out ]
	cmp one store/refs/backups/src
	log=store/logs/refs/backups/src
	[ "$(wc -l <$log)" = 1 ]
	grep -qxE "$ZEROS $(cat one) [0-9]+ [^ ]+@[^ ]+	the first" $log
'
test_expect_success 'update-ref with OLD: 0 when the ref is there, 1 and no change when it is not' '
	ref=refs/backups/src
	chkfs-update-ref $ref "$(cat two)" "$(cat one)"
	test_expect_code 1 chkfs-update-ref $ref "$(cat three)" "$(cat one)" >out 2>err
	[ ! -s out ]
	grep -q "is at $(cat two), not at $(cat one)" err
	cmp two store/$ref
	test_expect_code 1 chkfs-update-ref $ref "$(cat three)" "" 2>err
	test_expect_code 1 chkfs-update-ref $ref "$(cat three)" $ZEROS
	cmp two store/$ref
	[ "$(wc -l <store/logs/$ref)" = 2 ]
'
test_expect_success 'update-ref with OLD of a ref that does not exist' '
	test_expect_code 1 chkfs-update-ref refs/tags/new "$(cat one)" "$(cat two)"
	[ ! -e store/refs/tags/new ]
	chkfs-update-ref refs/tags/new "$(cat one)" ""
	cmp one store/refs/tags/new
	chkfs-update-ref refs/tags/newer "$(cat one)" $ZEROS
	cmp one store/refs/tags/newer
'
test_expect_success 'update-ref: NEW and OLD may be any names of snapshots' '
	chkfs-update-ref refs/backups/src src~1 src
	cmp one store/refs/backups/src
	chkfs-update-ref refs/backups/src "$(cut -c 1-20 two)" "$(cut -c 1-20 one)"
	cmp two store/refs/backups/src
'
test_expect_success 'update-ref to where the ref is already: nothing happens' '
	cp store/logs/refs/backups/src before
	chkfs-update-ref refs/backups/src "$(cat two)"
	cmp before store/logs/refs/backups/src
'
test_expect_success 'update-ref -d is refused with 2: nothing is ever deleted' '
	test_expect_code 2 chkfs-update-ref -d refs/tags/new 2>err
	grep -q "cannot be deleted" err
	test_expect_code 2 chkfs-update-ref -d refs/tags/new "$(cat one)"
	cmp one store/refs/tags/new
'
test_expect_success 'update-ref: a ref points at a snapshot that is there' '
	for new in none src:none src~9; do test_expect_code 128 chkfs-update-ref refs/tags/bad "$new"; done
	test_expect_code 128 chkfs-update-ref refs/tags/bad $ZEROS
	for new in "$(chkfs-rev-parse src:)" "$(chkfs-rev-parse src:file)"; do
		test_expect_code 2 chkfs-update-ref refs/tags/bad "$new" 2>err
		grep -q "a ref points at a snapshot" err
	done
	[ ! -e store/refs/tags/bad ]
	test_expect_code 2 chkfs-update-ref refs/tags/bad
'
test_expect_success 'update-ref: names as in git-check-ref-format(1)' '
	cd store/refs
	find . >"$SCRATCH/before"
	for name in src refs "" refs/ /refs/x ../refs/x refs/../config refs/../../x refs/tags/ refs//x refs/tags/.x \
		refs/tags/x.lock refs/x.lock/y refs/tags/a..b refs/tags/x. "refs/tags/a b" "refs/tags/a~b" "refs/tags/a^b" \
		"refs/tags/a:b" "refs/tags/a?b" "refs/tags/a*b" "refs/tags/a[b" "refs/tags/a\\b" "refs/tags/a@{b" \
		"refs/tags/a$(printf "\nb")" "refs/tags/a$(printf "\033b")" "refs/tags/a$(printf "\177b")"; do
		test_expect_code 2 chkfs-update-ref "$name" src 2>err
		grep -q "is not a valid ref name" err
		rm err
	done
	find . | diff "$SCRATCH/before" -
'
test_expect_success 'update-ref: names that are odd but good' '
	for name in refs/tags/v1.0 refs/tags/a/b/c refs/tags/-dash "refs/tags/a\$b" "refs/tags/a|b&c" refs/tags/@ \
		"refs/tags/$(printf "\303\274")" "refs/tags/$(printf "x%.0s" $(seq 255))" refs/other/x; do
		chkfs-update-ref -- "$name" src
		[ "$(chkfs-rev-parse -- "$name")" = "$(cat two)" ]
		chkfs-for-each-ref --format "%(ref)" | grep -qxF -- "$name"
	done
'
test_expect_success 'update-ref: a ref is not a directory of refs as well' '
	for name in refs/tags/new/below refs/tags/a/b refs/tags; do
		test_expect_code 128 chkfs-update-ref $name src 2>err
		[ "$(wc -l <err)" = 1 ]
	done
	cmp one store/refs/tags/new
'
test_expect_success 'of many updates at once from the same OLD exactly one succeeds' '
	for n in 1 2 3 4 5 6; do
		{
			code=0
			chkfs-update-ref -m "$n" refs/backups/race "$(cat one)" "" 2>err$n || code=$?
			echo $code >code$n
		} &
	done
	wait
	[ "$(cat code? | sort | uniq -c | tr -s " \n" " ")" = " 1 0 5 1 " ]
	[ "$(wc -l <store/logs/refs/backups/race)" = 1 ]
'

test_expect_success 'for-each-ref: key, type, TAB, name, sorted' '
	chkfs-for-each-ref >out
	grep -qx "$(cat two) snapshot	refs/backups/src" out
	grep -qx "$(cat one) snapshot	refs/tags/new" out
	cut -f 2 out | LC_ALL=C sort -c
	[ "$(wc -l <out)" = "$(find store/refs -type f | wc -l)" ]
'
test_expect_success 'for-each-ref: whole names, beginnings up to a slash, patterns, several, none' '
	names() { chkfs-for-each-ref --format "%(ref)" "$@"; }
	[ "$(names refs/backups/src)" = refs/backups/src ]
	[ "$(names refs/backups)" = "$(printf "refs/backups/race\nrefs/backups/src")" ]
	[ "$(names refs/backups/)" = "$(names refs/backups)" ]
	[ "$(names refs/tags/ne)" = "" ]
	[ "$(names "refs/tags/new*")" = "$(printf "refs/tags/new\nrefs/tags/newer")" ]
	[ "$(names "refs/*/s[r]c" refs/tags/new)" = "$(printf "refs/backups/src\nrefs/tags/new")" ]
	[ "$(names nothing)" = "" ]
	[ "$(names refs | wc -l)" = "$(names | wc -l)" ]
'
test_expect_success 'for-each-ref: formats' '
	chkfs-backup -q -n photos src
	format="%(ref) %(short) %(key) %(name) %(source) %(files) %(bytes) %(complete) 100%"
	chkfs-for-each-ref --format "$format" refs/backups/photos >out
	key=$(cat store/refs/backups/photos)
	[ "$(cat out)" = "refs/backups/photos photos $key photos $SCRATCH/src 2 7 yes 100%" ]
	chkfs-for-each-ref --format "%(started) %(finished) %(host)" refs/backups/photos |
		grep -qE "^[0-9-]{10}T[0-9:]{8}\\.[0-9]{9}Z [0-9-]{10}T[0-9:]{8}\\.[0-9]{9}Z [^ ]+$"
	chkfs-for-each-ref --format "%(ref) %(source)" refs/backups/src >out
	[ "$(cat out)" = "refs/backups/src " ]
'
test_expect_success 'for-each-ref: a field that does not exist is refused, and one in a name is a name' '
	test_expect_code 2 chkfs-for-each-ref --format "%(ref) %(nosuch)" >out 2>err
	grep -qF "no field '\''%(nosuch)'\''" err
	[ ! -s out ]
	chkfs-update-ref "refs/tags/odd/%(key)" photos
	chkfs-for-each-ref --format "%(ref)" refs/tags/odd | grep -qxF "refs/tags/odd/%(key)"
'
test_expect_success 'for-each-ref -z' '
	chkfs-for-each-ref -z refs/backups | tr "\0" "\n" >out
	chkfs-for-each-ref refs/backups | cmp - out
'
test_expect_success 'for-each-ref of a store without refs: nothing, status 0' '
	chkfs-init empty
	chkfs-for-each-ref --store empty >out
	[ ! -s out ]
'

means() { [ "$(chkfs-rev-parse "$1")" = "$2" ] || { echo "$1 is $(chkfs-rev-parse "$1"), not $2"; return 1; }; }
test_expect_success 'rev-parse: a ref by its full name and its short ones, tags before backups' '
	chkfs-update-ref refs/tags/both "$(cat one)"
	chkfs-update-ref refs/backups/both "$(cat two)"
	chkfs-update-ref refs/recovered/old "$(cat three)"
	for name in refs/backups/src backups/src src; do means $name "$(cat two)"; done
	means both "$(cat one)"
	means backups/both "$(cat two)"
	means old "$(cat three)"
	means a/b/c "$(cat two)"
'
test_expect_success 'rev-parse: a key, and a beginning of one' '
	means "$(cat three)" "$(cat three)"
	means "$(cut -c 1-10 three)" "$(cat three)"
	tree=$(chkfs-rev-parse src:)
	means "$tree" "$tree"
	test_expect_code 128 chkfs-rev-parse "$(cut -c 1-3 three)"
'
test_expect_success 'rev-parse: a ref whose name could be a key is the ref' '
	name=$(cut -c 1-8 one)
	chkfs-update-ref "refs/backups/$name" "$(cat two)"
	means "$name" "$(cat two)"
'
test_expect_success 'rev-parse: ~ follows first parents, @{} the log of the ref' '
	chkfs-update-ref refs/backups/line "$(cat one)"
	chkfs-update-ref refs/backups/line "$(cat two)"
	chkfs-update-ref refs/backups/line "$(cat four)"
	means line~0 "$(cat four)"
	means line~ "$(cat two)"
	means line~1 "$(cat two)"
	means line~2 "$(cat one)"
	means line~~ "$(cat one)"
	means line~1~1 "$(cat one)"
	means "line@{0}" "$(cat four)"
	means "line@{1}" "$(cat two)"
	means "line@{2}" "$(cat one)"
	means "line@{1}~1" "$(cat one)"
	means "$(cat three)~1" "$(cat two)"
	means "refs/backups/line~2" "$(cat one)"
'
test_expect_success 'rev-parse: SNAPSHOT:PATH, TREE:PATH' '
	file=$(sha256sum <src/sub/file | cut -c 1-64)
	means src:sub/file "$file"
	means line~2:sub/file "$file"
	means "line@{1}:sub//file" "$file"
	means "$(chkfs-rev-parse src:sub):file" "$file"
	means src:/sub/file "$file"
	[ "$(chkfs-rev-parse src:)" = "$(chkfs-write-tree src)" ]
	means src:. "$(chkfs-rev-parse src:)"
'
test_expect_success 'rev-parse: what means nothing: 128 and one line; with -q only 1' '
	for name in none src~9 src@{99} "src@{x}" src~x src^ "src:none" src:file/x "" : "~" "~1" "@{0}" :file refs/ \
		none~1 none:file "$ZEROS" "$(cat one)@{0}"; do
		test_expect_code 128 chkfs-rev-parse "$name" >out 2>err
		[ ! -s out ]
		[ "$(wc -l <err)" = 1 ]
		test_expect_code 1 chkfs-rev-parse -q "$name" >out 2>&1
		[ ! -s out ]
	done
'
test_expect_success 'rev-parse: several names, one line each' '
	chkfs-rev-parse src src~1 src:file >out
	[ "$(wc -l <out)" = 3 ]
	[ "$(head -n 2 out)" = "$(cat two one)" ]
'
test_expect_success 'rev-parse --ref: the full name' '
	[ "$(chkfs-rev-parse --ref both)" = refs/tags/both ]
	[ "$(chkfs-rev-parse --ref backups/both)" = refs/backups/both ]
	test_expect_code 128 chkfs-rev-parse --ref none
	test_expect_code 1 chkfs-rev-parse -q --ref none
	test_expect_code 128 chkfs-rev-parse --ref "$(cat one)"
'
test_expect_success 'rev-parse --ref-name: a name that a ref may have, for a path of any bytes' '
	name() { chkfs-rev-parse --ref-name -- "$1"; }
	[ "$(name /home/eve/Photos)" = Photos ]
	[ "$(name /home/eve/Photos/)" = Photos ]
	[ "$(name "a b")" = a-b ]
	[ "$(name /)" = root ]
	[ "$(name src/../src/sub/..)" = src ]
	[ "$(name .)" = "${SCRATCH##*/}" ]
	for path in a..b a.lock .hidden "a@{b" "a~^:?*[\\b" "$(printf "new\nline")" "$(printf "x\377y")" -dash ... @ "a."; do
		mkdir -p -- "./odd/$path"
		found=$(name "odd/$path")
		chkfs-update-ref -- "refs/odd/$found" src
	done
'

test_expect_success 'rev-list: newest first, following all parents, each once' '
	chkfs-rev-list line >out
	cat four three two one | cmp - out
	chkfs-rev-list line src "$(cat three)" | cmp - out
	chkfs-rev-list "$(cat two)" >out
	cat two one | cmp - out
'
test_expect_success 'rev-list: -n, -z, --parents, --all' '
	chkfs-rev-list -n 2 line >out
	cat four three | cmp - out
	chkfs-rev-list -n 0 line >out
	[ ! -s out ]
	chkfs-rev-list -z line | tr "\0" "\n" >out
	cat four three two one | cmp - out
	chkfs-rev-list --parents -n 1 line >out
	[ "$(cat out)" = "$(cat four) $(cat two) $(cat three)" ]
	chkfs-rev-list --all >out
	[ "$(sort -u out | wc -l)" = "$(wc -l <out)" ]
	for key in one two three four store/refs/backups/photos; do grep -qx "$(cat $key)" out; done
'
test_expect_success 'rev-list -n, log -n: only a number' '
	for number in x -1 "" 1.5; do
		test_expect_code 2 chkfs-rev-list --all -n "$number" >out 2>err
		[ ! -s out ]
	done
	test_expect_code 2 chkfs-log -n -1
'
test_expect_success 'rev-list: no snapshot is wrong usage, a tree is none' '
	test_expect_code 2 chkfs-rev-list
	test_expect_code 2 chkfs-rev-list "$(chkfs-rev-parse src:)"
	test_expect_code 128 chkfs-rev-list none
	test_expect_code 2 chkfs-rev-list -n x src
	chkfs-rev-list --store empty --all >out
	[ ! -s out ]
'
test_expect_success 'log: newest first, with the names of refs, dates and messages' '
	chkfs-log line >out
	[ "$(grep -c "^snapshot " out)" = 4 ]
	head -n 1 out | grep -q "^snapshot $(cat four) (line)$"
	grep -qx "    four" out
	grep -qE "^Date: +[0-9-]{10}T[0-9:]{8}Z$" out
	chkfs-log photos | grep -q "^Source:  .*:$SCRATCH/src$"
	[ "$(chkfs-log -n 2 line | grep -c "^snapshot")" = 2 ]
	[ "$(chkfs-log | grep -c "^snapshot")" = "$(chkfs-rev-list --all | wc -l)" ]
	test_expect_code 128 chkfs-log none
	chkfs-log --store empty >out
	[ ! -s out ]
'
test_expect_success 'log: as many refs as there may be' '
	key=$(chkfs-rev-parse line)
	mkdir -p store/refs/tags/many
	n=0
	while [ $((n += 1)) -le 2500 ]; do echo "$key" >store/refs/tags/many/a-tag-with-quite-a-name-$n; done
	chkfs-log -n 1 line >out
	grep -q "many/a-tag-with-quite-a-name-1777" out
	rm -r store/refs/tags/many
'
test_done
