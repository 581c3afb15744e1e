#!/bin/sh
# The golden stores of format 1, made once and kept for ever: chkfs, restore.sh and restore.py still restore them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
GOLDEN=$ROOT/tests/data/store-1

golden() { # CODEC: a copy in ./CODEC, with the scripts of this version
	cp -R "$GOLDEN/$1" . && cp "$ROOT/chkfs/written/restore.sh" "$ROOT/chkfs/written/restore.py" "$1/"
}
as_recorded() { # DIR NAME: it is what the record says; tar has no sockets
	{ listing "$1"; sums "$1"; } | grep -av '^\./socket s ' >got
	grep -av '^\./socket s ' "$GOLDEN/$2" | diff -a - got
}
codec() {
	CODEC=$1
	export CODEC
	case $1 in
	gzip) PROGRAM=gzip ;;
	none) PROGRAM='cat' ;;
	*) PROGRAM=$1 ;;
	esac
	export PROGRAM
}

for name in gzip bzip2 xz zstd none; do
	codec $name
	test_expect_success "$CODEC: chkfs restores it" '
		need_root
		[ $CODEC != zstd ] || python3 -c "import backports.zstd" || skip "there is no zstd for Python here"
		rm -rf $CODEC back special one
		golden $CODEC
		chkfs-restore -q --store $CODEC everything back
		{ listing back; sums back; } | diff -a "$GOLDEN/everything" -
		chkfs-restore -q --store $CODEC single one
		cmp one back/hello
		test_expect_code 3 chkfs-restore -q --store $CODEC special special 2>err
		cmp special/changed back/hello
		[ "$(readlink special/outer/inner/loop special/outer/inner/top)" = "$(printf "..\n../..")" ]
	'
	test_expect_success "$CODEC: chkfs says that all of it is whole" '
		[ $CODEC != zstd ] || python3 -c "import backports.zstd" || skip "there is no zstd for Python here"
		chkfs-list-objects --store $CODEC | cut -d " " -f 1 | sort -u >keys
		[ "$(wc -l <keys)" -ge 60 ]
		chkfs-cat-object --store $CODEC --batch <keys >out
		! grep -a " missing$" out || exit 1
	'
	for script in restore.sh restore.py; do
		SCRIPT=$script
		export SCRIPT
		test_expect_success "$CODEC: $SCRIPT restores it" '
			need_root
			need "$PROGRAM"
			rm -rf "$CODEC" back special
			golden $CODEC
			case $SCRIPT in *.py) run="python3 $CODEC/$SCRIPT" ;; *) run="sh $CODEC/$SCRIPT" ;; esac
			mkdir back special
			$run tar everything | tar -xpf - -C back
			as_recorded back everything
			test_expect_code 3 $run tar special >special.tar
			tar -xpf special.tar --xattrs --xattrs-include="*" -C special
			as_recorded special special
			$run tar single | tar -xOf - ./hello | cmp - back/hello
			$run check >out
			[ ! -s out ]
			need getfattr setfattr
			: >probe
			setfattr -n user.probe -v 1 probe 2>err || skip "this filesystem keeps no user xattrs"
			(cd special && find . | sort | xargs getfattr -h -d -m - -e hex) | diff "$GOLDEN/xattrs" -
		'
	done
done
test_expect_success 'the scripts that were written into a store then still do' '
	cp -R "$GOLDEN/gzip" then
	rm -rf gzip
	golden gzip
	for ref in everything special single; do
		sh then/restore.sh tar $ref >a 2>err || [ $? = 3 ]
		python3 then/restore.py tar $ref >b 2>err || [ $? = 3 ]
		cmp a b
		sh gzip/restore.sh tar $ref >b 2>err || [ $? = 3 ]
		cmp a b
	done
'
test_expect_success 'the same tree in every codec' '
	for codec in gzip bzip2 xz none; do
		[ -d $codec ] || golden $codec
		python3 $codec/restore.py tar everything | cksum
	done 2>err | sort -u >sums
	[ "$(wc -l <sums)" = 1 ]
'
test_done
