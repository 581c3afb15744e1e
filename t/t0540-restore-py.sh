#!/bin/sh
# restore.py: the same answers and the same tar as restore.sh; Python 3.6 and its standard library are enough.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
STORE=$SCRATCH/store
export STORE

golden() { # CODEC: as ./store, with the scripts of this version
	rm -rf store && cp -R "$ROOT/tests/data/store-1/$1" store &&
		cp "$ROOT/chkfs/written/restore.sh" "$ROOT/chkfs/written/restore.py" store/ && chmod -R u+w store
}
by_hand() { # TYPE FILE: stores what chkfs would not
	key=$(sha256sum <"$2" | cut -c -64) && ab=$(echo "$key" | cut -c -2) || return
	mkdir -p "$STORE/objects/$1/$ab" && cp "$2" "$STORE/objects/$1/$ab/$key" && echo "$key"
}
same() { # WORD ...: do both say the same, and end with the same status?
	sh store/restore.sh "$@" >sh.out 2>sh.err && code=0 || code=$?
	test_expect_code "$code" python3 store/restore.py "$@" >py.out 2>py.err || return
	cmp sh.out py.out || return
	sed 's/^restore\.sh: //; s/sh restore\.sh/python3 restore.py/g' sh.err | sort >sh.said
	sed 's/^restore\.py: //' py.err | sort | diff -a sh.said -
}
for name in gzip bzip2 xz none zstd; do
	CODEC=$name
	export CODEC
	test_expect_success "$CODEC: every word gives the same" '
		[ $CODEC != zstd ] || need zstd
		golden $CODEC
		for words in list "ls everything" "ls special" "ls special:outer/inner" "ls single" "ls everything:hello" \
			"cat everything:listed" "cat everything:compressed" "cat everything:plain" "cat everything:sub/more/7" \
			"tar everything" "tar special" "tar single" "tar everything:sub" "tar special:outer/inner" \
			"times everything" "times special" "times special:outer/inner" "times single" "times none" \
			"tar everything:sub/more/9" check "tar none" "cat everything:none" "cat everything:sub" \
			"ls everything:hello/x" "cat special:unread"; do
			# shellcheck disable=SC2086 # words
			same $words || { echo "$words"; exit 1; }
		done
	'
done
test_expect_success 'names of any bytes' '
	golden gzip
	for name in -dash "it'\''s" "100% %s %d" "back\\slash\\134101" "#hash" "glob*?[a]" "a=b,c:d" "Grüße.txt" \
		"$(printf "new\nline")" "$(printf "latin\374")" "new\\012line" "/./sub//more/7"; do
		same cat "everything:$name"
		[ -s py.out ]
	done
	! same cat "everything:$(printf "none\377")" || [ ! -s py.out ]
