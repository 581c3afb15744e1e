#!/bin/sh
# chkfs-mktree and chkfs-ls-tree: trees as text, made, listed, and read by two programs that are not ours.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

test_expect_success 'a backup with many kinds of names' '
	chkfs-init store
	mkdir -p "src/sub dir/deep" src/flat
	echo hello >src/hello
	echo "two words" >"src/two words"
	printf "Gr\303\274\303\237e" >"src/$(printf "Gr\303\274\303\237e.txt")"
	printf x >"src/$(printf "latin\374\n#%%*=?[\\\\")"
	echo dash >src/-dash
	echo deep >"src/sub dir/deep/file"
	ln -s "a b" src/link
	ln src/hello src/hard
	mkfifo src/fifo
	for n in 1 2 3; do echo $n >src/flat/$n; done
	chmod 4755 src/flat/1
	touch -d @-1.5 src/flat/2
	touch -d @5000000000.000000001 src/flat/3
	chkfs-backup -q src
	chkfs-rev-parse src: >key
'
test_expect_success 'ls-tree: mode, type, key, TAB, name; names with other bytes in octal' '
	chkfs-ls-tree src >out
	[ "$(wc -l <out)" = 10 ]
	blob=$(sha256sum <src/hello | cut -c 1-64)
	grep -qx "0644 blob $blob	hello" out
	grep -qE "^0755 tree [0-9a-f]{64}	sub dir$" out
	grep -qx "0777 link -	link" out
	grep -qx "0644 fifo -	fifo" out
	grep -q "	two words$" out
	grep -qF "	Gr\\303\\274\\303\\237e.txt" out
	cut -f 2 out >names
	printf "%s\\n" "-dash" fifo flat hard hello | diff - names | grep "^<" && exit 1
	LC_ALL=C sort -c names
'
test_expect_success 'ls-tree -z: names as they are, records ended by NUL' '
	chkfs-ls-tree -z --name-only src >out
	(cd src && find . -mindepth 1 -maxdepth 1 -printf "%P\\0" | sort -z) | cmp - out
	chkfs-ls-tree -rz --name-only src >out
	(cd src && find . -mindepth 1 -printf "%P\\0" | sort -z) >expect
	sort -z out | cmp - expect
'
test_expect_success 'ls-tree -r, -d, -l, PATH and PATH/' '
	chkfs-ls-tree -r --name-only src >out
	grep -qx "sub dir/deep/file" out
	chkfs-ls-tree -rd --name-only src >out
	printf "flat\nsub dir\nsub dir/deep\n" | diff - out
	chkfs-ls-tree -l src flat/ >out
	grep -qE "^4755 blob [0-9a-f]{64} [^ ]+ [^ ]+ 2 [0-9.]+	flat/1$" out
	grep -qE " 2 -2\\.500000000	flat/2$" out
	grep -qE " 2 5000000000\\.000000001	flat/3$" out
	chkfs-ls-tree --name-only src flat "sub dir/deep/file" hello/ >out
	printf "flat\nsub dir/deep/file\nhello\n" | diff - out
	chkfs-ls-tree -r --name-only src flat >out
	printf "flat\nflat/1\nflat/2\nflat/3\n" | diff - out
'
test_expect_success 'ls-tree of every way to name a tree' '
	chkfs-ls-tree src >expect
	for name in "$(cat key)" "$(cut -c 1-16 key)" refs/backups/src "$(cat store/refs/backups/src)" src: src@{0} src:.; do
		chkfs-ls-tree "$name" | diff expect -
	done
	chkfs-ls-tree "src:sub dir/deep" | grep -q "	file$"
	chkfs-ls-tree "src:sub dir/../flat" && exit 1
	chkfs-ls-tree src:hello | cut -f 2 >out
	[ "$(wc -l <out)" = 1 ]
'
test_expect_success 'what is not there, and what is not a tree: 128' '
	blob=$(chkfs-rev-parse src:hello)
	for name in none src:none "$blob"; do
		test_expect_code 128 chkfs-ls-tree "$name" >out 2>err
		[ ! -s out ]
		[ "$(wc -l <err)" = 1 ]
	done
	test_expect_code 128 chkfs-ls-tree src none 2>err
	grep -q "none" err
