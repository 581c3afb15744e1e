#!/bin/sh
# What a filesystem tells besides contents, mode, owner and time: stored, said, restored.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || skip_all 'mounting needs root'
for tool in setfattr getfattr setfacl getfacl chattr lsattr mkfs.ext4; do
	command -v $tool >/dev/null || skip_all "there is no $tool here"
done
for name in here there; do
	truncate -s 80M $name.img
	mkfs.ext4 -q -b 4096 $name.img
	mkdir $name
	mount -o loop $name.img $name 2>err || skip_all "no ext4 image can be mounted here"
done
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

told() ( # DIR: all that tools tell of its entries
	cd "$1" && getfattr -R -P -h -d -m - -e hex . && getfacl -R -P -n . && find . \( -type f -o -type d \) -exec lsattr -d {} + &&
		find . -printf "%p %m %U %G %T@\n"
)
same() { told "$1" | sort >a && told "$2" | sort >b && [ -s a ] && cmp a b; }

test_expect_success 'a directory with something of each kind' '
	chkfs-init store
	mkdir -p here/src/dir/closed here/src/shared
	cd here/src
	echo one >file
	echo two >dir/capable
	ln -s file link
	mkfifo fifo
	setfattr -n user.text -v "some text" file
	setfattr -n user.empty file
	setfattr -n "user.odd,name:=%" -v 0x00ff0a file
	setfattr -n trusted.t -v trusted file
	setfattr -n user.of.dir -v dir dir
	setfattr -n user.of.top -v top .
	setfattr -h -n trusted.of.link -v link link
	setfattr -n trusted.of.fifo -v fifo fifo
	setfattr -n user.long -v "$(head -c 3000 /dev/zero | tr "\0" x)" dir/capable
	setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 dir/capable
	setfacl -m u:1234:rw,g:567:r file
	setfacl -d -m u:1234:rwx shared
	setfacl -m u:4321:rx shared
	echo fixed >fixed
	ln fixed dir/fixed
	echo log >log
	echo inside >dir/closed/inside
	chown 12:34 log dir/closed
	chmod 2750 dir/closed
	chattr +i fixed
	chattr +adA log
	chattr +i dir/closed
'
test_expect_success 'backed up and restored: all of it is there again' '
	chkfs-backup here/src >out 2>err
	chkfs-restore src there/back 2>err
	test_must_fail grep "not set" err
	same here/src there/back
	[ "$(stat -c %i there/back/fixed)" = "$(stat -c %i there/back/dir/fixed)" ]
	[ ! -e there/back.chkfs-missing.mtree ]
'
test_expect_success 'the lines are as chkfs-tree(5) says' '
	chkfs-cat-object src: >tree
	grep -q "^\\./file .*,ctime:$(stat -c %.9Z here/src/file),xattr:system\\.posix_acl_access:[A-Za-z0-9+/=]*,xattr:trusted\\.t:dHJ1c3RlZA==,xattr:user\\.empty:,xattr:user\\.odd\\\\054name\\\\072\\\\075\\\\045:AP8K,xattr:user\\.text:" tree
	grep -q "^\\./log .*btime:[-0-9.]*,ctime:[-0-9.]*,flags:adA$" tree
	long=$(getfattr --only-values -n user.long here/src/dir/capable | sha256sum | cut -c 1-64)
	chkfs-cat-object src:dir | grep "^\\./capable " | grep -q "xattr:user\\.long:@$long$"
	[ "$(chkfs-cat-object "$long" | wc -c)" = 3000 ]
	birth=$(stat -c %.9W here/src/log)
	[ "$birth" = 0.000000000 ] || grep -q "^\\./log .*tags=btime:$birth," tree
'
test_expect_success 'the snapshot says what was looked for, and holds what the top tells' '
	snapshot=$(cut -f 1 out)
	chkfs-cat-object "$snapshot" >text
	grep -q "^features mode owner time link device hl btime ctime flags xattr$" text
	grep -q "^root .* tags=tree:[0-9a-f]*,.*,xattr:user\\.of\\.top:dG9w$" text
