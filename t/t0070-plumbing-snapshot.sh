#!/bin/sh
# Plumbing alone: hash, make trees, commit, move a ref; and the porcelain shows and restores what came of it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

test_expect_success 'objects, a tree below, a tree above, a snapshot, a ref' '
	chkfs-init store
	hello=$(echo hello | chkfs-hash-object -w --stdin)
	inner=$(echo inner | chkfs-hash-object -w --stdin)
	below=$(echo "./inner type=file mode=0640 uid=0 gid=0 size=6 time=1.000000002 sha256digest=$inner" | chkfs-mktree)
	above=$(chkfs-mktree <<-END
	./sub type=dir mode=0750 uid=0 gid=0 time=3.000000000 tags=tree:$below
	./hello type=file mode=0600 uid=0 gid=0 size=6 time=1000000000.000000000 sha256digest=$hello
	./link type=link mode=0777 uid=0 gid=0 time=5.000000000 link=hello
	END
	)
	snapshot=$(chkfs-commit-snapshot -n hand -m "made by hand" -m "and by nobody else" "$above")
	chkfs-update-ref refs/tags/hand "$snapshot" ""
	echo "$snapshot" | cmp - store/refs/tags/hand
'
test_expect_success 'chkfs-ls shows it' '
	chkfs-ls -r hand >out
	printf "hello\nlink\nsub\nsub/inner\n" | cmp - out
	[ "$(chkfs-ls hand:sub)" = inner ]
	TZ=UTC chkfs-ls -l hand:hello >out
	grep -qE "^-rw------- .* 6 2001-09-09 01:46:40 hello$" out
'
test_expect_success 'chkfs-log shows it' '
	chkfs-log hand >out
	grep -qx "    made by hand" out
	grep -qx "    and by nobody else" out
'
test_expect_success 'chkfs-restore restores it' '
	need_root
	chkfs-restore -q hand there
	[ "$(cat there/hello there/sub/inner)" = "$(printf "hello\ninner")" ]
	[ "$(stat -c "%a %Y" there/hello there/sub there/sub/inner)" = "$(printf "600 1000000000\n750 3\n640 1")" ]
	[ "$(readlink there/link)" = hello ]
'
test_expect_success 'write-tree --draft | commit-snapshot | update-ref is what chkfs-backup does' '
	mkdir src
	echo a >src/a
	first=$(chkfs-write-tree --draft -q src | chkfs-commit-snapshot -n src -m hello)
	chkfs-update-ref refs/backups/src "$first" ""
	chkfs-backup -q src >out
	printf "%s\trefs/backups/src\n" "$(cat store/refs/backups/src)" | cmp - out
	chkfs-rev-list src | tail -n 1 | grep -qx "$first"
	[ "$(chkfs-rev-parse src:)" = "$(chkfs-rev-parse src~1:)" ]
	strip() { chkfs-cat-object "$1" | grep -v "^started\\|^finished\\|^parent\\|^$\\|^hello"; }
	strip src >a
	strip src~1 | diff - a
'
test_expect_success 'commit-snapshot: the tree by any name; of a snapshot, its root' '
	[ "$(chkfs-rev-parse "$(chkfs-commit-snapshot src):")" = "$(chkfs-rev-parse src:)" ]
	[ "$(chkfs-rev-parse "$(chkfs-commit-snapshot hand:sub):inner")" = "$(chkfs-rev-parse hand:sub/inner)" ]
'
test_expect_success 'commit-snapshot SNAPSHOT:PATH: the root has the mode, owner and time of that directory' '
	chkfs-cat-object "$(chkfs-commit-snapshot hand:sub)" | grep "^root \\. type=dir mode=0750 .* time=3\\.000000000 "
'
test_expect_success 'commit-snapshot: the same parent twice is one, and the order stays' '
	key=$(chkfs-commit-snapshot -p src -p hand -p src src)
	chkfs-cat-object "$key" | grep "^parent " >out
	printf "parent %s\nparent %s\n" "$(chkfs-rev-parse src)" "$(chkfs-rev-parse hand)" | cmp - out
