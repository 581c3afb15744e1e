#!/bin/sh
# The main job: back up, restore, and find no difference.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

equal() { # A B: nothing to tell between them, by our own listing, by diff, and by rsync where there is one
	same_trees "$1" "$2" && diff -r --no-dereference "$1" "$2" || return
	command -v rsync >/dev/null || return 0
	rsync -aHn --delete --itemize-changes --checksum "$1/" "$2/" | tee difference
	[ ! -s difference ]
}

test_expect_success 'a directory of all sorts' '
	chkfs-init store
	mkdir -p src/sub/deeper src/empty src/closed src/many "src/a name"
	for n in $(seq 300); do echo "$n" >src/many/$n; done
	echo hello >src/hello
	: >src/nothing
	printf "\0\1\2\377" >"src/a name/bytes"
	head -c 300000 /dev/urandom >src/sub/random
	yes "a line of text" | head -c 700000 >src/sub/deeper/text
	head -c 9500000 /dev/urandom >src/sub/big
	cp src/hello src/sub/copy
	ln src/hello src/sub/deeper/hard
	ln -s ../hello src/sub/link
	ln -s nowhere src/dangling
	ln -s sub src/to-sub
	echo secret >src/closed/secret
	chmod 600 src/closed/secret
	chmod 500 src/closed
	chmod 4711 src/nothing
	touch -d "2001-09-09 01:46:40.123456789" src/hello "src/a name"
	touch -h -d @-1.25 src/dangling
'
test_expect_success 'backup prints key, TAB, ref; and for people files, bytes and what was skipped' '
	chkfs-backup src >out 2>err
	printf "%s\trefs/backups/src\n" "$(cat store/refs/backups/src)" | cmp - out
	files=$(find src -type f | wc -l)
	bytes=$(find src -type f -printf "%s\n" | awk "{ n += \$1 } END { print n }")
	echo "src: $files files, $bytes bytes, 0 skipped" | cmp - err
'
test_expect_success 'restore makes the same again' '
	chkfs-restore src there >out 2>err
	[ ! -s out ]
	equal src there
'
test_expect_success '-q is silent but for the data' '
	chkfs-backup -q src >out 2>err
	[ "$(wc -l <out)" = 1 ]
	[ ! -s err ]
	chkfs-restore -q src quiet >out 2>&1
	[ ! -s out ]
	equal src quiet
'
test_expect_success 'an unchanged source: the same tree, a snapshot more' '
	[ "$(chkfs-rev-parse src:)" = "$(chkfs-rev-parse src~1:)" ]
	[ "$(chkfs-rev-list src | wc -l)" = 2 ]
	[ "$(chkfs-rev-list --parents -n 1 src)" = "$(chkfs-rev-parse src) $(chkfs-rev-parse "src@{1}")" ]
'
test_expect_success 'a changed source: the new state and the old one' '
	cp -a src before
	echo more >>src/hello
	rm src/many/1?
	echo new >src/many/new
	mv src/sub/copy src/sub/moved
	chkfs-backup -q -m "a few changes" src
	chkfs-restore -q src now
	equal src now
	chkfs-restore -q src~1 back
	equal before back
	chkfs-log -n 1 src | grep -qx "    a few changes"
'

test_expect_success 'DEST: absent or an empty directory, and nothing else' '
	mkdir empty full
	echo precious >full/file
	chkfs-restore -q src:many empty
	same_contents src/many empty
	for dest in full full/file now; do
		test_expect_code 128 chkfs-restore -q src:many $dest 2>err
		grep -q "is not an empty directory" err
	done
	[ "$(ls -A full)" = file ]
	[ "$(cat full/file)" = precious ]
	test_expect_code 128 chkfs-restore -q src "" 2>err
	test_expect_code 128 chkfs-restore -q src no/such/parent 2>err
	[ "$(wc -l <err)" = 1 ]
'
test_expect_success 'DEST: a symlink to an empty directory is that directory, a dangling one is not followed' '
	mkdir real
	ln -s real to-real
	chkfs-restore -q src:many to-real
	same_contents src/many real
	ln -s unreal to-unreal
	test_expect_code 128 chkfs-restore -q src:many to-unreal
	[ ! -e unreal ]
'
test_expect_success 'DEST: spaces, other bytes, a leading dash' '
	for dest in "a b" "$(printf "new\nline \377")" "\$(id)"; do
		chkfs-restore -q "src:a name" "$dest"
		cmp "src/a name/bytes" "$dest/bytes"
	done
	chkfs-restore -q -- "src:a name" -dash
	cmp "src/a name/bytes" ./-dash/bytes
'
test_expect_success 'one file: DEST becomes it, and is never overwritten' '
	chkfs-restore -q src:sub/deeper/text text
	cmp src/sub/deeper/text text
	[ "$(stat -c "%a %y" text)" = "$(stat -c "%a %y" src/sub/deeper/text)" ]
	echo precious >text2
	test_expect_code 128 chkfs-restore -q src:hello text2 2>err
	grep -q "exists" err
	[ "$(cat text2)" = precious ]
	test_expect_code 128 chkfs-restore -q src:hello empty
	[ ! -e empty/hello ]
