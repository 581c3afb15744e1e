#!/bin/sh
# chkfs-init: what a new store holds, and what it does not touch.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

test_expect_success 'a new store: silence, and everything that the README names' '
	chkfs-init new >out 2>&1
	[ ! -s out ]
	for name in README config objects packs refs/backups refs/tags logs incoming; do [ -e "new/$name" ]; done
	grep -q "You need no chkfs" new/README
	[ -z "$(find new -type d ! -perm 700)" ]
	[ -z "$(find new -type f -perm /077)" ]
'
test_expect_success 'the config is that of format 1, with an id of its own' '
	grep -qx "	format = 1" new/config
	grep -qxE "	id = [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}" new/config
	grep -qx "	compression = gzip" new/config
	grep -qx "	chunker = fastcdc-2020" new/config
	chkfs-init other
	[ "$(grep "id =" new/config)" != "$(grep "id =" other/config)" ]
'
test_expect_success 'the config is one that git can read' '
	need git
	[ "$(git config -f new/config store.format)" = 1 ]
	[ "$(git config -f new/config write.compression)" = gzip ]
'
test_expect_success 'a store that is one already stays as it is, down to its inodes and times' '
	find new -printf "%p %i %m %T@ %C@\n" >before
	chkfs-init new 2>err
	chkfs-init --compression xz new 2>err
	grep -q "is a store already: nothing changed$" err
	find new -printf "%p %i %m %T@ %C@\n" | diff before -
'
test_expect_success 'what explains a store is written anew where it is altered or missing, and that is said' '
	chkfs-init old
	echo altered >old/README
	rm old/restore.py
	chkfs-init old 2>err
	grep -q "is a store already: README, restore.py written anew$" err
	cmp old/README new/README
	cmp old/restore.py new/restore.py
	[ "$(cat "old/README.$(echo altered | sha256sum | cut -c -12)")" = altered ]
'
test_expect_success 'every codec, and no other' '
	for codec in none gzip bzip2 xz zstd; do
		chkfs-init --compression $codec "with-$codec"
		grep -qx "	compression = $codec" "with-$codec/config"
	done
	test_expect_code 2 chkfs-init --compression lzop with-lzop 2>err
	grep -q "^usage: chkfs-init" err
	[ ! -e with-lzop ]
'
test_expect_success 'where: DIR, else --store, else $CHKFS_STORE or here' '
	chkfs-init --store by-option
	[ -e by-option/config ]
	mkdir here
	(cd here && chkfs-init)
	[ -e here/config ]
	chkfs-init --store not-this this
	[ -e this/config ]
	[ ! -e not-this ]
'
test_expect_success '$CHKFS_STORE names the store that chkfs init makes' '
	mkdir cwd
	(cd cwd && CHKFS_STORE=$SCRATCH/by-environment chkfs-init)
	[ -e by-environment/config ]
	[ ! -e cwd/config ]
'
test_expect_success 'parents are made, and a trailing slash, spaces and other bytes do not matter' '
	chkfs-init a/b/c/
	[ -e a/b/c/config ]
	name=$(printf "sp ace\nnew\377")
	chkfs-init "$name"
	[ -e "$name/config" ]
	chkfs-count-objects --store "$name" >out
	chkfs-init -- -dash
	[ -e ./-dash/config ]
'
test_expect_success 'an empty directory becomes a store, and is closed to others' '
	mkdir empty
	chmod 755 empty
	chkfs-init empty
	[ -e empty/config ]
'
test_expect_success 'a directory with something in it is refused, and stays as it was' '
	mkdir full
	echo precious >full/file
	test_expect_code 128 chkfs-init full 2>err
	grep -q "is not empty" err
	[ "$(ls full)" = file ]
'
test_expect_success 'a file, and a place that cannot be: 128 and one line that says why' '
	echo x >file
	for place in file file/below /proc/no/store; do
		test_expect_code 128 chkfs-init "$place" 2>err
		[ "$(wc -l <err)" -eq 1 ]
		grep -q "^chkfs-init: cannot make a store in" err
	done
'
test_expect_success 'an init that was cut short is completed by the next' '
	chkfs-init whole
	rm whole/config
	chkfs-init whole
	chkfs-count-objects --store whole >out
'
test_expect_success 'a store of a format that is not known is refused, and says so' '
	chkfs-init later
	sed -i "s/format = 1/format = 2/" later/config
	test_expect_code 128 chkfs-count-objects --store later 2>err
	grep -q "has format 2" err
	test_expect_code 128 chkfs-init later
'
test_expect_success 'several at once make one store' '
	for n in 1 2 3 4; do chkfs-init race >out 2>&1 & done
	wait
	mkdir src
	chkfs-backup -q --store race src
	grep -c "id =" race/config | grep -qx 1
'
test_expect_success 'several at once, many times: all succeed' '
	for round in 1 2 3 4 5; do
		for n in 1 2 3 4; do (chkfs-init race$round >out 2>&1 || : >failed) & done
		wait
	done
	[ ! -e failed ]
'
test_done
