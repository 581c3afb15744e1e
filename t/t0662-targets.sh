#!/bin/sh
# Restoring to filesystems that hold less than everything: said before, renamed by rule, listed, and applied later.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

image() { # DIR "MAKE-PROGRAM ..." "MOUNT-PROGRAM ...": a new filesystem at DIR
	need_root
	need "${2%% *}" "${3%% *}" losetup
	[ -e /dev/fuse ] || skip 'there is no FUSE here'
	truncate -s 60M "$1.img"
	mkdir "$1"
	$2 "$1.img" >/dev/null 2>&1
	loop=$(losetup -f --show "$1.img") || skip 'there are no loop devices here'
	$3 "$loop" "$SCRATCH/$1" >/dev/null || { losetup -d "$loop"; skip "${3%% *} cannot mount here"; }
	losetup -d "$loop" # as soon as it is not mounted any more
}
mark() { printf %s "$1" | sha256sum | cut -c 1-8; }

test_expect_success 'a directory of names that not everybody takes, and of all types' '
	chkfs-init store
	mkdir -p src/Sub src/sub
	for name in README readme "a:b" "a%3Ab" "q?" plain; do echo "$name" >"src/$name"; done
	echo latin >"src/$(printf "M\374ller")"
	echo new >"src/$(printf "new\nline")"
	echo upper >src/Sub/x
	echo lower >src/sub/x
	ln src/plain src/Sub/hard
	ln -s sub/x src/link
	mkfifo src/sub/fifo
	touch -d "2001-09-09 01:46:41.123456789" src/README src/sub
	chmod 4711 src/plain
	chkfs-backup -q src
'
test_expect_success 'an ordinary target: nothing said, nothing left, no name changed' '
	mkdir dest
	chkfs-restore src dest 2>err
	[ "$(wc -l <err)" = 1 ]
	same_trees src dest
	[ "$(echo dest*)" = dest ]
'
test_expect_success 'what a dead run left of its trials does not keep one from restoring' '
	mkdir -p again/.chkfs-probe-0a1b2c3d
	touch again/.chkfs-probe-0a1b2c3d/f
	chkfs-restore -q src again
	same_trees src again
	mkdir -p kept/.chkfs-probe-0a1b2c3d
	touch kept/precious
	test_expect_code 128 chkfs-restore -q src kept
	[ -e kept/.chkfs-probe-0a1b2c3d ]
'
test_expect_success 'ordinary targets cost no look at the trees: the trials are a handful of calls' '
	need strace
	strace -f -o trace -e trace=mkdirat,mkdir,openat,symlinkat,linkat,mknodat chkfs-restore -q src traced
	grep -c "chkfs-probe" trace >count
	[ "$(cat count)" -le 3 ]
'

test_expect_success 'exFAT: what it cannot hold is said before anything is written, and names are changed by rule' '
	image exfat mkfs.exfat mount.exfat-fuse
	test_expect_code 3 chkfs-restore src exfat/there 2>err
	cat >expected <<-END
	chkfs-restore: the target cannot hold 1 fifos: left out
	chkfs-restore: the target cannot hold 2 hard links: each name gets a copy
	chkfs-restore: the target cannot hold 14 modes: they are not set
	chkfs-restore: the target cannot hold 6 names: they get others
	chkfs-restore: the target cannot hold 1 symbolic links: left out
	END
	sed "/ times: /d" err | head -n 5 | cmp expected -
	grep -qxF "chkfs-restore: '\''readme'\'' restored as '\''readme~$(mark readme)'\'': to the target it is the same as '\''README'\''" err
	grep -qxF "chkfs-restore: '\''link'\'' not restored: the target cannot hold it" err
	ls exfat/there >names
	cat >expected <<-END
	M%FCller
	README
	Sub
	a%3Ab
	a%3Ab~$(mark a:b)
	new%0Aline
	plain
	q%3F
	readme~$(mark readme)
	sub~$(mark sub)
	END
	cmp expected names
	[ "$(cat "exfat/there/readme~$(mark readme)")" = readme ]
	[ "$(cat "exfat/there/sub~$(mark sub)/x")" = lower ]
	cmp src/plain exfat/there/Sub/hard
	[ -e exfat/there.chkfs-missing.mtree ]
'
test_expect_success 'exFAT: the same names each time' '
	[ -s names ] || skip "there is no exFAT here"
	chkfs-restore -q src exfat/second 2>/dev/null || [ $? = 3 ]
	ls exfat/second | cmp names -
'
test_expect_success 'exFAT: copied to a filesystem that holds it, and applied there, all is equal' '
	[ -s names ] || skip "there is no exFAT here"
	cp -r exfat/there back
	chkfs-apply-metadata -q exfat/there.chkfs-missing.mtree back
	same_trees src back
	rsync -aHAXn -i --checksum --delete src/ back/ >difference
	[ ! -s difference ]