'
test_expect_success 'cat-object TREE | mktree is the same tree, whatever the order of the lines' '
	chkfs-cat-object "$(cat key)" | chkfs-mktree | cmp key -
	chkfs-cat-object "$(cat key)" | sort -R | chkfs-mktree | cmp key -
	chkfs-cat-object "$(cat key)" | tail -n +4 | grep -v "^#" | chkfs-mktree | cmp key -
'
test_expect_success 'ls-tree --mtree | mktree is the same tree but for its tags; cat-object | mktree is the same' '
	chkfs-ls-tree --mtree src:flat | chkfs-mktree >out
	chkfs-cat-object src:flat | sed "s/ tags=.*//" >plain
	chkfs-cat-object "$(cat out)" | sed "s/ tags=enc:utf-8$//" | cmp plain -
	chkfs-cat-object src:flat | chkfs-mktree >out
	chkfs-rev-parse src:flat | cmp - out
'
test_expect_success 'ls-tree --mtree of a directory of everything: the lines without their tags' '
	chkfs-cat-object "$(cat key)" | grep "^\\./" | sed "s/ tags=.*//" >expect
	chkfs-ls-tree --mtree src | grep "^\\./" | diff expect -
'
test_expect_success 'mktree: an empty tree, an edited tree, and --missing' '
	chkfs-mktree </dev/null >out
	mkdir empty
	chkfs-write-tree empty | cmp - out
	chkfs-cat-object src:flat | grep -v "^\\./2 " | chkfs-mktree >out
	chkfs-ls-tree --name-only "$(cat out)" >names
	printf "1\n3\n" | cmp - names
	none=$(echo none | sha256sum | cut -c 1-64)
	line="./f type=file mode=0644 size=5 sha256digest=$none"
	echo "$line" | test_expect_code 128 chkfs-mktree 2>err
	grep -q "no blob .$none. in the store" err
	echo "$line" | chkfs-mktree --missing >out
	chkfs-ls-tree "$(cat out)" >names
	[ "$(cat names)" = "0644 blob $none	f" ]
'

# shellcheck disable=SC2059 # escapes of printf, on purpose
refused() { # LINES (as printf takes them): mktree says no with 128, one line, and nothing on standard output
	printf "$1" | test_expect_code 128 chkfs-mktree --missing >out 2>err || { echo "accepted: $1"; return 1; }
	[ ! -s out ] && [ "$(wc -l <err)" = 1 ] && grep -q '^chkfs-mktree: ' err && ! grep -q Traceback err
}
test_expect_success 'mktree refuses names that no directory can hold' '
	for name in .. ../x x/.. a/b "a\\\\057b" "\\\\056\\\\056" "a\\\\000b" "" "a\\\\9" "a\\\\777" "a\\\\" "\377" "\303\274"; do
		refused "./$name type=fifo mode=0600\n"
	done
	refused "./. type=fifo mode=0600\n"
	for name in /etc/passwd a "" .a; do refused "$name type=fifo mode=0600\n"; done
	refused "./a type=fifo mode=0600\n./a type=fifo mode=0644\n"
'
test_expect_success 'mktree refuses values that mean nothing' '
	key=$(cat key)
	for rest in "" "type=fifo" "mode=0600" "type=zork mode=0600" "type=fifo mode=0999" "type=fifo mode=" \
		"type=fifo mode=0600 uid=x" "type=fifo mode=0600 time=1.5" "type=fifo mode=0600 time=now" \
		"type=fifo mode=0600 time=1.-00000001" "type=fifo mode=0600 zork=1" "type=fifo mode=0600 zork" \
		"type=link mode=0777" "type=link mode=0777 link=a\\\\" "type=char mode=0600" \
		"type=char mode=0600 device=linux,x,1" "type=char mode=0600 device=1" "type=file mode=0600 size=1" \
		"type=file mode=0600 sha256digest=$key" "type=file mode=0600 size=1 sha256digest=zz" \
		"type=file mode=0600 size=x sha256digest=$key" "type=dir mode=0700" "type=dir mode=0700 tags=tree:x" \
		"type=dir mode=0700 tags=xtree:$key"; do
		refused "./a $rest\n"
	done
	refused "/set uid=0\n./a type=fifo mode=0600\n"
	refused "./a type=fifo mode=0600 \\\\\n uid=5\n"
	refused "\000\377\376"
	refused "./a type=fifo mode=0600 uname=$(head -c 70000 /dev/zero | tr "\0" x)\n"
