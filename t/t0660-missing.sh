#!/bin/sh
# What a restore could not set is listed beside DEST, and chkfs-apply-metadata sets it later.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

as_other() { # CMD: as an ordinary user, with a copy of the store that is theirs
	setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$SCRATCH/other" XDG_CACHE_HOME="$SCRATCH/other" \
		CHKFS_STORE="$SCRATCH/other/store" "$@"
}
all_equal() { # A B: nothing to tell between them, by our own listing and by rsync where there is one
	same_trees "$1" "$2" || return
	command -v rsync >/dev/null || return 0
	rsync -aHAXn --delete --itemize-changes --checksum "$1/" "$2/" | tee difference
	[ ! -s difference ]
}
test_expect_success 'a directory of all sorts and owners' '
	chkfs-init store
	mkdir -p src/sub/deeper src/shared src/many "src/a name"
	for n in $(seq 2500); do echo "$n" >src/many/$n; done
	echo hello >src/hello
	ln src/hello src/sub/hard
	ln -s ../hello src/sub/link
	echo odd >"src/a name/$(printf "new\nline \377%%")"
	mkfifo src/sub/fifo
	echo root >src/program
	chmod 2775 src/shared
	touch -d "2001-09-09 01:46:40.123456789" src/hello "src/a name" src/sub
	touch -h -d @-1.25 src/sub/link
'
test_expect_success 'what root can set everywhere: nothing is missing, and there is no file' '
	chkfs-backup -q src
	chkfs-restore -q src whole
	[ "$(echo whole*)" = whole ]
