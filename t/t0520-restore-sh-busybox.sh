#!/bin/sh
# A chroot with busybox-static and nothing else, the store bind-mounted read-only: all of a snapshot comes back.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
GOLDEN=$ROOT/tests/data/store-1

within() { # WORD ...: chroot to where there is only busybox, and the store
	chroot bare /bin/sh -c 'cd / && export TMPDIR=/work && "$@"' sh "$@"
}
into() { # REF: into /out, within
	within sh -c "rm -rf /out && mkdir /out && { sh /store/restore.sh tar $1; echo \$? >/status; } | tar -xpf - -C /out"
}
codec() { # CODEC: its golden store becomes bare/store, read-only
	umount bare/store 2>/dev/null || true
	rm -rf golden
	cp -R "$GOLDEN/$1" golden
	cp "$ROOT/chkfs/written/restore.sh" golden/
	mount --bind golden bare/store
	mount -o remount,ro,bind bare/store
}
# busybox tar drops fractions of seconds, times before 1970, the times and owners of symlinks, and makes hard links at
# the very end, so that the directories they are in have the time of that.
busybox_holds() {
	grep -av '^\./socket s ' | LC_ALL=C sed -E \
		-e 's/ -[0-9]+\.[0-9]+/ BEFORE/' -e 's/(\.[0-9]{9})[0-9]( |$)/\1\2/' -e 's/([0-9])\.[0-9]{9}( |$)/\1\2/' \
		-e 's/^(.* l [0-9]+) [0-9]+ [0-9]+ ([0-9]+ [0-9]+) [0-9]+ /\1 OWNER \2 TIME /' \
		-e 's/^((\.|\.\/sub|.*-name-8) d [0-9]+ [0-9]+ [0-9]+) .*/\1 TIME/'
}
as_recorded() { # NAME: is that in bare/out?
	busybox_holds <"$GOLDEN/$1" >wanted
	{ listing bare/out; sums bare/out; } | busybox_holds | diff -a wanted -
}

[ "$(id -u)" -eq 0 ] || skip_all 'this needs root'
command -v busybox >/dev/null || skip_all 'there is no busybox here'
BUSYBOX=$(command -v busybox)
mkdir -p bare/bin bare/store bare/work && cp "$BUSYBOX" bare/bin/busybox || exit
chroot bare /bin/busybox true 2>/dev/null || skip_all 'this busybox is not static, or chroot is not allowed here'
chroot bare /bin/busybox --install -s /bin
mkdir try || exit
mount --bind try try 2>/dev/null || skip_all 'mount --bind is not allowed here'
umount try

test_expect_success 'there is nothing else' '
	[ "$(find bare -type f)" = bare/bin/busybox ]
	[ ! -e bare/dev ]
'
for name in gzip bzip2 xz none; do
	CODEC=$name
	export CODEC
	test_expect_success "$CODEC: list, ls, cat" '
		codec $CODEC
		within sh /store/restore.sh list >out
		[ "$(wc -l <out)" = 3 ]
		within sh /store/restore.sh ls everything >out
		grep -qx -- "-rw-r--r--  12345  54321            6 1969-12-31 23:59:58 hello" out
		[ "$(within sh /store/restore.sh cat everything:hello)" = hello ]
		within sh /store/restore.sh cat everything:listed >out
		grep -aqx "$(sha256sum <out | cut -c -64)  \\./listed" "$GOLDEN/everything"
		umount bare/store
	'
	test_expect_success "$CODEC: tar into a directory: files, names, modes, owners, links, devices and times" '
		codec $CODEC
		into everything 2>err
		[ "$(cat bare/status)" = 0 ]
		as_recorded everything
		[ -z "$(ls bare/work)" ]
		umount bare/store
	'
	test_expect_success "$CODEC: check" '
		codec $CODEC
		within sh /store/restore.sh check >out 2>err
		[ ! -s out ]
		umount bare/store
	'
done
whole_seconds() { # busybox touch knows no fractions
	grep -av '^\./socket s ' | LC_ALL=C sed -E 's/ (-?[0-9]+)\.[0-9]{10}( |$)/ \1\2/'
}
test_expect_success 'times: what busybox tar has no way to do, owners of symlinks and the times of everything' '
	codec gzip
	into everything 2>err
	within sh -c "sh /store/restore.sh times everything | (cd /out && sh)"
	whole_seconds <"$GOLDEN/everything" >wanted
	{ listing bare/out; sums bare/out; } | whole_seconds | diff -a wanted -
	into special 2>err
	within sh -c "sh /store/restore.sh times special | (cd /out && sh -e)"
	umount bare/store
'
test_expect_success 'unread entries, recursion, the snapshot of a file' '
	codec gzip
	into special 2>err
	[ "$(cat bare/status)" = 3 ]
	[ -e bare/out/unread.chkfs-unread ]
	[ "$(readlink bare/out/outer/inner/loop bare/out/outer/inner/top)" = "$(printf "..\n../..")" ]
	into single
	[ "$(cat bare/out/hello)" = hello ]
	umount bare/store
'
test_expect_success 'zstd: what is missing and how to get it; the snapshots are listed' '
	codec zstd
	test_expect_code 3 within sh /store/restore.sh tar everything >out 2>err
	grep -q "there are .zst files in this store, and no program .zstd. here to unpack them" err
	grep -q "apt install zstd" err
	! grep "the index of" err || exit 1
	test_expect_code 3 within sh /store/restore.sh times everything >out 2>err
	grep -q "cannot be listed" err
	within sh /store/restore.sh list >out 2>err
	[ "$(wc -l <out)" = 3 ]
	umount bare/store
'
test_expect_success 'no index, no refs' '
	codec gzip
	umount bare/store
	rm -rf golden/refs golden/packs/*.index
	mount --bind golden bare/store
	mount -o remount,ro,bind bare/store
	within sh /store/restore.sh list >out 2>err
	key=$(grep "	everything	" out | cut -f 1)
	into "$key" 2>err
	[ "$(cat bare/status)" = 0 ]
	as_recorded everything
	umount bare/store
'
test_done
