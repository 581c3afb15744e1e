#!/bin/sh
# Whom restored things belong to: --owner=numeric|keep|me|map:FILE.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

owners() (cd "$1" && find . -printf '%p %U %G %m\n' | sort)
line() { # NAME KEY MODE OWNER ...: one of a file
	name=$1 key=$2 mode=$3
	shift 3
	echo "./$name type=file mode=$mode $* size=2 time=1.000000000 sha256digest=$key"
}
test_expect_success 'a tree of somebody whose names have other numbers here' '
	need_root
	chkfs-init store
	echo a >content
	key=$(chkfs-hash-object -w content)
	{ line daemon "$key" 0644 uid=4001 gid=4002 uname=daemon gname=daemon
	line nobody "$key" 0600 uid=4003 gid=4004 uname=nobody gname=no-such-group-here
	line numbers "$key" 0644 uid=4005 gid=4006
	line program "$key" 6755 uid=4001 gid=4006 uname=daemon; } | chkfs-mktree >tree
	uid=$(id -u daemon) gid=$(getent group daemon | cut -d : -f 3) other=$(id -u nobody)
	echo "$uid $gid $other" >ids
'
restored() { # DIR EXPECTED-LINE ...
	owners "$1" | sed 1d >found
	shift
	printf "./%s\n" "$@" | cmp - found || { cat found; return 1; }
}
test_expect_success 'numeric, which is the default: the numbers that the drive knew' '
	need_root
	chkfs-checkout-tree -q "$(cat tree)" plain
	chkfs-checkout-tree -q --owner=numeric "$(cat tree)" numeric
	for dir in plain numeric; do
		restored $dir "daemon 4001 4002 644" "nobody 4003 4004 600" "numbers 4005 4006 644" "program 4001 4006 6755"
	done
'
test_expect_success 'keep: by name where there is one here, else by number' '
	need_root
	read -r uid gid other <ids
	chkfs-restore -q --owner=keep "$(cat tree)" keep
	restored keep "daemon $uid $gid 644" "nobody $other 4004 600" "numbers 4005 4006 644" "program $uid 4006 6755"
'
test_expect_success 'me: nobody else, without set-id bits' '
	need_root
	chkfs-restore -q --owner me "$(cat tree)" me
	restored me "daemon 0 0 644" "nobody 0 0 600" "numbers 0 0 644" "program 0 0 755"
	[ ! -e me.chkfs-missing.mtree ]
'
test_expect_success 'map: as the file says, in either way to name it' '
	need_root
	read -r uid gid other <ids
	printf "%s\n" "# the drive of somebody" "user:daemon 7001" "user:4005 nobody" "group:4004 daemon" "group:* 7002" >"a map"
	chkfs-restore -q --owner "map:a map" "$(cat tree)" one
	chkfs-restore -q --owner=map "a map" "$(cat tree)" two
	for dir in one two; do
		restored $dir "daemon 7001 7002 644" "nobody 4003 $gid 600" "numbers $other 7002 644" "program 7001 7002 6755"
	done
'
test_expect_success 'many files, by workers: the same' '
	need_root
	read -r uid gid other <ids
	mkdir many
	for n in $(seq 2500); do echo "$n" >"many/$n"; done
	chown -R daemon:daemon many
	chkfs-backup -q many
	printf "user:daemon nobody\n" >map
	chkfs-restore -q --owner=map:map many mapped
	[ "$(find mapped -user nobody -group daemon | wc -l)" = 2501 ]
	chkfs-restore -q --owner=keep many kept
	same_trees many kept
'
test_expect_success 'an ordinary user: me is all there, and nothing is missing' '
	need_other_user
	cp -a store theirs
	chown -R 65534 theirs
	mkdir -m 777 dir
	chmod 755 .
	setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent CHKFS_STORE="$SCRATCH/theirs" \
		chkfs-restore -q --owner=me many dir/there
	same_contents many dir/there
	[ "$(find dir -name "*missing*" | wc -l)" = 0 ]
'
test_expect_success 'what is missing is applied to whom --owner says, as the restore says' '
	need_other_user
	code=0
	setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent CHKFS_STORE="$SCRATCH/theirs" \
		chkfs-restore --owner=keep "$(cat tree)" dir/kept 2>err || code=$?
	[ "$code" = 3 ]
	sed -n "s/^chkfs-restore: to set what is missing, as root: //p" err >script
	grep -q "^chkfs-apply-metadata --owner keep " script
	sh -e script
	owners dir/kept >a
	owners keep | sed "1s/.*/$(sed -n 1p a)/" | cmp - a
'
test_expect_success 'what is no rule, or no map: 2 or 128, and nothing is made' '
	for rule in somebody map: ""; do
		[ -z "$rule" ] || test_expect_code 2 chkfs-restore --owner="$rule" "$(cat tree)" none 2>err
		[ -z "$rule" ] || grep -q "^chkfs-restore: --owner is numeric, keep, me, or map:FILE" err
	done
	test_expect_code 2 chkfs-restore --owner
	test_expect_code 2 chkfs-restore --owner map
	test_expect_code 128 chkfs-restore --owner map:none "$(cat tree)" none 2>err
	echo "nonsense" >bad
	test_expect_code 2 chkfs-restore --owner map:bad "$(cat tree)" none 2>err
	grep -q "line 1 of the map" err
	[ ! -e none ]
'
test_done
