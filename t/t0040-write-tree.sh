#!/bin/sh
# chkfs-write-tree: a directory in, the key of its tree out.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

test_expect_success 'a store and a directory' '
	chkfs-init store
	mkdir -p src/sub/empty
	echo hello >src/hello
	echo hello >src/sub/again
	ln -s hello src/link
	touch -d @1000000000.123456789 src/hello
'
test_expect_success 'prints the key of a tree that names each entry' '
	chkfs-write-tree src >key
	grep -qxE "[0-9a-f]{64}" key
	chkfs-cat-object "$(cat key)" >tree
	[ "$(sha256sum <tree | cut -c 1-64)" = "$(cat key)" ]
	[ "$(head -n 3 tree)" = "$(printf "#mtree\n# chkfs tree 1\n. type=dir")" ]
	[ "$(grep "^\\./" tree | cut -d " " -f 1)" = "$(printf "./hello\n./link\n./sub")" ]
	grep "^\\./hello " tree >line
	own="$(stat -c "ctime:%.9Z" src/hello)$"
	grep -q " size=6 time=1000000000.123456789 sha256digest=$(sha256sum <src/hello | cut -c 1-64) .*$own" line
	grep -q "^\\./link type=link mode=0777 .* link=hello tags=.*$(stat -c "ctime:%.9Z" src/link)$" tree
	grep -qE "^\\./sub type=dir mode=0755 .* tags=tree:[0-9a-f]{64},.*$(stat -c "ctime:%.9Z" src/sub)$" tree
'
test_expect_success 'the key does not depend on the path, the store, the caches, or the time' '
	mkdir moved
	mv src moved
	chkfs-write-tree moved/src | cmp key -
	mv moved/src .
	chkfs-write-tree "$PWD/src/" | cmp key -
	chkfs-init other
	chkfs-write-tree --store other src | cmp key -
	rm -r "$XDG_CACHE_HOME"
	chkfs-write-tree src | cmp key -
	(cd src && chkfs-write-tree .) | cmp key -
'
test_expect_success 'a copy tells the same, but for its own times' '
	cp -a src copy
	told() { chkfs-ls-tree --mtree -r "$1" | sed "s/ tags=.*//"; }
	told "$(chkfs-write-tree copy)" >copied
	told "$(cat key)" | cmp copied -
	[ -s copied ]
'
test_expect_success 'every change of an entry makes another tree' '
	cp key keys
	for change in "echo x >src/sub/new" "chmod 600 src/hello" "touch -d @5 src/hello" "touch -h -d @5 src/link" \
		"echo jello >src/hello" "rm src/link" "chmod 700 src/sub" "mv src/hello src/hallo"; do
		eval "$change"
		chkfs-write-tree src >>keys
	done
	[ "$(sort -u keys | wc -l)" = 9 ]
'
test_expect_success 'a change of the directory itself is none of its tree' '
	chkfs-write-tree src >before
	chmod 711 src
	touch -d @7 src
	chkfs-write-tree src | cmp before -
'
test_expect_success '--root: the whole line of the directory' '
	chkfs-write-tree --root src >root
	grep -qxE "\\. type=dir mode=0711 uid=[0-9]+ gid=[0-9]+ .*time=7\\.000000000 tags=tree:$(cat before),.*" root
'
test_expect_success '--draft: the draft of a snapshot' '
	chkfs-write-tree --draft -q src >draft
	[ "$(head -n 1 draft)" = "chkfs-snapshot 1" ]
	grep -qxF "root $(cat root)" draft
	grep -qx "source $SCRATCH/src" draft
	grep -qx "complete yes" draft
	for word in host started finished files bytes skipped damaged mount features; do grep -q "^$word " draft; done
'
test_expect_success 'a single file: the key of its blob' '
	[ "$(chkfs-write-tree src/sub/again)" = "$(sha256sum <src/sub/again | cut -c 1-64)" ]
	chkfs-cat-object "$(chkfs-write-tree src/sub/again)" | cmp - src/sub/again
	chkfs-write-tree --root src/sub/again | grep -q "^\\. type=file mode=0644 .* sha256digest="
'
test_expect_success 'something that has no contents and so no key: an error, not "None"' '
	ln -s nowhere dangling
	mkfifo fifo
	for it in dangling fifo; do
		test_must_fail chkfs-write-tree "$it" >out 2>err
		[ ! -s out ]
		grep -q "^chkfs-write-tree: " err
	done
'
test_expect_success 'a symlink to a directory is followed at the top only' '
	ln -s src to-src
	chkfs-write-tree to-src | cmp before -
	ln -s sub src/to-sub
	chkfs-ls-tree "$(chkfs-write-tree src)" to-sub | grep -q "^0777 link -"
'
test_expect_success 'an empty directory' '
	mkdir empty
	chkfs-cat-object "$(chkfs-write-tree empty)" >tree
	printf "#mtree\n# chkfs tree 1\n. type=dir\n" | cmp - tree
'
test_expect_success 'what is not there: 128, nothing on standard output, nothing left in incoming' '
	test_expect_code 128 chkfs-write-tree none >out 2>err
	[ ! -s out ]
	grep -q "^chkfs-write-tree: cannot read .*none.: No such file or directory$" err
	[ -z "$(ls store/incoming)" ]
'
test_expect_success 'wrong usage' '
	test_expect_code 2 chkfs-write-tree
	test_expect_code 2 chkfs-write-tree src src
	test_expect_code 2 chkfs-write-tree --root --draft src
	test_expect_code 2 chkfs-write-tree -q -v src
	test_expect_code 2 chkfs-write-tree --exclude-from no-such-file src
'
test_expect_success 'a file that another program writes all the while: marked, status 3, and what is stored is one state' '
	mkdir busy
	head -c 64000000 /dev/zero >busy/log # long enough to read that the writer gets its turns
	echo calm >busy/calm
	while :; do printf x >>busy/log; done &
	writer=$!
	until [ "$(wc -c <busy/log)" -gt 64000000 ]; do sleep 0.1; done
	code=0
	chkfs-write-tree busy >key 2>err || code=$?
	kill $writer
	[ $code = 3 ]
	grep -q "changed while it was read" err
	chkfs-cat-object "$(cat key)" >tree
	grep "^\\./log " tree | grep -q "[=,]changed:1"
	size=$(sed -n "s/^\\.\\/log .* size=\\([0-9]*\\) .*/\\1/p" tree)
	blob=$(sed -n "s/^\\.\\/log .* sha256digest=\\([0-9a-f]*\\) .*/\\1/p" tree)
	[ "$(chkfs-cat-object "$blob" | wc -c)" = "$size" ]
'
test_done
