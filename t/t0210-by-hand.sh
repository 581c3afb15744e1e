#!/bin/sh
# Every way in STORE/README to get at things by hand, with plain tools and without chkfs.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

sum() { sha256sum | cut -c 1-64; }
plain() { case $1 in *.gz) gzip -dc "$1" ;; *.bz2) bzip2 -dc "$1" ;; *.xz) xz -dc "$1" ;; *.zst) zstd -dcq "$1" ;; *) cat "$1" ;; esac; }
packed() { # MEMBER: a member of a pack, by its index, as the README says it
	line=$(grep "$1 " store/packs/*.index /dev/null | head -n 1)
	[ -n "$line" ] || return
	# shellcheck disable=SC2046 # words of a line
	set -- "$1" $(echo "$line" | sed 's/\.index:/ /')
	pack=$(echo "$2".tar*)
	case $pack in *.gz) unpack='gzip -dc' ;; *.bz2) unpack='bzip2 -dc' ;; *.xz) unpack='xz -dc' ;; *.zst) unpack='zstd -dcq' ;;
	*) unpack='cat' ;; esac
	tail -c +$(($5 + 1)) "$pack" | head -c "$6" | $unpack | tar xO "$1"
}
object() { # TYPE KEY: an object in whatever form it has
	stem=store/objects/$1/$(echo "$2" | cut -c 1-2)/$2
	for path in "$stem" "$stem".gz "$stem".bz2 "$stem".xz "$stem".zst; do
		if [ -e "$path" ]; then plain "$path"; return; fi
	done
	if grep -q "^$1/$2 " store/packs/*.index; then packed "$1/$2"; return; fi
	if [ -e "$stem.list" ]; then cat "$stem.list"; else packed "$1/$2.list"; fi | grep -v '^#' |
		while read -r piece _; do object blob "$piece"; done
}
# shellcheck disable=SC2059 # quoted names are made for printf
decoded() { printf "$1."; }
restore() ( # TREE DIRECTORY: contents and names, by cat, grep and printf alone
	mkdir "$2"
	object tree "$1" | grep '^\./' >"$2.lines"
	while read -r name fields; do
		name=$(decoded "${name#./}")
		name=${name%.}
		case $fields in
		*type=dir*) restore "$(printf '%s\n' "$fields" | sed 's/.*tags=\(.*,\)*tree:\([0-9a-f]*\).*/\2/')" "$2/$name" ;;
		*type=file*) object blob "$(printf '%s\n' "$fields" | sed 's/.*sha256digest=\([0-9a-f]*\).*/\1/')" >"$2/$name" ;;
		*type=link*) target=$(decoded "$(printf '%s\n' "$fields" | sed 's/.* link=\([^ ]*\).*/\1/')"); ln -s "${target%.}" "$2/$name" ;;
		esac
	done <"$2.lines"
	rm "$2.lines"
)

test_expect_success 'a source' '
	mkdir -p "src/sub dir/deep" src/many
	echo hello >src/hello
	: >src/empty
	for n in $(seq 30); do echo "$n" >src/many/$n; done
	echo odd >"src/$(printf "new\nline %%s \\\\ \377\n")"
	echo x >"src/sub dir/$(printf "Gr\303\274\303\237e")"
	ln -s "to a b" src/link
	head -c 300000 /dev/urandom >src/plain
	yes text | head -c 300000 >src/compressed
	{ head -c 5000000 /dev/urandom; yes "more text" | head -c 4000000; } >"src/sub dir/deep/big"
'
for codec in gzip none bzip2 xz zstd; do
	CODEC=$codec
	export CODEC
	test_expect_success "$codec: a whole backup, step by step, without chkfs" '
		[ $CODEC = none ] || need $CODEC
		rm -rf store back
		chkfs-init --compression $CODEC store
		chkfs-backup -q --store store src >out
		PATH=/usr/local/bin:/usr/bin:/bin
		! command -v chkfs || exit 1
		key=$(cat store/refs/backups/src)
		path=store/objects/snapshot/$(echo "$key" | cut -c 1-2)/$key
		[ "$(sum <"$path")" = "$key" ]
		tree=$(sed -n "s/^root .*tags=tree:\\([0-9a-f]*\\).*/\\1/p" "$path")
		restore "$tree" back
		diff -r --no-dereference src back
	'
