#!/bin/sh
# make backup: a first backup, of whatever directory to whatever store.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
command -v make >/dev/null || skip_all 'there is no make here'
unset MAKEFLAGS

mkdir venv && : >venv/ready # nothing is to be set up: the commands run where these tests find them
make_backup() { make -s -C "$ROOT" VENV="$SCRATCH/venv" backup "$@"; }

test_expect_success 'it makes the store, and says how to get at it' '
	mkdir photos
	echo hi >photos/note
	make_backup FROM="$SCRATCH/photos" TO="$SCRATCH/store" >out
	grep "^  export " out >way
	. ./way
	[ "$(chkfs cat-object photos:note)" = hi ]
'
test_expect_success 'a second one goes to the same store' '
	echo more >photos/more
	make_backup FROM="$SCRATCH/photos" TO="$SCRATCH/store" >out
	[ "$(chkfs-rev-list --store store photos | wc -l)" = 2 ]
'
test_expect_success 'names with quotes, dollars and spaces' '
	for name in "a\"b" "a\$HOME" "\$(shell touch made)" "\`touch made\`" "it'\''s; a  b" "a#b\\" "100%"; do
		mkdir "$name" "$name/of"
		echo "$name" >"$name/of/note"
		make_backup FROM="$SCRATCH/$name/of" TO="$SCRATCH/$name/store" >out
		grep "^  export " out >way
		(. ./way && chkfs cat-object of:note) | cmp - "$name/of/note"
	done
	[ ! -e made ]
	[ ! -e "$ROOT/made" ]
'
test_expect_success 'FROM and TO are both needed' '
	test_expect_code 2 make_backup FROM="$SCRATCH/photos" 2>err
	grep "^make backup FROM=DIR TO=STORE$" err
	test_expect_code 2 make_backup TO="$SCRATCH/nowhere" 2>err
	[ ! -e nowhere ]
'
test_done