'
test_expect_success 'one symlink' '
	chkfs-restore -q src:dangling link
	[ "$(readlink link)" = nowhere ]
	[ "$(stat -c %Y link)" = -2 ]
'
test_expect_success 'a subdirectory: what is in it' '
	chkfs-restore -q src:sub part
	diff -r --no-dereference src/sub part
	(cd src/sub && listing .) | tail -n +2 >a
	(cd part && listing .) | tail -n +2 | sed "s/ 1 6 1000000000/ 2 6 1000000000/" >b
	[ "$(wc -l <a)" = "$(wc -l <b)" ]
	[ "$(stat -c "%a %y" part/deeper)" = "$(stat -c "%a %y" src/sub/deeper)" ]
'
test_expect_success 'a subdirectory: its own mode, owner and time too' '
	chkfs-restore -q src:closed closed
	[ "$(stat -c "%a %U %y" closed)" = "$(stat -c "%a %U %y" src/closed)" ]
'
test_expect_success 'restore of what is not there: 128, one line, DEST not made' '
	blob=$(sha256sum <src/many/20 | cut -c 1-64)
	for name in none src:none src~9 "$blob"; do
		test_expect_code 128 chkfs-restore "$name" not-made 2>err
		[ "$(wc -l <err)" = 1 ]
		grep -q "^chkfs-restore: " err
		test_expect_code 128 chkfs-ls "$name" 2>err
		grep -q "^chkfs-ls: " err
		[ ! -e not-made ]
	done
'
test_expect_success 'wrong usage of backup and restore' '
	for bad in "" "-n" "--store" "-z src" "-n one src src" "--exclude" "-m"; do
		# shellcheck disable=SC2086
		test_expect_code 2 chkfs-backup $bad 2>err
		[ -s err ]
	done
	for bad in "" src "src a b" "-n src there"; do
		# shellcheck disable=SC2086
		test_expect_code 2 chkfs-restore $bad 2>err
		grep -q "^usage: chkfs-restore" err
	done
'

test_expect_success 'two sources in one call: two snapshots, two refs' '
	mkdir one two
	echo 1 >one/file
	echo 2 >two/file
	chkfs-backup -q one two >out
	[ "$(cut -f 2 out)" = "$(printf "refs/backups/one\nrefs/backups/two")" ]
	chkfs-restore -q one one.back
	chkfs-restore -q two two.back
	equal one one.back
	equal two two.back
'
test_expect_success 'two sources, the first of them missing: the second is done, and the status tells' '
	mv store/refs/backups/two saved
	rm store/logs/refs/backups/two
	test_expect_code 128 chkfs-backup -q none two >out 2>err
	[ "$(wc -l <out)" = 1 ]
	grep -q "cannot read .*none.: No such file or directory" err
	chkfs-restore -q two two.again
	equal two two.again
	[ ! -e store/refs/backups/none ]
'
test_expect_success '-n NAME: a ref of that name, slashes included; refused with two sources' '
	chkfs-backup -q -n laptop/home one
	[ -f store/refs/backups/laptop/home ]
	chkfs-cat-object laptop/home | grep -qx "name laptop/home"
	test_expect_code 2 chkfs-backup -q -n both one two 2>err
	grep -q "give one PATH with it" err
	[ ! -e store/refs/backups/both ]
'
test_expect_success '-n with a name that no ref can have: refused, and the ref is not there' '
	for name in "a b" ../x a..b x.lock /x; do
		test_must_fail chkfs-backup -q -n "$name" one 2>err
		grep -q "is not a valid ref name" err
	done
	[ ! -e store/refs/x ]
'
test_expect_success '-n with a name that no ref can have: 2 as other wrong usage, before the work' '
	test_expect_code 2 chkfs-backup -q -n "a b" one
