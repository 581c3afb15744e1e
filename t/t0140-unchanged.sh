#!/bin/sh
# What did not change is not read again; and what did change is never overlooked.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

stored() { find store/objects/blob store/objects/tree store/packs -type f -printf '%p %i %s %T@\n' 2>/dev/null | sort; }
traced() { # OUT CMD: the files that the command and its children open for reading, by name, without directories
	out=$1
	shift
	strace -f -qq -e trace=open,openat,openat2 -o trace "$@" || return
	grep -v 'O_DIRECTORY\|ENOENT' trace | grep -o '"[^"]*"' | tr -d '"' >"$out"
}

test_expect_success 'a source, some seconds old, and its first backup' '
	chkfs-init store
	mkdir -p src/sub/deep src/many
	for n in $(seq 300); do echo "$n" >"src/many/entry-$n"; done
	echo hello >src/entry-hello
	echo deep >src/sub/deep/entry-deep
	head -c 400000 /dev/urandom >src/sub/entry-middle
	head -c 9000000 /dev/urandom >src/sub/entry-big
	ln -s entry-hello src/link
	mkfifo src/fifo
	ln src/entry-hello src/sub/entry-hard
	sleep 2
	chkfs-backup -q src
'
test_expect_success 'the second backup opens no file of the source' '
	need strace
	strace -o trace true 2>err || skip "strace may not trace here"
	traced opened chkfs-backup -q src
	grep -q "store\\|config" opened
	! grep "entry-" opened || exit 1
'
test_expect_success 'it adds a snapshot, and no other file' '
	stored >before
	chkfs-backup -q src
	stored | diff before -
	[ "$(chkfs-rev-parse src:)" = "$(chkfs-rev-parse src~1:)" ]
	[ "$(find store/objects/snapshot -type f | wc -l)" = "$(chkfs-rev-list src | wc -l)" ]
'
test_expect_success 'the counts in the snapshot are those of the first' '
	count() { chkfs-cat-object "$1" | grep "^files \\|^bytes \\|^skipped "; }
	count src >a
	count "$(chkfs-rev-list src | tail -n 1)" | diff - a
	grep -qx "files $(find src -type f | wc -l)" a
'
test_expect_success 'without the cache: the same tree, and still no other file' '
	stored >before
	rm -r "$XDG_CACHE_HOME/chkfs"
	chkfs-backup -q src
	stored | diff before -
	[ "$(chkfs-rev-parse src:)" = "$(chkfs-rev-parse src~1:)" ]