'
test_expect_success 'mktree refuses numbers that are not plain digits' '
	key=$(cat key)
	for rest in "type=fifo mode=-1" "type=fifo mode=0o600" "type=fifo mode=0600 uid=-5" "type=fifo mode=0600 uid=1_000" \
		"type=fifo mode=0600 uid=+1" "type=fifo mode=0600 time=+1.000000000" "type=char mode=0600 device=linux,-1,1" \
		"type=file mode=0600 size=-5 sha256digest=$key"; do
		refused "./a $rest\n"
	done
'
test_expect_success 'mktree refuses values that are out of range, or written as no chkfs writes them' '
	accepted=0
	for rest in "type=fifo mode=7777777" "type=fifo mode=0600 mode=0644" "type=fifo mode=0600 uname=\303\251" \
		"type=fifo mode=0600 uname=\033[31m" "type=link mode=0777 link=" "type=link mode=0777 link=a\\\\000b" \
		"type=fifo mode=0600 time=1"; do
		refused "./a $rest\n" || accepted=$((accepted + 1))
	done
	[ $accepted = 0 ]
'

hostile() { # a tree object of any text on standard input, put in without a check; its key
	mkdir -p "store/objects/tree"
	cat >text
	hash=$(sha256sum <text | cut -c 1-64)
	mkdir -p "store/objects/tree/$(echo "$hash" | cut -c 1-2)"
	cp text "store/objects/tree/$(echo "$hash" | cut -c 1-2)/$hash"
	echo "$hash"
}
head='#mtree\n# chkfs tree 1\n. type=dir\n'
test_expect_success 'hostile trees that are in the store: names that lead out are reported and never made' '
	blob=$(chkfs-rev-parse src:hello)
	for name in .. ../../escaped "a/b" "\\\\057tmp\\\\057escaped" "a\\\\000b" "" "a\\\\9" "b c"; do
		tree=$(printf "$head./$name type=file mode=0644 size=6 sha256digest=$blob\n./ok type=fifo mode=0600\n" | hostile)
		rm -rf there
		test_expect_code 3 chkfs-checkout-tree -q "$tree" there 2>err
		[ "$(ls -A there)" = ok ]
		grep -q "not restored" err
		test_expect_code 1 chkfs-ls-tree "$tree" >list 2>err
		grep -q "	ok$" list
		! grep -q Traceback err || exit 1
	done
	[ ! -e escaped ]
	[ ! -e ../escaped ]
	[ ! -e /tmp/escaped ]
'
test_expect_success 'hostile trees: a symlink that a later directory of the same name would go through' '
	mkdir -p outside
	below=$(printf "./planted type=fifo mode=0600\n" | chkfs-mktree)
	tree=$(printf "$head./d type=link mode=0777 link=$SCRATCH/outside\n./d type=dir mode=0755 tags=tree:$below\n" | hostile)
	rm -rf there
	test_expect_code 3 chkfs-checkout-tree -q "$tree" there 2>err
	[ -z "$(ls -A outside)" ]
	tree=$(printf "$head./d type=dir mode=0755 tags=tree:$below\n./d type=link mode=0777 link=$SCRATCH/outside\n" | hostile)
	rm -rf there
	test_expect_code 3 chkfs-checkout-tree -q "$tree" there 2>err
	[ -z "$(ls -A outside)" ]
'
test_expect_success 'hostile trees: a hard link to what was not restored here' '
	tree=$(printf "$head./a type=fifo mode=0600 tags=hl:..\\\\057..\\\\057etc\\\\057passwd\n" | hostile)
	rm -rf there
	chkfs-checkout-tree -q "$tree" there
	[ -p there/a ]
'
test_expect_success 'hostile trees: text that is none, cut short, with a tree that contains itself by name' '
	for text in "" "hello\n" "#mtree\n" "${head}garbage\n" "$head./a type=fifo" "\377\376\000" "${head}./a b\n"; do
		tree=$(printf "$text" | hostile)
		rm -rf there
		test_must_fail chkfs-ls-tree -r "$tree" >list 2>err
		test_must_fail chkfs-checkout-tree -q "$tree" there 2>>err
		test_must_fail chkfs-ls-tree --human "$tree" >list 2>>err
		! grep Traceback err || exit 1
	done