'
test_expect_success 'nothing changed: the same tree; each change shows' '
	chkfs-rev-parse src: >keys
	chkfs-backup -q here/src >/dev/null
	chkfs-rev-parse src: | cmp keys -
	for change in "setfattr -n user.text -v other file" "setfattr -x user.of.dir dir" "chattr -d log" "chattr -i dir/closed" \
		"setfacl -b file" "setfattr -h -n trusted.of.link -v k link" "setfattr -n user.new -v 1 dir/capable"; do
		(cd here/src && $change)
		chkfs-backup -q here/src >/dev/null
		chkfs-rev-parse src: >>keys
	done
	[ "$(sort -u keys | wc -l)" = 8 ]
	rm -r "$XDG_CACHE_HOME"
	chkfs-backup -q here/src >/dev/null
	[ "$(chkfs-rev-parse src:)" = "$(tail -n 1 keys)" ]
	chattr +i here/src/dir/closed
	rm -rf there/again
	chkfs-backup -q here/src >/dev/null
	chkfs-restore src there/again
	same here/src there/again
'
test_expect_success 'many files: what workers read has the same tags' '
	mkdir here/many
	for n in $(seq 700); do echo $n >here/many/$n; done
	for n in $(seq 10 10 700); do setfattr -n user.n -v $n here/many/$n; done
	setfattr -n user.long -v "$(head -c 2000 /dev/zero | tr "\0" w)" here/many/333
	chattr +i here/many/444
	chkfs-backup -q here/many >/dev/null
	chkfs-restore many there/many
	same here/many there/many
	[ "$(chkfs-cat-object many: | grep -c "xattr:user\\.n:")" = 70 ]
	[ "$(chkfs-cat-object many: | grep -c "ctime:")" = 700 ]
'
test_expect_success 'a value in a blob is found missing, and mktree wants it' '
	chkfs-fsck -q
	printf "./x type=file mode=0644 size=0 sha256digest=%s tags=xattr:user.x:@%064d\n" "$(chkfs-hash-object -w /dev/null)" 0 >entry
	test_expect_code 128 chkfs-mktree <entry 2>err
	grep -q "x.: no blob .0000" err
	tree=$(chkfs-mktree --missing <entry)
	chkfs-update-ref refs/backups/holey "$(chkfs-commit-snapshot -n holey "$tree")"
	test_expect_code 1 chkfs-fsck >report 2>&1
	grep -q "blob/0000.*named by a tag" report
	test_expect_code 3 chkfs-restore holey there/holey
	[ -e there/holey/x ]
	rm store/refs/backups/holey
'
test_expect_success 'times of access: with --atime, and where the source is mounted read-only' '
	touch -a -d @1234567890.5 here/src/dir/capable
	chkfs-backup -q --atime -n atime here/src >/dev/null
	chkfs-cat-object atime:dir | grep "^\\./capable " | grep -q "ctime:[0-9.]*,atime:1234567890\\.500000000,"
	test_must_fail grep -q atime tree
	mount -o remount,ro here
	chkfs-backup -q -n readonly here/src >/dev/null
	chkfs-cat-object readonly:dir | grep "^\\./capable " | grep -q ",atime:1234567890\\.500000000,"
	chkfs-cat-object "$(cat store/refs/backups/readonly)" | grep -q "^features .* atime "
	mount -o remount,rw here
	chkfs-restore readonly there/accessed
	[ "$(stat -c %.9X there/accessed/dir/capable)" = 1234567890.500000000 ]
'
test_expect_success 'where the target has none of it, that is counted and can be set later' '
	mkdir -p plain
	mount -t ramfs none plain 2>/dev/null || skip "no filesystem without extended attributes"
	touch plain/try
	! setfattr -n user.x -v x plain/try 2>/dev/null || skip "ramfs has extended attributes here"
	test_expect_code 3 chkfs-restore src plain/back 2>err
	grep -q "xattr could not be set" err
	grep -q "flags could not be set" err
	[ "$(cat plain/back/file)" = one ]
	cp -a plain/back there/later
	chkfs-apply-metadata plain/back.chkfs-missing.mtree there/later
	same here/src there/later
	chkfs-apply-metadata plain/back.chkfs-missing.mtree there/later
	same here/src there/later
'
test_expect_success 'without chkfs: restore.sh and tar give xattrs and lists back' '
	mkdir there/by-tar
	sh store/restore.sh tar src | tar -xpf - --xattrs --xattrs-include="*" --numeric-owner -C there/by-tar
	(cd here/src && getfattr -R -P -h -d -m - -e hex . | grep -v "^$") >a
	(cd there/by-tar && getfattr -R -P -h -d -m - -e hex . | grep -v "^$") >b
	sort a >c && sort b | cmp c -
'
chattr -R -i -a here/src there >/dev/null 2>&1
test_done
