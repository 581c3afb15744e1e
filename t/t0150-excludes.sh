#!/bin/sh
# What a backup leaves out.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

has() { # the newest snapshot of src holds exactly these paths (directories as well)
	printf '%s\n' "$@" | sort >expect
	chkfs-ls-tree -r --name-only src | sort | diff expect -
}

test_expect_success 'a source' '
	chkfs-init store
	mkdir -p src/sub/deep src/cache
	for name in a.o b.c sub/c.o sub/d.c sub/deep/e.o cache/f; do echo "$name" >"src/$name"; done
'
test_expect_success '--exclude: a name anywhere, a path from the top, a directory, several' '
	chkfs-backup -q --exclude "*.o" src
	has b.c cache cache/f sub sub/d.c sub/deep
	chkfs-backup -q --exclude "/a.o" --exclude cache/ src
	has b.c sub sub/c.o sub/d.c sub/deep sub/deep/e.o
	chkfs-backup -q --exclude "sub/*" src
	has a.o b.c cache cache/f sub
	chkfs-backup -q --exclude "/sub/**/e.o" --exclude="a.o" src
	has b.c cache cache/f sub sub/c.o sub/d.c sub/deep
'
test_expect_success 'a pattern with a bang brings back what an earlier one left out' '
	chkfs-backup -q --exclude "*.o" --exclude "!c.o" src
	has b.c cache cache/f sub sub/c.o sub/d.c sub/deep
'
test_expect_success 'a pattern with spaces, quotes, dollars is one pattern and no command' '
	echo x >"src/a b.o"
	echo x >"src/it'\''s"
	echo x >"src/\$(id)"
	chkfs-backup -q --exclude "a b.o" --exclude "it'\''s" --exclude "\$(id)" --exclude "*.o" src
	has b.c cache cache/f sub sub/d.c sub/deep
	rm "src/a b.o" "src/it'\''s" "src/\$(id)"
'
test_expect_success 'a pattern that ends in a newline, or holds one, breaks nothing' '
	chkfs-backup -q --exclude "*.c
" src
	has a.o cache cache/f sub sub/c.o sub/deep sub/deep/e.o
'
test_expect_success '--exclude-from: patterns, comments, empty lines, several files' '
	printf "# objects\n*.o\n\n!c.o\n" >patterns
	echo cache >"more patterns"
	chkfs-backup -q --exclude-from patterns --exclude-from "more patterns" src
	has b.c sub sub/c.o sub/d.c sub/deep
'
test_expect_success '--exclude-from a file that is not there: 2, and no snapshot' '
	chkfs-rev-parse src >before
	test_expect_code 2 chkfs-backup -q --exclude-from none src 2>err
	grep -q "cannot read patterns from .none.: No such file" err
	chkfs-rev-parse src | cmp before -
'
test_expect_success '-x and excludes do not change what the next backup without them holds' '
	chkfs-backup -q src
	has a.o b.c cache cache/f sub sub/c.o sub/d.c sub/deep sub/deep/e.o
	sleep 1
	chkfs-backup -q --exclude "*.o" src
	chkfs-backup -q src
	has a.o b.c cache cache/f sub sub/c.o sub/d.c sub/deep sub/deep/e.o
	chkfs-backup -q --exclude "*.o" src
	has b.c cache cache/f sub sub/d.c sub/deep
'
test_expect_success '--exclude-caches: of a tagged directory only the tag is kept' '
	printf "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n" >src/cache/CACHEDIR.TAG
	mkdir src/cache/below
	printf "Signature: something else\n" >src/sub/CACHEDIR.TAG
	chkfs-backup -q --exclude-caches src
	has a.o b.c cache cache/CACHEDIR.TAG sub sub/CACHEDIR.TAG sub/c.o sub/d.c sub/deep sub/deep/e.o
	chkfs-backup -q src
	has a.o b.c cache cache/CACHEDIR.TAG cache/below cache/f sub sub/CACHEDIR.TAG sub/c.o sub/d.c sub/deep sub/deep/e.o
