#!/bin/sh
# restore.sh in every shell with every awk: the same bytes; what GNU tar, bsdtar and busybox tar make of them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
GOLDEN=$ROOT/tests/data/store-1
export GOLDEN

cp -R "$GOLDEN/gzip" store && cp "$ROOT/chkfs/written/restore.sh" store/ || exit
for awk in mawk gawk original-awk 'busybox awk'; do
	mkdir -p "bin/$awk" && printf '#!/bin/sh\nexec %s "$@"\n' "$awk" >"bin/$awk/awk" && chmod +x "bin/$awk/awk" || exit
done
restore() { # SHELL AWK WORD ...
	shell=$1 awk=$2
	shift 2
	# shellcheck disable=SC2086 # busybox sh is two words
	PATH=$SCRATCH/bin/$awk:$PATH $shell store/restore.sh "$@"
}
streams() { # SHELL AWK: everything that restore.sh prints
	for words in list 'ls everything' 'cat everything:listed' 'tar everything' 'tar special' 'times everything' check; do
		code=0
		# shellcheck disable=SC2086 # words
		restore "$1" "$2" $words 2>&1 || code=$?
		echo "$code"
	done
}
for name in dash bash 'busybox sh' mksh yash posh; do
	for other in mawk gawk 'busybox awk' original-awk; do
		SHELL_NAME=$name AWK=$other
		export SHELL_NAME AWK
		test_expect_success "$SHELL_NAME, $AWK: byte for byte the same" '
			need ${SHELL_NAME%% *} ${AWK%% *}
			streams "$SHELL_NAME" "$AWK" >out
			[ -s first ] || cp out first
			cmp first out
		'
	done
done
as_recorded() { # DIR NAME: it is what the record says; tar has no sockets
	{ listing "$1"; sums "$1"; } | grep -av '^\./socket s ' >got
	grep -av '^\./socket s ' "$GOLDEN/$2" | diff -a - got
}
whole_seconds() { sed -E 's/(\.[0-9]{9})[0-9]( |$)/\1\2/; s/ (-?[0-9]+)\.[0-9]{9}( |$)/ \1\2/'; }

test_expect_success 'GNU tar: everything, nanoseconds, extended attributes and all' '
	need_root
	sh store/restore.sh tar everything >everything.tar
	mkdir gnu special
	tar -xpf everything.tar --numeric-owner -C gnu
	as_recorded gnu everything
	sh store/restore.sh tar special >special.tar 2>err || [ $? = 3 ]
	tar -xpf special.tar --xattrs --xattrs-include="*" -C special
	as_recorded special special
	need getfattr setfattr
	: >probe
	setfattr -n user.probe -v 1 probe 2>err || skip "this filesystem keeps no user xattrs"
	(cd special && find . | sort | xargs getfattr -h -d -m - -e hex) | diff "$GOLDEN/xattrs" -
'
test_expect_success 'GNU tar: access control lists' '
	need getfacl setfacl
	mkdir acl
	: >acl/probe
	setfacl -m u:12345:rw- acl/probe 2>err || skip "this filesystem keeps no access control lists"
	value=$(getfattr --only-values -n system.posix_acl_access acl/probe | base64 -w 0)
	tree=$(printf "./f type=file mode=0664 uid=0 gid=0 size=0 time=1.000000000 sha256digest=%s tags=xattr:system.posix_acl_access:%s\n" \
		"$(: | chkfs-hash-object --store store -w --stdin)" "$value" | chkfs-mktree --store store)
	key=$(chkfs-commit-snapshot --store store -n acl "$tree")
	sh store/restore.sh tar "$key" | tar -xpf - --xattrs --xattrs-include="*" -C acl
	getfacl -cnp acl/probe >wanted
	getfacl -cnp acl/f | diff wanted -
'
test_expect_success 'bsdtar: everything, nanoseconds and all; but it reads -1.5 s as -0.5 s' '
	need_root
	need bsdtar
	mkdir bsd
	LC_ALL=C.UTF-8 bsdtar -xpf everything.tar --numeric-owner -C bsd
	{ listing bsd; sums bsd; } | sed "s/ -[0-9]*\.[0-9]*/ BEFORE/" >got
	grep -av "^\./socket s " "$GOLDEN/everything" | sed "s/ -[0-9]*\.[0-9]*/ BEFORE/" | diff -a - got
'
test_expect_success 'bsdtar, busybox tar, and then times: everything, nanoseconds and all' '
	need_root
	need bsdtar busybox
	mkdir busy.times
	busybox tar -xpf everything.tar --numeric-owner -C busy.times
	for dir in bsd busy.times; do
		sh store/restore.sh times everything 2>err | (cd $dir && sh)
		as_recorded $dir everything
	done
'
test_expect_success 'busybox tar: names, types, modes, links, devices, contents' '
	need_root
	need busybox
	mkdir busy
	busybox tar -xpf everything.tar --numeric-owner -C busy
	(cd busy && find . -printf "%p %y %m %n %s %l\0" | sort -z | tr "\0" "\n") >got
	(cd gnu && find . -printf "%p %y %m %n %s %l\0" | sort -z | tr "\0" "\n") | cmp - got
	same_contents gnu busy
	listing busy | grep -av "^[^ ]* [dl] " | whole_seconds >got
	listing gnu | grep -av "^[^ ]* [dl] " | whole_seconds | diff -a - got >differ || true
	! grep -av -e "^[0-9,acd-]*$" -e " -[0-9]*$" -e " -[0-9]* $" -e "^> " differ || exit 1
'
test_done