'
test_expect_success 'default names: the last part of the path, made fit for a ref' '
	mkdir -p "dir/a name  with spaces" "dir/semi;colon" "dir/dol\$lar" "dir/am&p" "dir/it'\''s" dir/back\\slash dir/a.b \
		dir/aXb dir/.dot "dir/at@{1}" dir/x.lock "dir/$(printf "%0254d" 0)" "dir/$(printf "latin\374")"
	for path in dir/* dir/.dot; do
		echo "$path" >"$path/file"
		chkfs-backup -q "$path" >out
		ref=$(cut -f 2 out)
		[ "$(chkfs-cat-object "$ref:file" | sha256sum)" = "$(sha256sum <"$path/file")" ]
	done
	chkfs-for-each-ref --format "%(ref)" | grep -qx "refs/backups/a-name--with-spaces"
'
test_expect_success 'names that mean something to sed or the shell: a second backup moves the same ref' '
	for path in "dir/dol\$lar" "dir/am&p" "dir/it'\''s" dir/a.b dir/aXb; do
		chkfs-backup -q "$path" >out
		[ "$(chkfs-rev-list "$(cut -f 2 out)" | wc -l)" = 2 ]
	done
'
test_expect_success 'a bar in a name: the second backup moves the same ref, and ends' '
	mkdir -p "dir/pi|pe"
	chkfs-backup -q "dir/pi|pe"
	timeout 10 chkfs-backup -q "dir/pi|pe"
	[ "$(chkfs-rev-list "pi|pe" | wc -l)" = 2 ]
'
test_expect_success 'a name and a message that begin with a dash' '
	mkdir -p dir/-n
	chkfs-backup -q -m "- a list" dir/-n
	chkfs-log -- -n | grep -qx "    - a list"
'
test_expect_success '/ . and .. have names, too' '
	(cd dir/a.b && chkfs-backup -q . && cd ../aXb && chkfs-backup -q ../a.b/) >out
	[ "$(cut -f 2 out | sort -u)" = refs/backups/a.b ]
	[ "$(chkfs-rev-parse --ref-name /)" = root ]
'
test_expect_success 'a note when the source of a name changes, and none when it does not' '
	mkdir -p elsewhere/one
	chkfs-backup elsewhere/one >out 2>err
	grep -q "^chkfs-backup: note: refs/backups/one was of $SCRATCH/one so far" err
	chkfs-backup elsewhere/one >out 2>err
	! grep note err || exit 1
	chkfs-backup -q one >out 2>err
	[ ! -s err ]
'
test_expect_success 'a single file is a source as well' '
	chkfs-backup src/sub/deeper/text >out 2>err
	grep -q "^text: 1 file, 700000 bytes, 0 skipped" err
	chkfs-restore -q text text.back
	cmp src/sub/deeper/text text.back
	[ "$(stat -c "%a %y" text.back)" = "$(stat -c "%a %y" src/sub/deeper/text)" ]
'
test_expect_success 'a source that is a symlink to a directory' '
	ln -s one to-one
	chkfs-backup -q to-one
	chkfs-restore -q to-one to-one.back
	equal one to-one.back
'
test_expect_success 'the atime of the source stays' '
	need_root
	touch -a -d @1000 src/many/20 src/sub/big
	touch -m -d @2000000000 src/many/20
	chkfs-backup -q src
	[ "$(stat -c %X src/many/20 src/sub/big)" = "$(printf "1000\n1000")" ]
'

test_expect_success 'something unreadable: 3, said, the rest stored; and when restored, said again' '
	need_other_user
	chmod 755 .
	mkdir other
	cp -a one other/src
	echo secret >other/src/secret
	mkdir other/src/closed
	echo x >other/src/closed/x
	chmod 600 other/src/secret
	chmod 700 other/src/closed
	chown -R 65534 other
	chown 0 other/src/secret other/src/closed
	as_other() { setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$PWD/other" XDG_CACHE_HOME="$PWD/other" \
		CHKFS_STORE="$PWD/other/store" "$@"; }
	as_other chkfs-init other/store
	test_expect_code 3 as_other chkfs-backup other/src >out 2>err
	[ "$(wc -l <out)" = 1 ]
	grep -qF "chkfs-backup: '\''secret'\'' cannot be read: Permission denied" err
	grep -qF "'\''closed'\'' cannot be read: Permission denied" err
	grep -q "2 skipped$" err
	as_other chkfs-cat-object src | grep -qx "skipped 2"
	test_expect_code 3 as_other chkfs-restore src other/back 2>err
	[ "$(cat other/back/file)" = 1 ]
	[ ! -e other/back/secret ]
	grep -qF "'\''secret'\'' not restored: could not be read when it was stored" err
	test_expect_code 3 as_other chkfs-backup -q other/src
'
test_expect_success 'somebody else restores: owners that cannot be set are said, 3' '
	need_other_user
	chown -R 1234 other/src
	as_other() { setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$PWD/other" XDG_CACHE_HOME="$PWD/other" \
		CHKFS_STORE="$PWD/other/store" "$@"; }
	chmod 4755 other/src/file
	as_other chkfs-backup -q other/src || [ $? = 3 ]
	test_expect_code 3 as_other chkfs-restore src other/back2 2>err
	grep -q "^chkfs-restore: owner could not be set" err
	[ "$(stat -c %a other/back2/file)" = 755 ]
	grep -q "set-id bit could not be set" err
'
test_expect_success 'a source that cannot be opened: 128' '
	need_other_user
	chmod 700 other/src
	test_expect_code 128 setpriv --reuid 65534 --clear-groups env HOME="$PWD/other" CHKFS_STORE="$PWD/other/store" \
		chkfs-backup other/src 2>err
	grep -q "Permission denied" err
'
test_expect_success 'a backup into what is no store, and from a store that is none: 128' '
	test_expect_code 128 chkfs-backup --store empty one 2>err
	grep -q "is not a store" err
	test_expect_code 128 chkfs-restore --store empty one there2
	[ ! -e there2 ]
'
test_expect_success 'nothing is left in incoming' '[ -z "$(ls -A store/incoming)" ]'
test_done