'
test_expect_success 'with a cache that is garbage, that is a directory, or that cannot be written' '
	stored >before
	for bad in garbage directory file; do
		for cache in "$XDG_CACHE_HOME"/chkfs/*/*.sqlite; do
			rm -rf "$cache" "$cache"-*
			case $bad in garbage) head -c 10000 /dev/urandom >"$cache" ;; directory) mkdir "$cache" ;; esac
		done
		if [ $bad = file ]; then rm -r "$XDG_CACHE_HOME/chkfs"; echo >"$XDG_CACHE_HOME/chkfs"; fi
		chkfs-backup -q src >out 2>err
		! grep Traceback err || exit 1
		stored | diff before -
		[ "$(chkfs-rev-parse src:)" = "$(chkfs-rev-parse src~1:)" ]
	done
	rm -r "$XDG_CACHE_HOME/chkfs"
	chkfs-backup -q src
'
test_expect_success 'without any place for a cache' '
	HOME=/nonexistent
	unset XDG_CACHE_HOME
	chkfs-backup -q src >out 2>err
	[ ! -s err ]
	chkfs-restore -q src nocache
	same_trees src nocache
'
test_expect_success 'one changed file in a directory of many: that one is opened, and no other' '
	need strace
	strace -o trace true 2>err || skip "strace may not trace here"
	chkfs-backup -q src
	echo changed >src/many/entry-7
	sleep 1
	traced opened chkfs-backup -q src
	grep "entry-" opened | sort -u >names
	echo entry-7 | cmp - names
'
test_expect_success 'a changed mode or owner is stored without reading the file' '
	need strace
	strace -o trace true 2>err || skip "strace may not trace here"
	sleep 1
	chkfs-backup -q src
	chmod 600 src/sub/entry-big
	sleep 1
	traced opened chkfs-backup -q src
	chkfs-ls-tree src sub/entry-big | grep -q "^0600 "
'

same_now() { # the newest snapshot holds exactly what is in src now
	chkfs-backup -q src >out && rm -rf there && chkfs-restore -q src there && same_trees src there
}
test_expect_success 'a change that keeps size and mtime is seen' '
	touch -r src/many/entry-8 stamp
	[ "$(cat src/many/entry-8)" = 8 ]
	echo X >src/many/entry-8
	touch -r stamp src/many/entry-8
	same_now
'
test_expect_success 'a file replaced by another of the same size and mtime is seen' '
	touch -r src/many/entry-9 stamp
	echo Y >new
	touch -r stamp new
	mv new src/many/entry-9
	same_now
'
test_expect_success 'two files that change places are seen' '
	touch -d @1000000000 src/many/entry-11 src/many/entry-12
	same_now
	mv src/many/entry-11 tmp
	mv src/many/entry-12 src/many/entry-11
	mv tmp src/many/entry-12
	same_now
'
test_expect_success 'two directories that change places are seen' '
	mkdir src/left src/right
	echo l >src/left/f
	echo r >src/right/f
	touch -d @1000000000 src/left/f src/right/f src/left src/right
	sleep 1
	same_now
	mv src/left tmp
	mv src/right src/left
	mv tmp src/right
	same_now
'
test_expect_success 'a file that becomes a directory, a symlink, a fifo, and a file again' '
	for how in "mkdir" "ln -s 1" "mkfifo" "echo 1 >"; do
		rm -rf src/many/entry-1
		eval "$how src/many/entry-1"
		same_now
	done
'
test_expect_success 'changes right after a backup, and right before one, are seen' '
	for n in 1 2 3 4 5 6; do
		echo $n >src/entry-race
		chkfs-write-tree src >key
		echo $((n + 1)) >src/entry-race
		chkfs-write-tree src >key
		[ "$(chkfs-cat-object "$(cat key):entry-race")" = $((n + 1)) ]
	done
'
test_expect_success 'what is removed is gone from the next snapshot and stays in the last' '
	rm -r src/left src/many/entry-20
	same_now
	! chkfs-rev-parse -q src:left || exit 1
	[ "$(chkfs-cat-object src~1:left/f)" = r ] || [ "$(chkfs-cat-object src~1:left/f)" = l ]
'
test_expect_success 'the same source at another path: the same tree, and nothing new' '
	sleep 1
	chkfs-backup -q src
	stored >before
	mv src moved
	chkfs-backup -q -n src moved
	mv moved src
	stored | diff before -
	[ "$(chkfs-rev-parse src:)" = "$(chkfs-rev-parse src~1:)" ]
'
test_expect_success 'a store that lost everything but its config and id: all is stored again' '
	rm -r store/objects store/refs store/logs
	find store/packs -type f -delete
	chkfs-backup -q src
	rm -rf there
	chkfs-restore -q src there
	same_trees src there
'
test_expect_success 'a copy of a store, with the same id and so the same caches: each gets what it lacks' '
	cp -a store copy
	echo news >src/entry-news
	head -c 300000 /dev/urandom >src/entry-more
	sleep 1
	chkfs-backup -q --store copy src
	chkfs-backup -q src
	for store in store copy; do
		rm -rf there
		chkfs-restore -q --store $store src there
		same_trees src there
	done
	echo others >src/entry-others
	sleep 1
	chkfs-backup -q src
	chkfs-backup -q --store copy src
	for store in copy store copy; do
		rm -rf there
		chkfs-restore -q --store $store src there
		same_trees src there
	done
'
test_done