'
test_expect_success 'hostile trees: values that no system call takes' '
	for rest in "type=link mode=0777 link=a\\\\000b" "type=fifo mode=-1" "type=fifo mode=7777777777777777777777777" \
		"type=char mode=0600 device=linux,99999999999999999999,1" "type=fifo mode=0600 uid=99999999999999999999 gid=0" \
		"type=fifo mode=0600 time=99999999999999999999.000000000"; do
		tree=$(printf "$head./a $rest\n./z type=fifo mode=0600\n" | hostile)
		rm -rf there
		chkfs-checkout-tree "$tree" there 2>err || code=$?
		chkfs-ls-tree --human "$tree" >list 2>>err || code=$?
		chkfs-ls-tree -r -l "$tree" >list 2>>err || code=$?
		! grep Traceback err || { echo "$rest"; exit 1; }
		[ -p there/z ]
	done
'
test_expect_success 'a directory that is another one again: listed by its name, and said to be so when it is asked for' '
	tree=$(printf "./loop type=dir mode=0755 tags=again:src\n" | chkfs-mktree)
	chkfs-ls-tree -r "$tree" >out
	grep -q "^0755 tree -	loop$" out
	chkfs-ls-tree -r "$tree" loop | cmp - out
	for command in "chkfs-ls $tree:loop" "chkfs-ls-tree $tree loop/" "chkfs-ls-tree -r $tree:loop"; do
		test_expect_code 128 $command >out 2>err
		[ ! -s out ]
		grep -q "it is .src. again$" err
	done
'
test_expect_success 'a mode of many digits is shown as well as it can be' '
	tree=$(printf "$head./a type=fifo mode=777777777777777777777777\n" | hostile)
	chkfs-ls -l "$tree" >out
	grep -q "^prws*rw" out
'
test_expect_success 'a file whose size is not that of its line is said to be so' '
	blob=$(chkfs-rev-parse src:hello)
	printf "./a type=file mode=0644 size=7 sha256digest=$blob\n" >line
	test_expect_code 128 chkfs-mktree <line 2>err
	grep -q "a. has 6 bytes, not 7" err
	tree=$(chkfs-mktree --missing <line)
	rm -rf there
	test_expect_code 3 chkfs-checkout-tree -v "$tree" there 2>err
	grep -q "size not set: it has 6 bytes, its line says 7" err
	cmp src/hello there/a
'

test_expect_success 'bsdtar lists a tree object, silently and with status 0' '
	need bsdtar
	mkdir listing
	for name in src: src:flat "src:sub dir"; do
		chkfs-cat-object "$name" >listing/tree
		(cd listing && bsdtar -tf tree) >out 2>err
		[ ! -s err ]
		[ -s out ]
	done
	chkfs-cat-object src: >listing/tree
	(cd listing && bsdtar -tf tree) | grep -qx "./two words"
	[ "$(cd listing && bsdtar -tf tree | wc -l)" = 11 ]
	(cd listing && bsdtar -tvf tree) >out 2>err
	[ ! -s err ]
'
test_expect_success 'bsdtar lists what ls-tree -r --mtree prints' '
	need bsdtar
	chkfs-ls-tree -r --mtree src >listing/tree
	(cd listing && bsdtar -tf tree) >out 2>err
	[ ! -s err ]
	grep -qx "./sub dir/deep/file" out
'
test_expect_success 'NetBSD mtree accepts what was restored as what ls-tree -r --mtree prints' '
	need mtree
	mtree -h 2>&1 | grep -q "usage: mtree \\[-c" || skip "this mtree is not that of NetBSD"
	chkfs-restore -q src restored
	chkfs-ls-tree -r --mtree src >spec
	mtree -p restored -f spec >out 2>err
	[ ! -s out ]
	[ ! -s err ]
'
test_expect_success 'NetBSD mtree sees what is not so' '
	need mtree
	mtree -h 2>&1 | grep -q "usage: mtree \\[-c" || skip "this mtree is not that of NetBSD"
	echo jello >restored/hello
	touch -r src/hello restored/hello
	test_expect_code 2 mtree -p restored -f spec >out
	grep -q "^hello:" out
'
test_done