'
test_expect_success 'exFAT: --on-collision=skip leaves them out, says so, and lists them' '
	[ -s names ] || skip "there is no exFAT here"
	test_expect_code 3 chkfs-restore --on-collision=skip src exfat/skipped 2>err
	ls exfat/skipped >names.skipped
	printf "README\nSub\na%%3Ab\nplain\n" | cmp - names.skipped
	grep -q "cannot hold 6 names: left out" err
	grep -qxF "chkfs-restore: '\''sub'\'' not restored: to the target it is the same as '\''Sub'\''" err
	grep -q "^\./readme .*missing:entry$" exfat/skipped.chkfs-missing.mtree
	cp -r exfat/skipped back.skipped
	chkfs-apply-metadata -q exfat/skipped.chkfs-missing.mtree back.skipped 2>err || [ $? = 3 ]
	[ "$(wc -l <err)" = 2 ]
	grep -q "'\''sub'\'': is not there, nor is what it held" err
	[ "$(cat back.skipped/readme)" = readme ]
'
test_expect_success 'exFAT: --on-collision=fail writes nothing, and names the first' '
	[ -s names ] || skip "there is no exFAT here"
	mkdir exfat/refused
	test_expect_code 128 chkfs-restore --on-collision=fail src exfat/refused 2>err
	[ "$(wc -l <err)" = 1 ]
	grep -q "cannot be restored: .*--on-collision=rename gives it another name" err
	[ -z "$(ls -A exfat/refused)" ]
	chkfs-restore -q --on-collision=fail src:Sub exfat/refused || [ $? = 3 ]
	[ "$(cat exfat/refused/x)" = upper ]
	test_expect_code 128 chkfs-restore --on-collision=fail src exfat/notmade
	[ ! -e exfat/notmade ]
'
test_expect_success 'exFAT: what one file, or applying the list, cannot have set there is said, too' '
	[ -s names ] || skip "there is no exFAT here"
	test_expect_code 3 chkfs-restore -q src:plain exfat/plain 2>err
	grep -q "mode could not be set 1 time " err
	grep -q "^\. type=file .*missing:mode" exfat/plain.chkfs-missing.mtree
	test_expect_code 3 chkfs-apply-metadata -q exfat/plain.chkfs-missing.mtree exfat/plain 2>err
	grep -q "mode not set: " err
	cp exfat/plain alone
	chkfs-apply-metadata -q exfat/plain.chkfs-missing.mtree alone
	[ "$(stat -c "%a %y" alone)" = "$(stat -c "%a %y" src/plain)" ]
'
test_expect_success 'exFAT: --on-collision takes three words' '
	test_expect_code 2 chkfs-restore --on-collision=ask src there 2>err
	test_expect_code 2 chkfs-restore --on-collision
	test_expect_code 2 chkfs-checkout-tree --on-collision ask src there
	[ ! -e there ]
'
test_expect_success 'ntfs-3g: names that are no UTF-8 get others, the rest is held but modes and exact times' '
	image ntfs "mkntfs -F -q" ntfs-3g
	test_expect_code 3 chkfs-restore src ntfs/there 2>err
	grep -q "cannot hold 1 names: they get others" err
	grep -q "cannot hold .* modes: they are not set" err
	[ "$(cat ntfs/there/M%FCller)" = latin ]
	[ "$(cat ntfs/there/readme)" = readme ]
	[ "$(readlink ntfs/there/link)" = sub/x ]
	[ "$(stat -c %i ntfs/there/plain)" = "$(stat -c %i ntfs/there/Sub/hard)" ]
	[ -p ntfs/there/sub/fifo ]
	cp -a ntfs/there back.ntfs
	chkfs-apply-metadata -q ntfs/there.chkfs-missing.mtree back.ntfs
	same_trees src back.ntfs
'
test_expect_success 'NTFS that does not tell capitals: names are told apart for it' '
	need lowntfs-3g
	image low "mkntfs -F -q" "lowntfs-3g -o ignore_case"
	test_expect_code 3 chkfs-restore src low/there 2>err
	grep -q "does not keep which letters of names are capitals" err
	[ "$(cat "low/there/readme~$(mark readme)")" = readme ]
	[ "$(cat "low/there/sub~$(mark sub)/x")" = lower ]
	[ "$(cat low/there/sub/x)" = upper ]
'
test_expect_success 'restored as an ordinary user to a filesystem mounted for all: the same names' '
	need setpriv
	image user mkfs.exfat mount.exfat-fuse
	cp -a store user.store
	chown -R 65534:65534 user.store
	chmod 755 .
	code=0
	setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent CHKFS_STORE="$SCRATCH/user.store" \
		chkfs-restore -q src user/there 2>err || code=$?
	[ "$code" = 3 ] || { cat err; exit 1; }
	ls user/there | cmp names -
'
test_done