'
test_expect_success 'excluding everything leaves an empty directory' '
	chkfs-backup -q --exclude "*" src
	[ -z "$(chkfs-ls-tree -r src)" ]
'
test_expect_success 'excluding works on names of any bytes' '
	mkdir odd
	echo x >"odd/$(printf "latin\374.o")"
	echo x >"odd/$(printf "new\nline.o")"
	echo x >"odd/$(printf "Gr\303\274n.c")"
	chkfs-backup -q --exclude "*.o" odd
	[ "$(chkfs-ls odd | wc -l)" = 1 ]
	chkfs-backup -q --exclude "$(printf "Gr\303\274n*")" --exclude "$(printf "latin\374.o")" odd
	[ "$(chkfs-ls odd | wc -l)" = 1 ]
'
test_expect_success 'a hard link whose first name is excluded' '
	mkdir hard
	echo x >hard/a
	ln hard/a hard/b
	ln hard/a hard/c
	chkfs-backup -q --exclude a hard
	chkfs-restore -q hard hard.back
	[ "$(cat hard.back/b hard.back/c)" = "$(printf "x\nx")" ]
	[ "$(stat -c %i hard.back/b)" = "$(stat -c %i hard.back/c)" ]
'
test_expect_success '-x stays on one filesystem; without it the other one is stored, and said' '
	need_root
	need mount
	mkdir -p disk/mnt disk/local
	echo here >disk/local/f
	mount -t tmpfs none disk/mnt 2>err || skip "mounting a tmpfs is not allowed here"
	echo there >disk/mnt/f
	chmod 751 disk/mnt
	chkfs-backup -x disk >out 2>err1
	chkfs-ls-tree -r --name-only disk >names1
	chkfs-cat-object disk >text1
	chkfs-backup disk >out 2>err2
	chkfs-ls-tree -r --name-only disk >names2
	chkfs-cat-object disk >text2
	chkfs-backup -q disk/mnt >out
	umount disk/mnt
	printf "local\nlocal/f\nmnt\n" | diff - names1
	printf "local\nlocal/f\nmnt\nmnt/f\n" | diff - names2
	grep -q "mnt. is a tmpfs mount: not entered" err1
	grep -q "mnt. is a tmpfs mount: entered" err2
	grep -q "^mount path=mnt type=tmpfs .* skipped=yes$" text1
	grep "^mount path=mnt type=tmpfs " text2 | grep -v skipped
	[ "$(chkfs-ls mnt)" = f ]
	chkfs-restore -q disk disk.back
	[ "$(stat -c %a disk.back/mnt)" = 751 ]
	[ "$(cat disk.back/mnt/f)" = there ]
'
test_expect_success 'a store inside the source is left out with a note, also from within and by another path' '
	mkdir -p mine/docs
	echo d >mine/docs/d
	chkfs-init mine/backups
	chkfs-backup --store mine/backups mine >out 2>err
	grep -q "backups. is the store itself: left out" err
	[ "$(chkfs-ls-tree --store mine/backups -r --name-only mine)" = "$(printf "docs\ndocs/d")" ]
	ln -s mine/backups to-store
	chkfs-backup --store to-store mine >out 2>err
	grep -q "backups. is the store itself: left out" err
	(cd mine/backups && chkfs-backup --store . .. >out 2>err && rm out err)
	[ "$(chkfs-ls-tree --store mine/backups -r --name-only mine)" = "$(printf "docs\ndocs/d")" ]
'
test_expect_success 'another store inside the source is a directory like any other' '
	chkfs-backup -q mine
	chkfs-restore -q mine mine.back
	same_trees mine mine.back
	chkfs-ls --store mine.back/backups mine | grep -qx docs
'
test_expect_success 'the store itself as the source: said, and refused' '
	test_must_fail timeout 60 chkfs-backup --store mine/backups mine/backups
'
test_done