'
test_expect_success 'a hostile tree, a hostile snapshot: the same, and no traceback' '
	golden gzip
	printf "x\n" >x
	blob=$(by_hand blob x)
	file="type=file mode=0644 size=2 time=1.000000000 sha256digest=$blob"
	printf "#mtree\n# chkfs tree 1\n. type=dir\n%s\n" "./passwd $file" >tree
	inner=$(by_hand tree tree)
	cat >tree <<-END
	#mtree
	# chkfs tree 1
	. type=dir
	./link type=link mode=0777 time=1.000000000 link=/etc
	./link type=dir mode=0755 time=1.000000000 tags=tree:$inner
	./lin\\153 type=dir mode=0755 time=1.000000000 tags=tree:$inner
	./../up $file
	./. $file
	./a=b $file
	./x\\057y $file
	./x\\000y $file
	./\\400 $file
	./Gr$(printf "\303\274")n $file
	/set type=file
	./ $file
	no entry at all
	./numbers type=file mode=0x7f uid=nan gid=1e9 size=2 time=inf sha256digest=$blob
	./more type=file mode=0648 uid=-1 gid=99999999999999999999 size=2 time=1.5 sha256digest=$blob
	./large type=file mode=07777 uid=999999999999999 gid=2097152 size=2 time=-99999999999999.999999999 sha256digest=$blob
	./late type=file mode=0644 uid=1 gid=1 size=2 time=999999999999999.000000001 sha256digest=$blob
	./device type=char mode=0600 uid=1 gid=2 time=5 device=linux,0x1,nan
	./device2 type=block mode=0600 uid=1 gid=2 time=5
	./bare type=file size=2 sha256digest=$blob
	./nothing
	./odd type=thing mode=0644
	./badlink type=link mode=0777 link=a\\9b
	./nolink type=link mode=0777
	./nokey type=file mode=0644 sha256digest=\$(id)
	./notree type=dir mode=0755 tags=tree:0123
	./lost type=dir mode=0755 tags=tree:$(printf "%064d" 5)
	./again type=dir mode=0755 tags=again:../../../etc
	./again2 type=dir mode=0755 tags=again:\\777
	./h1 type=file mode=0644 tags=hl:h1,unread:EIO
	./h2 type=file mode=0644 size=2 sha256digest=$blob tags=hl:h1
	./h3 type=file mode=0644 size=2 sha256digest=$blob tags=hl:h1
	./h4 type=file mode=0644 size=2 sha256digest=$(printf "%064d" 6) tags=hl:h4
	./h5 type=file mode=0644 size=2 sha256digest=$(printf "%064d" 6) tags=hl:h4
	./s1 type=socket mode=0644 tags=hl:s
	./s2 type=socket mode=0644 tags=hl:s
	./xattr type=file mode=0644 size=2 sha256digest=$blob tags=xattr:user.a:YQ==,xattr:user.b:@$blob,xattr:user.c:@$(printf "%064d" 6)
	./again3 type=dir mode=0755 tags=again:.
	END
	tree=$(by_hand tree tree)
	printf "chkfs-snapshot 1\nroot . type=dir mode=0755 tags=tree:%s\nname \377\nsource /\303\274/..\nfinished x y\n\n" \
		"$tree" >snapshot
	key=$(by_hand snapshot snapshot)
	same list
	same times "$key"
	same tar "$key"
	tar -tf py.out >names 2>err || grep -q "out of uid_t range" err
	grep -qx ./link names
	! grep -e passwd -e up names || exit 1
	for path in link nothing odd badlink numbers lost again nokey; do same tar "$key:$path" || { echo $path; exit 1; }; done
	python3 store/restore.py ls "$key" >out 2>err || [ $? = 3 ]
	printf "chkfs-snapshot 1\nroot . %s\nsource /x/..\n\n" "$file" >snapshot
	same tar "$(by_hand snapshot snapshot)"
	printf "chkfs-snapshot 1\n\n" >snapshot
	same tar "$(by_hand snapshot snapshot)"
	same list
'
test_expect_success 'what metadata may come: unknown keywords and tags are passed over, attributes come out of any form' '
	golden gzip
	printf "x\n" >x
	blob=$(by_hand blob x)
	head -c 3000 /dev/urandom >binary
	binary=$(by_hand blob binary)
	printf "\000\001=%%\012\377" >short
	{
		printf "#mtree\n# chkfs tree 1\n. type=dir\n"
		printf "%s\n" "./a type=file mode=0644 uid=1 gid=2 size=2 time=1.000000000 sha256digest=$blob flags=uchg,nodump nlink=2 tags=btime:1.000000000,atime:2.000000000,flags:nocow,dos:hs,ntfs.acl:AQA=,x-new:a:b:c,xattr:user.a\\072b\\075\\045\\054c:$(base64 -w 0 short),xattr:user.big:@$binary,xattr:user.none:,xattr:security.capability:AQAAAgAgAAAAAAAAAAAAAAAAAAA="
		echo "./d type=dir mode=0755 uid=1 gid=2 time=1.000000000 flags=nodump tags=xattr:user.tree:dHJlZTo=,tree:$(by_hand tree x)"
		echo "./e type=file mode=0644 time=1.000000000 size=2 sha256digest=$blob tags=data:0-1,damaged:0-1+1-2"
		echo "./f type=file mode=0644 time=1.000000000 size=2 sha256digest=$blob tags=damaged:@$blob"
		echo "./g type=file mode=0644 time=1.000000000 size=2 sha256digest=$blob optional nochange tags=changed:1,xattr:user.x:b=%%,xattr:user.y:\$(id)"
		echo "./l type=link mode=0777 uid=1 gid=2 time=1.000000000 link=a tags=xattr:trusted.x:YQ=="
	} >tree
	key=$(printf "chkfs-snapshot 1\nroot . type=dir mode=0755 flags=nodump tags=xattr:user.top:MQ==,tree:%s\nnew thing\n\n" \
		"$(by_hand tree tree)" >snapshot && by_hand snapshot snapshot)
	same ls "$key"
	grep -q " e (is damaged: .* zeros at the bytes 0-1+1-2)$" py.out
	same times "$key"
	same cat "$key:e"
	grep -q "^restore.py: .e. is damaged: .* at the bytes 0-1+1-2$" py.err
	same tar "$key"
	[ "$(grep -c " is damaged: " py.err)" = 2 ]
	[ "$(grep -c "/g. has an attribute that is none: xattr:user" py.err)" = 2 ]
	cat >attributes.py <<-\END
	import sys, tarfile
	for member in tarfile.open(sys.argv[1], errors="surrogateescape"):
	    for name, value in sorted(member.pax_headers.items()):
	        if name.startswith("SCHILY.xattr."):
	            print(member.name, name[13:], value.encode("utf-8", "surrogateescape").hex())
	END
	python3 attributes.py py.out >out
	hex() { od -An -v -tx1 "$1" | tr -d " \n"; }
	sort >wanted <<-END
	. user.top 31
	./a security.capability 0100000200200000000000000000000000000000
	./a user.a:b%3D%25,c $(hex short)
	./a user.big $(hex binary)
	./a user.none 
	./d user.tree 747265653a
	./l trusted.x 61
	END
	sort out | diff wanted -