done
test_expect_success 'plain: cp' '
	rm -r store
	chkfs-init store
	chkfs-backup -q --store store src >made
	key=$(sum <src/plain)
	cp "store/objects/blob/$(echo "$key" | cut -c 1-2)/$key" copy
	cmp src/plain copy
'
test_expect_success 'compressed: gzip -dc' '
	key=$(sum <src/compressed)
	gzip -dc "store/objects/blob/$(echo "$key" | cut -c 1-2)/$key.gz" | cmp src/compressed -
'
test_expect_success 'in a pack: grep, tail, head, gzip, tar' '
	key=$(sum <src/hello)
	grep "$key" store/packs/*.index >found
	[ "$(wc -l <found)" = 1 ]
	read -r _ size offset length <found
	[ "$size" = 6 ]
	tail -c +$((offset + 1)) store/packs/*.tar.gz | head -c "$length" | gzip -dc | tar xO "blob/$key" | cmp src/hello -
'
test_expect_success 'in a pack: grep with a second file says which pack it is, also when there is only one' '
	grep "blob/$(sum <src/hello)" store/packs/*.index /dev/null | grep "^store/packs/pack-.*\\.index:blob/"
	grep -F "packs/*.index /dev/null" store/README
'
test_expect_success 'in a pack, from outside: the same with dd, and with busybox alone' '
	key=$(sum <src/hello)
	read -r _ _ offset length <found
	dd if="$(echo store/packs/*.tar.gz)" iflag=skip_bytes,count_bytes skip="$offset" count="$length" bs=64k 2>/dev/null |
		gzip -dc | tar xO "blob/$key" | cmp src/hello -
	need busybox
	busybox tail -c +$((offset + 1)) store/packs/*.tar.gz | busybox head -c "$length" | busybox gzip -dc |
		busybox tar xO "blob/$key" | cmp src/hello -
'
test_expect_success 'everything at once, into an empty directory' '
	mkdir all
	store=$SCRATCH/store
	(cd all && for p in "$store"/packs/*.tar.gz; do tar xzf "$p"; done)
	cmp src/hello "all/blob/$(sum <src/hello)"
	[ -s "all/tree/$(chkfs-rev-parse --store store src:)" ]
	find all -type f ! -name "*.list" | while read -r path; do [ "$(sum <"$path")" = "${path##*/}" ]; done
'
test_expect_success 'in pieces: the keys of the list, one behind the other' '
	list=all/blob/$(sum <"src/sub dir/deep/big").list
	[ -s "$list" ]
	grep -v "^#" "$list" | while read -r key size; do object blob "$key"; done | cmp "src/sub dir/deep/big" -
'
test_expect_success 'do I have this already? sha256sum and grep know' '
	has() { key=$(sum <"$1"); grep -q "^blob/${key}[. ]" store/packs/*.index || ls store/objects/blob/*/"$key"* >out 2>&1; }
	for file in src/hello src/plain src/compressed "src/sub dir/deep/big" src/empty; do has "$file"; done
	echo new >new
	! has new || exit 1
'
test_expect_success 'the index ends with the digest of its lines' '
	for index in store/packs/*.index; do
		[ "$(sed "\$d" "$index" | sum)" = "$(sed -n "\$s/^# sha256 //p" "$index")" ]
		sed "\$d" "$index" | LC_ALL=C sort -c
	done
'
test_expect_success 'the README names every kind of file that the store has' '
	for word in config refs/backups logs/refs objects/snapshot objects/blob objects/tree packs/pack- .index .list incoming \
		.gz .bz2 .xz .zst sha256sum; do
		grep -qF -- "$word" store/README
	done
	(cd store && find . -mindepth 1 -maxdepth 1 -printf "%P\n") | while read -r name; do
		[ "$name" = README ] || grep -qw "$name" store/README
	done
'
test_expect_success 'the log of a ref tells every value that it had' '
	echo more >>src/hello
	chkfs-backup -q --store store src >>made
	[ "$(cut -d " " -f 2 store/logs/refs/backups/src)" = "$(cut -f 1 made)" ]
'
test_done
