#!/bin/sh
# All five codecs: the same tree, restored equal, and unpacked without us by tar and the codec's own program.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

plain() { # CODEC: standard input, decompressed by the program that everybody has
	case $1 in none) cat ;; gzip) gzip -dc ;; bzip2) bzip2 -dc ;; xz) xz -dc ;; zstd) zstd -dcq ;; esac
}
suffix() { case $1 in none) ;; gzip) echo .gz ;; bzip2) echo .bz2 ;; xz) echo .xz ;; zstd) echo .zst ;; esac; }
have() { [ "$1" = none ] || need "$1"; }
sum() { sha256sum | cut -c 1-64; }

test_expect_success 'a tree with small, middle and big files, that compress and that do not' '
	mkdir -p src/many src/sub
	seq 1 400 | while read -r n; do seq "$n" $((n * 3)) >src/many/$n; done
	: >src/empty
	printf "\0\377" >src/bytes
	yes "compressible text" | head -c 400000 >src/text
	head -c 400000 /dev/urandom >src/random
	head -c 200000 /dev/urandom >src/sub/small-random
	{ head -c 5000000 /dev/urandom; seq 1 700000; } >src/sub/big
'
for codec in none gzip bzip2 xz zstd; do
	CODEC=$codec SUFFIX=$(suffix $codec)
	export CODEC SUFFIX
	test_expect_success "$codec: backup, and restore equal" '
		chkfs-init --compression $CODEC $CODEC
		chkfs-backup -q --store $CODEC src >out
		chkfs-restore -q --store $CODEC src $CODEC.back
		same_trees src $CODEC.back
		rm -r $CODEC.back
		rm -r "$XDG_CACHE_HOME"
		chkfs-restore -q --store $CODEC src $CODEC.back
		same_trees src $CODEC.back
		rm -r $CODEC.back
	'
	test_expect_success "$codec: the files of the store are named for what they are" '
		find $CODEC/packs -name "*.tar*" -printf "%f\n" >packs
		[ -s packs ]
		! grep -v "^pack-[0-9a-f]\\{64\\}\\.tar$SUFFIX$" packs || exit 1
		while read -r pack; do
			[ "pack-$(sum <"$CODEC/packs/$pack").tar$SUFFIX" = "$pack" ]
			[ -e "$CODEC/packs/${pack%%.*}.index" ]
		done <packs
		find $CODEC/objects/blob -type f -printf "%f\n" >loose
		! grep -vx "[0-9a-f]\\{64\\}\\($SUFFIX\\)\\{0,1\\}" loose || exit 1
		text=$(sum <src/text)
		[ -e "$CODEC/objects/blob/$(echo "$text" | cut -c 1-2)/$text$SUFFIX" ]
		random=$(sum <src/random)
		[ -e "$CODEC/objects/blob/$(echo "$random" | cut -c 1-2)/$random" ]
	'
	test_expect_success "$codec: tar and $codec unpack every pack, and every member is what its name says" '
		have $CODEC
		rm -rf unpacked
		mkdir unpacked
		for pack in "$CODEC"/packs/*.tar*; do
			plain $CODEC <"$pack" | tar xf - -C unpacked 2>err
			[ ! -s err ]
		done
		find unpacked -type f ! -name "*.list" -printf "%f\n" | sort >names
		find unpacked -type f ! -name "*.list" -exec sha256sum {} + | cut -c 1-64 | sort >sums
		[ "$(wc -l <names)" -gt 400 ]
		cmp names sums
		chkfs-list-objects --store $CODEC | grep -v snapshot | cut -c 1-64 | sort >listed
		{ cat names; find unpacked -name "*.list" -printf "%f\n" | cut -c 1-64; cut -c 1-64 loose; } | sort >all
		cmp listed all
	'
	test_expect_success "$codec: tar with its own option for it unpacks every pack" '
		have $CODEC
		rm -rf again
		mkdir again
		for pack in "$CODEC"/packs/*.tar*; do tar xaf "$pack" -C again; done
		diff -r unpacked again
	'
	test_expect_success "$codec: files of their own are what their names say" '
		have $CODEC
		find $CODEC/objects/blob -type f >paths
		[ -s paths ]
		while read -r path; do
			name=${path##*/}
			case $name in *.*) plain $CODEC <"$path" ;; *) cat "$path" ;; esac | sum >key
			[ "$(cat key)" = "${name%%.*}" ]
		done <paths
	'
	test_expect_success "$codec: the pieces of the big file, one behind the other" '
		have $CODEC
		list=$(echo unpacked/blob/*.list)
		[ "$(sum <src/sub/big)" = "$(basename "$list" .list)" ]
		[ "$(head -n 1 "$list")" = "# chkfs list 1" ]
		grep -v "^#" "$list" | while read -r key size; do
			if [ -e "unpacked/blob/$key" ]; then cat "unpacked/blob/$key" >piece
			else
				path=$CODEC/objects/blob/$(echo "$key" | cut -c 1-2)/$key
				if [ -e "$path" ]; then cat "$path" >piece; else plain $CODEC <"$path$SUFFIX" >piece; fi
			fi
			[ "$(wc -c <piece)" = "$size" ]
			cat piece
		done | cmp - src/sub/big
	'
done
test_expect_success 'every codec gives the same keys' '
	for codec in gzip bzip2 xz zstd none; do chkfs-rev-parse --store $codec src:; done >keys
	[ "$(sort -u keys | wc -l)" = 1 ]
'
test_expect_success 'one store with objects of all codecs' '
	chkfs-init mixed
	for codec in gzip bzip2 xz zstd none; do
		sed -i "s/compression = .*/compression = $codec/" mixed/config
		mkdir -p mix
		seq 1 50 | sed "s/^/$codec /" >mix/$codec
		yes "$codec" | head -c 300000 >mix/$codec.large
		chkfs-backup -q --store mixed mix
	done
	[ "$(find mixed/packs -name "*.tar*" | sed "s/.*\\.tar//" | sort -u | wc -l)" = 5 ]
	chkfs-restore -q --store mixed mix mix.back
	same_trees mix mix.back
	chkfs-restore -q --store mixed mix~3 mix.then
	[ "$(ls mix.then)" = "$(printf "bzip2\nbzip2.large\ngzip\ngzip.large")" ]
'
test_expect_success 'busybox unpacks what it has a decompressor for' '
	need busybox
	for codec in gzip bzip2 xz; do
		case $codec in gzip) how=z ;; bzip2) how=j ;; xz) how=J ;; esac
		rm -rf unpacked
		mkdir unpacked
		for pack in "$codec"/packs/*.tar*; do busybox tar x${how}f "$pack" -C unpacked; done
		find unpacked -type f ! -name "*.list" -printf "%f\n" | sort >names
		find unpacked -type f ! -name "*.list" -exec sha256sum {} + | cut -c 1-64 | sort | cmp names -
	done
'
test_expect_success 'xz and zstd stay inside what default decoders accept' '
	need xz
	for pack in xz/packs/*.xz; do
		xz --robot -lvv "$pack" | awk "\$1 == \"block\" { print \$NF }" | sort -u >filters
		! grep -v "^--lzma2=dict=[0-9]*[KM]iB$" filters || exit 1
		! grep -E "dict=([0-9]{3,}|[7-9][0-9]|6[5-9])MiB" filters || exit 1
	done
	need zstd
	for pack in zstd/packs/*.zst; do zstd -lv "$pack" >about 2>&1 && grep -q "Check: XXH64" about; done
'
test_done
