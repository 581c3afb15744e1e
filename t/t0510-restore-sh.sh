#!/bin/sh
# restore.sh: its words, its answers, and that a tar of a real store gives everything back.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
STORE=$SCRATCH/store
CHKFS_STORE=$STORE
export STORE CHKFS_STORE

golden() { # DIR: the golden store with the scripts of this version
	cp -R "$ROOT/tests/data/store-1/gzip" "$1" && cp "$ROOT/chkfs/written/restore.sh" "$1/"
}
by_hand() { # TYPE FILE: stores what chkfs would not
	key=$(sha256sum <"$2" | cut -c -64) && ab=$(echo "$key" | cut -c -2) || return
	mkdir -p "$STORE/objects/$1/$ab" && cp "$2" "$STORE/objects/$1/$ab/$key" && echo "$key"
}
keys() { cat "$STORE"/refs/*/*; }

test_expect_success 'shellcheck has nothing to say' '
	need shellcheck
	shellcheck -s sh "$ROOT/chkfs/written/restore.sh" "$ROOT/tests/data/make-golden.sh"
'
test_expect_success 'without words, and with help: what it can do; with wrong ones: 2' '
	golden store
	sh store/restore.sh >out 2>err
	[ ! -s err ]
	grep -q "^usage: sh restore.sh list" out
	! grep ".\{81\}" out || exit 1
	for word in help -h --help; do sh store/restore.sh $word | cmp - out; done
	for words in "ls" "cat" "tar" "times" "list x" "check x" "tar a b" "frobnicate"; do
		# shellcheck disable=SC2086 # words
		test_expect_code 2 sh store/restore.sh $words >none 2>err
		[ ! -s none ]
		cmp out err
	done
'
test_expect_success 'list: every snapshot, oldest first, with its refs' '
	sh store/restore.sh list >out
	[ "$(wc -l <out)" = 3 ]
	cut -f 1 out | sort >a
	keys | sort | cmp a -
	cut -f 2 out | sort -c
	[ "$(cut -f 3,5 out | sort)" = "$(printf "everything\trefs/backups/everything\nsingle\trefs/backups/single\nspecial\trefs/tags/special")" ]
'
test_expect_success 'a snapshot by short ref, ref, key and the beginning of a key' '
	key=$(cat store/refs/backups/everything)
	for name in everything backups/everything refs/backups/everything "$key" "$(echo "$key" | cut -c -6)"; do
		[ "$(sh store/restore.sh cat "$name:hello")" = hello ]
	done
	[ "$(sh store/restore.sh cat special:changed)" = hello ]
	for name in none refs/backups/none 00000000 "../../../etc/passwd" "" "a b" "$(printf "\377")"; do
		test_expect_code 128 sh store/restore.sh tar "$name" >out 2>err
		[ ! -s out ]
		grep -aq "^restore.sh: there is no snapshot" err
	done
'
test_expect_success 'ls: names of any bytes, on one line each' '
	sh store/restore.sh ls everything >out
	[ "$(wc -l <out)" = 34 ]
	grep -qx -- "-rw-r--r--  12345  54321            6 1969-12-31 23:59:58 hello" out
	grep -qx "lrwxrwxrwx      7      8              2012-11-22 22:40:00 link -> hello" out
	grep -qx "crw-r--r--      0      0          1,3 2012-11-22 22:40:00 null" out
	grep -qx "brw-r--r--      0      0 4095,1048575 2012-11-22 22:40:00 block" out
	grep -qx "drwxrwxrwt      0      0              1969-12-31 23:59:52 empty" out
	grep -qx -- "-rws--s--x 4294967294 3000000          512 1969-12-31 23:59:58 size-512" out
	grep -q " back.134slash.134101$" out
	grep -q " new.012line$" out
	grep -q " Grüße.txt$" out
	grep -aq "$(printf " latin\374$")" out
	sh store/restore.sh ls special >out
	grep -q " unread (could not be read: EACCES)$" out
	sh store/restore.sh ls special:outer/inner >out
	grep -q " top is \\. once more$" out
	sh store/restore.sh ls everything:hello | grep -q " hello$"
	sh store/restore.sh ls single | grep -q " hello$"
'
test_expect_success 'ls and cat of what is not there, or is not that' '
	for words in "ls everything:none" "ls everything:hello/x" "cat everything:none" "cat everything:sub" "cat everything:link" \
		"cat special:unread" "ls special:outer/inner/top/x" "cat everything" "tar everything:none"; do
		# shellcheck disable=SC2086 # words
		test_expect_code 128 sh store/restore.sh $words >out 2>err
		[ ! -s out ]
		[ "$(wc -l <err)" = 1 ]
	done
'
test_expect_success 'cat: names with any bytes, as they are or as ls shows them; every form' '
	n=0
	for name in -dash "it'\''s" "100% %s %d" "back\\slash\\134101" "#hash" "glob*?[a]" "a=b,c:d" "\$(id)\`id\`\"" "Grüße.txt" \
		"$(printf "new\nline")" "$(printf "latin\374")" "$(printf "tab\there\033")" "$(printf "%0250d" 7).txt"; do
		[ "$(sh store/restore.sh cat "everything:$name")" = "name $((n += 1))" ]
	done
	[ "$(sh store/restore.sh cat "everything:new\\012line")" = "name 10" ]
	[ "$(sh store/restore.sh cat "everything:/./sub//more/7")" = "file 7" ]
	for name in plain compressed listed zero size-511; do
		[ "$(sh store/restore.sh cat everything:$name | sha256sum | cut -c -64)  ./$name" = \
			"$(grep -ax "[0-9a-f]*  \\./$name" "$ROOT/tests/data/store-1/everything")" ]
	done
'
test_expect_success 'tar of a part: its top is ./, links within it hold, of other links whole files are made' '
	need_root
	mkdir part
	sh store/restore.sh tar everything:sub | tar -xpf - -C part
	[ "$(cat part/hello-2)" = hello ]
	[ "$(stat -c %h part/hello-2)" = 2 ]
	[ "$(stat -c "%a %Y" part)" = "755 1000000000" ]
	sh store/restore.sh tar special:outer/inner | tar -xpf - -C part
	[ "$(cd part && readlink loop self top)" = "$(printf "..\n.\n../..")" ]
	sh store/restore.sh tar everything:sub/more/9 | tar -tf - | grep -qx ./9
'
test_expect_success 'from any directory, by any path, through a symlink, with a TMPDIR of any name' '
	mkdir -p "a dir/it'\''s \"\$x" elsewhere
	for where in "cd store && sh restore.sh" "cd store && sh ./restore.sh" "cd elsewhere && sh ../store/restore.sh" \
		"cd / && sh $STORE/restore.sh" "cd store/packs && sh ../restore.sh"; do
		[ "$(eval "(TMPDIR=\"\$PWD/a dir/it'\''s \\\"\\\$x\"; export TMPDIR; $where cat everything:hello)")" = hello ]
	done
	[ -z "$(ls "a dir/it'\''s \"\$x")" ]
	cp store/restore.sh elsewhere
	[ "$(CHKFS_STORE=store sh elsewhere/restore.sh cat everything:hello)" = hello ]
	CHKFS_STORE="" test_expect_code 128 sh elsewhere/restore.sh list 2>err
	cp -R store "store of $(printf "\377") things"
	[ "$(sh "store of $(printf "\377") things/restore.sh" cat everything:hello)" = hello ]
'
test_expect_success 'a store at a path that ends in a newline; AWKPATH of gawk; a work directory that a killed run left' '
	odd=$(printf "odd\nstore\n.")
	odd=${odd%.}
	cp -R store "$odd"
	[ "$(sh "$odd/restore.sh" cat everything:hello)" = hello ]
	(cd "$odd" && [ "$(sh restore.sh cat everything:hello)" = hello ])
	[ "$(AWKPATH=$SCRATCH/none sh store/restore.sh cat everything:hello)" = hello ]
	mkdir -p temporary
	TMPDIR=$SCRATCH/temporary sh -c "mkdir \$TMPDIR/chkfs-restore.\$\$ && exec sh store/restore.sh cat everything:hello" >out
	[ "$(cat out)" = hello ]
	[ "$(ls temporary | wc -l)" = 1 ]
	rm -r temporary
'
test_expect_success 'nothing is left behind, and nothing is written into the store' '
	need_root
	need mount
	mkdir temporary disc
	mount --bind store disc 2>err || skip "mount --bind is not allowed here"
	mount -o remount,ro,bind disc
	code=0
	for words in list "ls everything" "cat everything:listed" "tar everything" check; do
		# shellcheck disable=SC2086 # words
		TMPDIR=$SCRATCH/temporary sh disc/restore.sh $words >out 2>err || code=$?
	done
	umount disc
	[ $code = 0 ]
	[ -z "$(ls temporary)" ]
	TMPDIR=$SCRATCH/none test_expect_code 128 sh store/restore.sh list 2>err
	grep -q "set TMPDIR" err
'
test_expect_success 'sockets: said, and that is no failure' '
	sh store/restore.sh tar everything 2>err >out.tar
	[ "$(cat err)" = "restore.sh: '\''./socket'\'' is a socket, and tar has none: left out" ]
	! tar -tf out.tar | grep socket || exit 1
'
test_expect_success 'unread entries: named, an empty file says so, status 3' '
	test_expect_code 3 sh store/restore.sh tar special >out.tar 2>err
	grep -q "/unread. could not be read when it was stored: EACCES" err
	tar -tf out.tar >out
	grep -qx ./unread.chkfs-unread out
	grep -qx ./unread-dir.chkfs-unread out
	! grep -qx ./unread out || exit 1
'
test_expect_success 'a tree of thousands of files in many frames and directories, and big files' '
	rm -rf store
	chkfs-init store
	mkdir -p src/a/b/c src/many
	seq 2000 | (cd src/many && while read -r n; do echo "file $n" >$n; done)
	for n in $(seq 30); do head -c 90000 /dev/urandom >src/a/b/$n; done
	head -c 9000000 /dev/urandom >src/big
	head -c 20000000 /dev/zero >src/zeros
	seq 200000 >src/numbers
	for n in $(seq 60); do mkdir -p src/d/$n/e; echo $n >src/d/$n/e/file; done
	chkfs-backup -q src
	mkdir back
	sh store/restore.sh tar src >src.tar
	tar -xpf src.tar -C back
	same_trees src back
	sh store/restore.sh check >out.check
	[ ! -s out.check ]
'
test_expect_success 'objects in several packs, of several codecs' '
	for codec in bzip2 xz none gzip; do
		sed -i "s/compression = .*/compression = $codec/" store/config
		mkdir -p src/more/$codec
		for n in $(seq 40); do echo "$codec $n" >src/more/$codec/$n; done
		yes $codec | head -c 400000 >src/more/$codec/large
		chkfs-backup -q src
	done
	[ "$(find store/packs -name "*.tar*" | wc -l)" -ge 5 ]
	rm -rf back
	mkdir back
	sh store/restore.sh tar src | tar -xpf - -C back
	same_trees src back
'
test_expect_success 'a batch that is full is followed by another one' '
	sed "s/lines >= 5000/lines >= 400/; s/268435456/1500000/; s/++lines > 100000/++lines > 1500/" store/restore.sh >small.sh
	sh small.sh tar src >small.tar
	sh store/restore.sh tar src | cmp - small.tar
'
test_expect_success 'a path that is longer than most tars can make is named' '
	name=$(printf "%0200d" 0)
	below=$(echo x | chkfs-hash-object -w --stdin)
	tree=$(echo "./file type=file mode=0644 uid=0 gid=0 size=2 time=1.000000000 sha256digest=$below" | chkfs-mktree)
	for n in $(seq 21); do
		tree=$(echo "./$name type=dir mode=0755 uid=0 gid=0 time=1.000000000 tags=tree:$tree" | chkfs-mktree)
	done
	chkfs-update-ref refs/tags/deep "$(chkfs-commit-snapshot -n deep "$tree")" ""
	test_expect_code 3 sh store/restore.sh tar deep >deep.tar 2>err
	grep -q "has a path of more than 4095 bytes" err
	tar -tf deep.tar | grep -c / | grep -qx 23
'
test_expect_success 'a hostile tree: nothing is run, nothing gets out, and it is said' '
	blob=$(echo x | chkfs-hash-object -w --stdin)
	cat >hostile <<-END
	#mtree
	# chkfs tree 1
	. type=dir
	./../up type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob
	./\\056\\056\\057up type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob
	./.. type=dir mode=0755 time=1.000000000 tags=tree:$blob
	./'\''\$(touch\\040$SCRATCH/owned)'\'' type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob
	./\\\`touch\\040owned\\\` type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob
	./a;touch type=file mode='\''0644 uid=1;2 size=\$(touch\\040owned) time=1.0'\'' sha256digest=$blob
	./b type=file mode=0644 size=2 time=1.000000000 sha256digest=\$(touch\\040owned)
	./c type=char mode=0644 device=linux,1;2,\`x\`
	./%s%n type=link mode=0777 link=%s%s
	./ok type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob
	./d type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob tags=xattr:user.'\'';touch\\040owned;'\'':\$(id)
	END
	tree=$(by_hand tree hostile)
	printf "chkfs-snapshot 1\nroot . type=dir mode=0755 tags=tree:%s\nname hostile\nsource /\$(touch\\\\040owned)'\''\n\n" "$tree" >snapshot
	key=$(by_hand snapshot snapshot)
	sh store/restore.sh list >out
	sh store/restore.sh times "$key" >out 2>err || [ $? = 3 ]
	mkdir -p into
	(cd into && sh "$SCRATCH/out") 2>err || true
	[ -z "$(ls into)" ]
	test_expect_code 3 sh store/restore.sh tar "$key" >out.tar 2>err
	grep -q "has an entry that cannot be one" err
	tar -tf out.tar >names
	! grep up names || exit 1
	grep -qx ./ok names
	sh store/restore.sh ls "$key" >out 2>err || [ $? = 3 ]
	[ ! -e owned ]
	[ ! -e store/owned ]
'
snapshot_of() { # TREE NAME: a snapshot made by hand; its key
	printf "chkfs-snapshot 1\nroot . type=dir mode=0755 tags=tree:%s\nname %s\nsource /x/..\n\n" "$1" "$2" >snapshot &&
		by_hand snapshot snapshot
}
test_expect_success 'a name that comes twice, or is quoted as it must not be: no way through a symlink' '
	blob=$(echo x | chkfs-hash-object -w --stdin)
	file="type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob"
	printf "#mtree\n# chkfs tree 1\n. type=dir\n%s\n" "./passwd $file" >tree
	inner=$(by_hand tree tree)
	cat >tree <<-END
	#mtree
	# chkfs tree 1
	. type=dir
	./link type=link mode=0777 time=1.000000000 link=$SCRATCH/outside
	./link type=dir mode=0755 time=1.000000000 tags=tree:$inner
	./lin\\153 type=dir mode=0755 time=1.000000000 tags=tree:$inner
	./a=b $file
	./x\\057y $file
	./x\\000y $file
	/set type=file
	./ $file
	no entry at all
	./whole $file
	END
	key=$(snapshot_of "$(by_hand tree tree)" twice)
	mkdir outside inside
	test_expect_code 3 sh store/restore.sh tar "$key" >out.tar 2>err
	[ "$(grep -c "has an entry that cannot be one" err)" = 8 ]
	tar -tf out.tar | sort | tr "\n" " " | grep -qx "\./ \./link \./whole "
	tar -xpf out.tar -C inside
	[ -z "$(ls outside)" ]
	test_expect_code 3 sh store/restore.sh ls "$key" >out 2>err
	[ "$(wc -l <out)" = 2 ]
	printf "chkfs-snapshot 1\nroot . %s\nname up\nsource /x/..\n\n" "$file" >snapshot
	sh store/restore.sh tar "$(by_hand snapshot snapshot)" | tar -tf - | grep -qx ./file
'
test_expect_success 'numbers and times that are none: said, and 0 in their place' '
	blob=$(echo x | chkfs-hash-object -w --stdin)
	cat >tree <<-END
	#mtree
	# chkfs tree 1
	. type=dir
	./a type=file mode=0x7f uid=nan gid=1e9 size=2 time=inf sha256digest=$blob
	./b type=file mode=0648 uid=-1 gid=99999999999999999999 size=2 time=1.5 sha256digest=$blob
	./c type=char mode=0600 uid=1 gid=2 time=5 device=linux,0x1,nan
	./d type=file size=2 sha256digest=$blob
	END
	key=$(snapshot_of "$(by_hand tree tree)" numbers)
	test_expect_code 3 sh store/restore.sh tar "$key" >out.tar 2>err
	[ "$(grep -c "has a number that is none" err)" = 8 ]
	[ "$(grep -c "has a time that is none" err)" = 2 ]
	tar --utc --numeric-owner -tvf out.tar | tr -s " " | cut -d " " -f 1-5 >out
	diff - out <<-END
	---------- 0/0 2 1970-01-01 00:00
	---------- 0/0 2 1970-01-01 00:00
	crw------- 1/2 0,0 1970-01-01 00:00
	---------- 0/0 2 1970-01-01 00:00
	drwxr-xr-x 0/0 0 1970-01-01 00:00
	END
'
test_expect_success 'list and ls run nothing that stands in a snapshot or a tree' '
	cat >tree <<-END
	#mtree
	# chkfs tree 1
	. type=dir
	./a type=file mode=0644 uid=\\47;>owned-1;\\47 gid=%s size=2 time=1.000000000
	./b type=file mode=0644 uid='\'';>owned-2;'\'' gid=\\101%s\\9b size='\'';>owned-3;'\'' time='\'';>owned-4;'\''
	./c type=file mode='\'';>owned-5;'\''
	'\'';>owned-6;'\''
	END
	mkdir -p owner
	sed "s|>owned|>$SCRATCH/owner/owned|" tree >tree.2
	key=$(snapshot_of "$(by_hand tree tree.2)" owner)
	test_expect_code 3 sh store/restore.sh ls "$key" >out 2>err
	[ "$(wc -l <out)" = 3 ]
	printf "chkfs-snapshot 1\nroot . type=dir\nname '\'';>../../owned;'\''\nfinished '\'';>../../owned;'\''\n\n" >snapshot
	by_hand snapshot snapshot
	TMPDIR=$SCRATCH/owner/work
	export TMPDIR
	mkdir -p owner/work
	sh store/restore.sh list >out
	grep -q ";>../../owned;" out
	[ "$(ls owner)" = work ]
	[ -z "$(ls owner/work)" ]
'
test_expect_success 'names of one file of which the first is unread, and names of one socket: no link to what is not there' '
	blob=$(echo x | chkfs-hash-object -w --stdin)
	tree=$(chkfs-mktree <<-END
	./a type=file mode=0644 size=2 time=1.000000000 tags=hl:a,unread:EIO
	./b type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob tags=hl:a
	./c type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob tags=hl:a
	./s type=socket mode=0644 time=1.000000000 tags=hl:s
	./t type=socket mode=0644 time=1.000000000 tags=hl:s
	END
	)
	key=$(snapshot_of "$tree" links)
	rm -rf inside
	mkdir inside
	test_expect_code 3 sh store/restore.sh tar "$key" >out.tar 2>err
	tar -xpf out.tar -C inside
	[ "$(cat inside/b inside/c)" = "$(printf "x\nx")" ]
	[ "$(stat -c %h inside/b)" = 2 ]
	[ "$(ls inside | wc -l)" = 3 ]
'
test_expect_success 'a tag that makes one file of two: each has its own contents' '
	one=$(echo one | chkfs-hash-object -w --stdin)
	two=$(echo two | chkfs-hash-object -w --stdin)
	tree=$(chkfs-mktree <<-END
	./a type=file mode=0644 size=4 time=1.000000000 sha256digest=$one tags=hl:a
	./b type=file mode=0644 size=4 time=1.000000000 sha256digest=$two tags=hl:a
	./c type=link mode=0777 time=1.000000000 link=here tags=hl:c
	./d type=link mode=0777 time=1.000000000 link=there tags=hl:c
	./e type=file mode=0644 size=4 time=1.000000000 sha256digest=$one tags=hl:a
	END
	)
	key=$(snapshot_of "$tree" liars)
	rm -rf inside
	mkdir inside
	sh store/restore.sh tar "$key" >out.tar
	python3 store/restore.py tar "$key" | cmp - out.tar
	tar -xpf out.tar -C inside
	[ "$(cat inside/a inside/b inside/e)" = "$(printf "one\ntwo\none")" ]
	[ "$(readlink inside/c inside/d)" = "$(printf "here\nthere")" ]
	[ "$(stat -c %h inside/a inside/b)" = "$(printf "2\n1")" ]
'
test_expect_success 'trees that are listed; a list that names itself' '
	rm -rf store
	golden store
	chkfs-cat-object everything: >tree
	head -c 2000 tree >one
	tail -c +2001 tree >two
	echo "./big $(sed -n "s/^.\/hello //p" tree)" >three
	{ echo "# chkfs list 1"; for part in one two three; do echo "$(by_hand blob $part) $(wc -c <$part)"; done; } >list
	listed=$(cat one two three | sha256sum | cut -c -64)
	mkdir -p "store/objects/tree/$(echo "$listed" | cut -c -2)"
	mv list "store/objects/tree/$(echo "$listed" | cut -c -2)/$listed.list"
	key=$(snapshot_of "$listed" listed)
	[ "$(sh store/restore.sh cat "$key:big")" = hello ]
	sh store/restore.sh tar "$key" 2>err | tar -xOf - ./Grüße.txt >out
	[ "$(cat out)" = "name 9" ]
	self=$(printf "%064d" 7)
	mkdir -p store/objects/blob/00
	printf "# chkfs list 1\n%s 5\n%s 5\n" "$self" "$self" >"store/objects/blob/00/$self.list"
	tree=$(echo "./self type=file mode=0644 size=10 time=1.000000000 sha256digest=$self" | chkfs-mktree)
	test_expect_code 3 sh store/restore.sh tar "$(snapshot_of "$tree" self)" >out.tar 2>err
	tar -tf out.tar | grep -qx ./self.chkfs-damaged
'
test_expect_success 'files of other names below objects and packs are no objects' '
	mkdir -p "store/objects/blob/00/x y" "store/packs/old stuff"
	: >"store/objects/blob/00/it'\''s"
	: >"store/objects/blob/00/$(printf "new\nline")"
	: >"store/objects/blob/00/x y/\"abc"
	: >"store/packs/old stuff/pack-$(printf "%064d" 7).tar.gz"
	: >"store/packs/pack-$(printf "%064d" 7).tar.gz.part"
	rm -f store/objects/blob/00/00*.list
	sh store/restore.sh check >out
	[ ! -s out ]
'
test_expect_success 'a pack from elsewhere puts nothing but objects into the work directory, and nothing outside it' '
	rm -rf store evil
	golden store
	mkdir -p evil/blob
	ln -s "$SCRATCH/outside" evil/headers
	ln -s /dev/zero "evil/blob/$(printf "%064d" 8)"
	mkfifo "evil/blob/$(printf "%064d" 9)"
	tar -czf evil.tar.gz -C evil headers blob
	name=pack-$(sha256sum <evil.tar.gz | cut -c -64)
	for n in 8 9; do echo "blob/$(printf "%064d" $n) 5 0 $(wc -c <evil.tar.gz)"; done >index
	{ cat index; echo "# sha256 $(sha256sum <index | cut -c -64)"; } >store/packs/$name.index
	mv evil.tar.gz store/packs/$name.tar.gz
	tree=$(for n in 8 9; do
		echo "./$n type=file mode=0644 size=5 time=1.000000000 sha256digest=$(printf "%064d" $n)"
	done | chkfs-mktree)
	test_expect_code 3 sh store/restore.sh tar "$(snapshot_of "$tree" evil)" >out.tar 2>err
	[ "$(tar -tf out.tar | tr "\n" " ")" = "./8.chkfs-damaged ./9.chkfs-damaged ./ " ]
	[ -z "$(ls outside)" ]
'
test_expect_success 'a damaged snapshot or ref: list names it, shows the others, and says 3' '
	rm -rf store
	golden store
	chmod -R u+w store
	echo x >>"$(ls store/objects/snapshot/*/"$(cat store/refs/backups/single)")"
	echo nonsense >store/refs/tags/special
	test_expect_code 3 sh store/restore.sh list >out 2>err
	[ "$(wc -l <out)" = 2 ]
	grep -q "restore.sh: objects/snapshot/.* is damaged" err
	grep -q "restore.sh: refs/tags/special is damaged" err
'
test_expect_success 'no room for work files: said, and not taken for damage' '
	need_root
	need mount
	rm -rf small store
	mkdir small
	chkfs-init store
	mkdir -p full
	for n in $(seq 40); do head -c 200000 /dev/urandom >full/$n; done
	chkfs-backup -q full
	mount -t tmpfs -o size=64k none small 2>err || skip "mount is not allowed here"
	for size in 64k 512k 1200k 3m 6m; do
		mount -o remount,size=$size small
		code=0
		TMPDIR=$SCRATCH/small sh store/restore.sh tar full >out.tar 2>err || code=$?
		[ $code = 128 ]
		grep -q -e "no room" -e "cannot" err
		! grep damaged err || exit 1
		[ -z "$(ls small)" ]
	done
	mount -o remount,size=16m small
	TMPDIR=$SCRATCH/small sh store/restore.sh tar full | tar -xOf - ./7 | cmp - full/7
	umount small
'
test_expect_success 'nobody reads to the end: it ends, and leaves nothing behind' '
	rm -rf temporary
	mkdir temporary
	(TMPDIR=$SCRATCH/temporary sh store/restore.sh tar full 2>err; echo $? >status) | head -c 1000 >out
	[ "$(wc -c <out)" = 1000 ]
	[ "$(cat status)" != 0 ]
	[ -z "$(ls temporary)" ]
'
test_done