'
test_expect_success 'ls of dates before and after all calendars' '
	{
		printf "#mtree\n# chkfs tree 1\n. type=dir\n"
		for time in 0 -1 -62135596800 -62135596801 -99999999999 253402300799 253402300800 951782400 4107542399 99999999999; do
			echo "./t$time type=file mode=4751 time=$time.000000000"
		done
	} >tree
	printf "chkfs-snapshot 1\nroot . type=dir mode=0755 tags=tree:%s\n\n" "$(by_hand tree tree)" >snapshot
	same ls "$(by_hand snapshot snapshot)"
	[ "$(wc -l <py.out)" = 10 ]
	grep -q "^-rwsr-x--x .* 2000-02-29 00:00:00 t951782400$" py.out
'
test_expect_success 'a store that cannot be written, no refs, no indexes' '
	golden gzip
	rm -r store/refs store/packs/*.index
	key=$(python3 store/restore.py list 2>err | grep "	everything	" | cut -f 1)
	same tar "$key"
	grep -q "the index of packs/pack-.* is missing or damaged" py.err
	find store >before
	same check
	find store | cmp before -
'
test_expect_success 'nobody reads to the end: no traceback' '
	golden gzip
	(python3 store/restore.py tar everything 2>err; echo $? >status) | head -c 1000 >out
	[ "$(cat status)" != 0 ]
	[ ! -s err ] || ! grep -v "is a socket" err
'
test_expect_success 'nothing but the standard library, and no syntax after Python 3.6' '
	cat >old.py <<-END
	import ast, sys
	text = open(sys.argv[1]).read()
	tree = ast.parse(text, feature_version=(3, 6))
	imports = set()
	for node in ast.walk(tree):
	    if isinstance(node, ast.Import):
	        imports.update(alias.name for alias in node.names)
	    if isinstance(node, ast.ImportFrom):
	        imports.add(node.module)
	    later = {"capture_output", "text", "removeprefix", "removesuffix", "missing_ok", "bit_count", "fromisoformat"}
	    name = getattr(node, "attr", None) or getattr(node, "arg", None)
	    assert name not in later or isinstance(node, ast.arg), name
	    assert not isinstance(node, ast.JoinedStr), "f-strings may nest only since 3.12: none"
	compression = {"compression", "compression.zstd"}
	assert imports <= set(sys.stdlib_module_names) | compression, imports
	allowed = set("base64 bz2 collections hashlib itertools lzma os re shutil subprocess sys zlib".split())
	assert imports <= allowed | compression, imports
	END
	python3 old.py "$ROOT/chkfs/written/restore.py"
'
for version in 3.6 3.7 3.8 3.9 3.10 3.12 3.13 3.14; do
	VERSION=$version
	export VERSION
	test_expect_success "Python $VERSION gives the same" '
		"python$VERSION" -c "" 2>/dev/null || skip "there is no Python $VERSION"
		golden gzip
		for words in list "ls everything" "cat everything:listed" "tar everything" "tar special" "times everything" check; do
			# shellcheck disable=SC2086 # words
			python3 store/restore.py $words >out 2>&1 || true
			# shellcheck disable=SC2086 # words
			"python$VERSION" store/restore.py $words 2>&1 | cmp out -
		done
	'
done
test_expect_success '.zst files where there is no zstd: what is missing, and how to get it' '
	golden zstd
	python3 -c "import compression.zstd" 2>err && skip "this Python has zstd itself"
	mkdir empty
	python=$(python3 -c "import sys; print(sys.executable)")
	PATH=$SCRATCH/empty test_expect_code 3 "$python" store/restore.py tar everything >out 2>err
	grep -q "there are .zst files in this store, and no program .zstd. here" err
	grep -q "apt install zstd" err
'
test_done
