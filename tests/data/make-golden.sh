#!/bin/sh
# make-golden.sh DIR - makes the golden stores: DIR/{gzip,bzip2,xz,zstd,none} and what must come out of them.
#
# store-1 was made by it once, by root, with the first version of chkfs that wrote format 1, and stays as it is for
# ever: every later chkfs, restore.sh and restore.py must restore it.  Run this again only for a new format.
#
# DIR/everything and DIR/special are what "listing" and "sums" of t/lib.sh say of the restored trees, DIR/xattrs is
# from getfattr.  git keeps no modes and no empty directories: copy a store, then use it.
# shellcheck disable=SC2016,SC1112 # names that look like expressions
LC_ALL=C TZ=UTC
export LC_ALL TZ
umask 022
top=$(mkdir -p "$1" && cd "$1" && pwd) && T=$(cd "$(dirname "$0")/../../t" && pwd) || exit
work=$(mktemp -d) && cd "$work" || exit
trap 'rm -rf "$work"' EXIT
eval "$(sed -n '/^listing() (/,/^)/p; /^sums() (/p' "$T/lib.sh")"
set -e

# A source with every type of entry, and names, times, modes and owners of every kind.
mkdir -p src/sub/more src/read-only src/empty src/'with space' src/"$(printf 'bad\377\nname')"
cd src
printf 'hello\n' >hello
printf '' >zero
for size in 1 511 512 513; do head -c $size /dev/zero | tr '\0' x >size-$size; done
n=0
for name in -dash "it's" '100% %s %d' 'back\slash\101' '#hash' 'glob*?[a]' 'a=b,c:d' '$(id)`id`"' 'Grüße.txt' \
	"$(printf 'new\nline')" "$(printf 'latin\374')" "$(printf 'tab\there\033')" "$(printf '%0250d' 7).txt"; do
	printf 'name %s\n' $((n += 1)) >"./$name"
done
deep=sub
for n in 1 2 3 4 5 6 7 8; do
	deep=$deep/directory-with-a-long-name-$n
	mkdir "$deep"
done
printf 'deep\n' >"$deep/file"
printf 'deep and not ASCII\n' >"$deep/$(printf 'fil\303\251')"
for n in $(seq 20); do echo "file $n" >"sub/more/$n"; done
ln hello sub/hello-2
ln hello sub/more/hello-3
ln -s hello link
ln link sub/link-2
ln -s "$(printf 'a b\n\377%%s')" link-bytes
ln -s "$(printf '%0150d' 3)" link-long
ln "$deep/file" "$deep/file-2"
mkfifo fifo
ln fifo sub/fifo-2
mknod null c 1 3
mknod block b 4095 1048575
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
head -c 9000 /dev/urandom >plain
yes 'a line that compresses' | head -c 30000 >compressed
head -c 20000 /dev/urandom >listed
chown 12345:54321 hello
chown 4294967294:3000000 size-512
chown -h 7:8 link
chmod 4755 zero
chmod 0000 size-511
chmod 6711 size-512
chmod 1777 empty
printf 'in a directory that is read-only\n' >read-only/file
chmod 555 read-only
find . -exec touch -h -d @1353624000 {} +
touch -d @1353624000.000000001 zero
touch -d @-1.5 hello
touch -d @-2 size-512
touch -d @8999999999 size-511
touch -h -d @5000000000.123456789 link-long
touch -d @-7.25 empty
touch -d @1000000000 sub/more sub .
cd ..
{ listing src; sums src; } >"$top/everything"

for codec in gzip bzip2 xz zstd none; do
	CHKFS_STORE=$top/$codec
	export CHKFS_STORE
	rm -rf "$CHKFS_STORE"
	chkfs-init --compression $codec

	# the forms that small files do not get by themselves
	chkfs-hash-object -w src/plain src/compressed >/dev/null
	key=$(sha256sum <src/listed | cut -c -64)
	ab=$(echo "$key" | cut -c -2)
	mkdir -p "$CHKFS_STORE/objects/blob/$ab"
	echo '# chkfs list 1' >"$CHKFS_STORE/objects/blob/$ab/$key.list"
	for skip in 0 1 2; do
		dd if=src/listed of=piece bs=8000 skip=$skip count=1 2>/dev/null
		echo "$(chkfs-hash-object -w piece) $(wc -c <piece)"
	done >>"$CHKFS_STORE/objects/blob/$ab/$key.list"
	chkfs-backup -q --name everything src >/dev/null
	chkfs-backup -q --name single src/hello >/dev/null

	# by hand: what chkfs does not write yet, and what a disk must be broken for
	hello=$(echo hello | chkfs-hash-object -w --stdin)
	long=$(head -c 3000 src/plain | chkfs-hash-object -w --stdin)
	inner=$(chkfs-mktree <<-END
	./loop type=dir mode=0755 uid=0 gid=0 time=5.000000000 tags=again:outer
	./self type=dir mode=0755 uid=0 gid=0 time=5.000000000 tags=again:outer/inner
	./top type=dir mode=0755 uid=0 gid=0 time=5.000000000 tags=again:.
	END
	)
	outer=$(chkfs-mktree <<-END
	./inner type=dir mode=0755 uid=0 gid=0 time=6.000000000 tags=tree:$inner
	END
	)
	none=$(chkfs-mktree </dev/null)
	special=$(chkfs-mktree <<-END
	./changed type=file mode=0644 uid=1 gid=2 size=6 time=7.000000000 sha256digest=$hello tags=changed:1
	./large-xattr type=file mode=0644 uid=0 gid=0 size=6 time=7.000000000 sha256digest=$hello tags=xattr:user.large:@$long
	./outer type=dir mode=0755 uid=0 gid=0 time=8.000000000 tags=tree:$outer,xattr:user.dir:AAECAw==
	./unread type=file mode=0600 uid=0 gid=0 size=12 time=7.000000000 tags=unread:EACCES
	./unread-dir type=dir mode=0700 uid=0 gid=0 time=7.000000000 tags=tree:$none,unread:EIO
	./unknown type=file mode=0644 uid=0 gid=0 size=6 time=7.000000000 sha256digest=$hello tags=dos:hsr,newer:thing
	./xattr type=file mode=0644 uid=0 gid=0 size=6 time=7.000000000 sha256digest=$hello tags=xattr:user.b:AP8K,xattr:user.a\\040\\075:YmFy,xattr:user.empty:
	END
	)
	chkfs-update-ref refs/tags/special "$(chkfs-commit-snapshot -n special -m 'made by hand' "$special")" ""
done
for codec in bzip2 xz zstd none; do # in one of them, what was written into a store then
	rm "$top/$codec/README" "$top/$codec/restore.sh" "$top/$codec/restore.py"
done
mkdir out
sh "$top/gzip/restore.sh" tar special | tar -xpf - --xattrs --xattrs-include='*' -C out
{ listing out; sums out; } >"$top/special"
(cd out && find . | sort | xargs getfattr -h -d -m - -e hex) >"$top/xattrs"