'
test_expect_success 'commit-snapshot refuses what is none, and what the store does not have' '
	for text in "" "hello\n" "chkfs-snapshot 1\n" "chkfs-snapshot 2\nroot . type=dir\n" \
		"chkfs-snapshot 1\nroot . type=dir mode=0755\n\n" "chkfs-snapshot 1\nroot ./x type=fifo mode=0755\n\n" \
		"chkfs-snapshot 1\nroot . type=dir mode=0755 tags=tree:x\n\n" "\000\377"; do
		printf "$text" | test_expect_code 128 chkfs-commit-snapshot >out 2>err
		[ ! -s out ]
		[ "$(wc -l <err)" = 1 ]
	done
	none=$(echo none | sha256sum | cut -c 1-64)
	chkfs-write-tree -q --draft src | sed "s/tree:.*/tree:$none/" | test_expect_code 128 chkfs-commit-snapshot 2>err
	grep -q "no tree .$none. in the store" err
	test_expect_code 128 chkfs-commit-snapshot none
	test_expect_code 128 chkfs-commit-snapshot -p none src
	test_expect_code 2 chkfs-commit-snapshot -p "$(chkfs-rev-parse src:)" src
'
test_expect_success 'commit-snapshot -u: a note when another drive is mounted at the same place' '
	chkfs-write-tree -q --draft src | sed "/^mount/d" >draft
	commit() { # UUID DEVICE
		sed "s|^features|mount path=. type=vfat device=$2 uuid=$1\\n&|" draft | chkfs-commit-snapshot -u -n drive 2>err
	}
	commit 1234-5678 /dev/sdb1 && [ ! -s err ]
	commit 1234-5678 /dev/sdc1 && [ ! -s err ]
	commit ABCD-EF00 /dev/sdb1
	grep -q "note: refs/backups/drive was of another filesystem so far, UUID 1234-5678, not ABCD-EF00; -n NAME" err
	commit 11112222 tmpfs && [ ! -s err ] # that is another at each mount
	chkfs-commit-snapshot -u -n drive <draft 2>err && [ ! -s err ]
'
test_expect_success 'commit-snapshot: what is no draft is called that' '
	test_expect_code 128 chkfs-commit-snapshot 2>err
	grep -q "standard input is not a draft of chkfs-write-tree --draft" err
'
test_expect_success 'a message of several lines, in other letters, with an empty line first' '
	message=$(printf "\nGr\303\274\303\237e\n  indented\n\nend")
	key=$(chkfs-commit-snapshot -m "$message" src)
	chkfs-cat-object "$key" | tail -n 5 >out
	printf "%s\n" "$message" | cmp - out
	chkfs-update-ref refs/tags/message "$key"
	chkfs-log message | grep -q "      indented"
'
test_expect_success 'list-objects and count-objects: every object once' '
	chkfs-list-objects >out
	[ "$(sort -u out | wc -l)" = "$(wc -l <out)" ]
	grep -qx "$(chkfs-rev-parse hand:sub) tree" out
	grep -qx "$(chkfs-rev-parse hand) snapshot" out
	grep -qx "$(chkfs-rev-parse hand:hello) blob" out
	chkfs-list-objects --type tree >trees
	grep " tree$" out | cmp - trees
	chkfs-list-objects --sizes --type blob | grep -qx "$(chkfs-rev-parse hand:hello) blob 6"
	chkfs-list-objects -z | tr "\0" "\n" | cmp - out
	chkfs-count-objects >count
	grep -qx "packs: [0-9]*" count
	[ "$(grep -E "^(packed|loose)-(blob|tree|snapshot)s: " count | awk "{ n += \$2 } END { print n }")" = "$(wc -l <out)" ]
	test_expect_code 2 chkfs-list-objects --type file
'
test_done