'
test_expect_success 'an ordinary user: everything readable is back, the rest is listed, said once, 3' '
	need_other_user
	mknod src/sub/tty c 5 1
	mknod src/sub/disk b 7 77
	chown -R 1000:1000 src/many src/sub
	chown -h 1001:1002 src/sub/link src/shared
	chmod 2775 src/shared
	chmod 6711 src/program
	chkfs-backup -q src
	mkdir -m 700 other
	cp -a store other/store
	chown -R 65534:65534 other
	chmod 755 .
	test_expect_code 3 as_other chkfs-restore src other/there 2>err
	same_contents src other/there
	[ "$(find src ! -type b ! -type c | wc -l)" = "$(find other/there | wc -l)" ]
	[ ! -e other/there/sub/tty ]
	[ "$(stat -c %a other/there/program)" = 711 ]
	file=$SCRATCH/other/there.chkfs-missing.mtree
	grep -qxF "chkfs-restore: to set what is missing, as root: chkfs-apply-metadata $file other/there" err
	[ "$(stat -c "%a %u" "$file")" = "600 65534" ]
	[ "$(grep -c "^\./many/[0-9]* type=file.*missing:owner" "$file")" = 2500 ]
	grep -q "^\./sub/tty type=char .*device=linux,5,1 tags=.*missing:entry$" "$file"
	grep -q "^\./program .*missing:owner,missing:set-id.040bit" "$file"
	find src ! -path src/sub/hard -printf "x\n" | wc -l >entries # its owner is set with that of hello
	[ "$(($(grep -c "^[^#]" "$file") - 1))" = "$(cat entries)" ]
'
test_expect_success 'the list is text that mtree and bsdtar read' '
	need_root
	need bsdtar
	cp other/there.chkfs-missing.mtree list
	bsdtar -tf list >names
	[ "$(sort -u names | wc -l)" = "$(cat entries)" ]
'
test_expect_success 'applied by root, all is equal; applied once more, it still is' '
	need_other_user
	for again in 1 2; do
		chkfs-apply-metadata other/there.chkfs-missing.mtree other/there 2>err
		echo "$(cat entries) entries" | cmp - err
		all_equal src other/there
	done
'
test_expect_success 'applied to a copy elsewhere, and without a store' '
	need_other_user
	as_other chkfs-restore -q src other/moved || [ $? = 3 ]
	cp -r --preserve=mode,timestamps,links other/moved elsewhere
	(unset CHKFS_STORE; chkfs-apply-metadata -q other/moved.chkfs-missing.mtree elsewhere)
	all_equal src elsewhere
'
test_expect_success 'attributes, capabilities, ACLs and flags: what a user may not set is listed, and equal when applied' '
	need_other_user
	need setfattr setfacl chattr rsync
	mkdir special
	for name in a b c; do echo "$name" >special/$name; done
	setfattr -n user.x -v 1 special/a || skip "no attributes can be set here"
	setfattr -n trusted.t -v 2 special/a
	setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 special/c
	setfacl -m u:1234:rw special/b
	chattr +a special/b 2>/dev/null || echo "no flags here"
	chown 1000:1000 special/a
	chkfs-backup -q -n special special
	rm -rf other/store
	cp -a store other/store
	chown -R 65534:65534 other/store
	test_expect_code 3 as_other chkfs-restore -q special other/special
	grep -q "^\./a .*missing:owner.*missing:xattr" other/special.chkfs-missing.mtree
	chkfs-apply-metadata -q other/special.chkfs-missing.mtree other/special
	rsync -aHAXn -i --checksum --delete special/ other/special/ >difference
	lsattr special | sed "s/ .*//" >flags
	lsattr other/special | sed "s/ .*//" | cmp flags - || echo flags >>difference
	chattr -a special/b other/special/b 2>/dev/null || echo "no flags here"
	[ ! -s difference ]
'
test_expect_success 'nothing is overwritten by the list: a number is added' '
	need_other_user
	for n in 1 2 3; do
		rm -rf other/there
		echo precious >other/there.chkfs-missing.mtree
		as_other chkfs-restore -q src:sub other/there || [ $? = 3 ]
	done
	[ "$(cat other/there.chkfs-missing.mtree)" = precious ]
	[ "$(echo other/there.chkfs-missing.mtree.*)" = \
		"$(echo other/there.chkfs-missing.mtree.2 other/there.chkfs-missing.mtree.3 other/there.chkfs-missing.mtree.4)" ]
	chkfs-apply-metadata -q other/there.chkfs-missing.mtree.4 other/there
	rsync -aHAXn --delete -i --checksum src/sub/ other/there/ >difference
	[ ! -s difference ]
'
test_expect_success '--missing FILE: there, and never over anything' '
	need_other_user
	echo precious >other/list
	chown 65534 other/list
	test_expect_code 3 as_other chkfs-restore -q --missing "other/a list" src:sub other/x
	grep -q "missing:owner" "other/a list"
	[ ! -e other/x.chkfs-missing.mtree ]
	test_expect_code 3 as_other chkfs-restore -q --missing=other/list src:sub other/y 2>err
	grep -q "cannot write .*list.: File exists" err
	[ "$(cat other/list)" = precious ]
	[ -e other/y/hard ]
'
test_expect_success 'beside DEST nothing can be written: said, restored all the same' '
	need_other_user
	mkdir closed closed/dest
	chown 65534 closed/dest
	test_expect_code 3 as_other chkfs-restore -q src:sub closed/dest 2>err
	grep -q "cannot write .*dest.chkfs-missing.mtree.: Permission denied; --missing names another place" err
	[ -e closed/dest/hard ]
'
test_expect_success 'one file alone' '
	need_other_user
	as_other chkfs-restore -q src:program other/program || [ $? = 3 ]
	chkfs-apply-metadata -q other/program.chkfs-missing.mtree other/program
	[ "$(stat -c "%a %u %y" other/program)" = "$(stat -c "%a %u %y" src/program)" ]
'
test_expect_success 'in a directory that gives its group to all in it: the groups are what they were' '
	need_root
	mkdir given
	chgrp 99 given
	chmod 2755 given
	chkfs-restore -q src given/there
	all_equal src given/there
	mkdir given/empty
	chkfs-restore -q src given/empty
	all_equal src given/empty
	chkfs-restore -q src:program given/program
	[ "$(stat -c "%g %a" given/program)" = "$(stat -c "%g %a" src/program)" ]
'
test_expect_success 'a file that is no such list, or none, or no DEST: 128, nothing done' '
	echo "#mtree" >not-one
	for file in not-one nothing whole; do
		test_expect_code 128 chkfs-apply-metadata $file whole 2>err
		[ "$(wc -l <err)" = 1 ]
	done
	printf "#mtree\n# chkfs missing 1\n./x type=fifo mode=0644 tags=missing:entry\n" >one
	test_expect_code 128 chkfs-apply-metadata one no/such/place
	chkfs-apply-metadata -q one whole
	[ -p whole/x ]
	printf "#mtree\n# chkfs missing 1\n./../x type=fifo mode=0644 tags=missing:entry\n" >evil
	test_expect_code 128 chkfs-apply-metadata evil whole
	[ ! -e x ]
'
test_expect_success 'what is not there, or is something else: 3, said, the rest is set' '
	printf "#mtree\n# chkfs missing 1\n./gone type=file mode=0644 tags=missing:owner\n" >list
	printf "./hello type=dir mode=0755 tags=missing:owner\n./program type=file mode=0600 tags=missing:mode\n" >>list
	test_expect_code 3 chkfs-apply-metadata -q list whole 2>err
	grep -q "gone.: " err
	grep -q "hello.: is no dir" err
	[ "$(stat -c %a whole/program)" = 600 ]
'
test_expect_success 'what only FAT and NTFS keep is counted, but neither listed nor a reason for status 3' '
	key=$(echo hello | chkfs-hash-object -w --stdin)
	attributes="mode=0644 uid=$(id -u) gid=$(id -g) size=6 time=1.000000000"
	tree=$(for name in a b; do
		echo "./$name type=file $attributes sha256digest=$key tags=dos:a,short:X~1"
	done | chkfs-mktree)
	chkfs-restore -q $tree dos 2>err
	[ "$(wc -l <err)" = 1 ]
	grep -q "no place for stays in the store: DOS attributes (of 2 entries)" err
	[ ! -e dos.chkfs-missing.mtree ]
'
test_done
