#!/bin/sh
# chkfs-repack: it changes where objects are and how they are compressed, and nothing that anybody can see of them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

mkdir -p src/sub && for n in $(seq 120); do seq "$n" $((n + 300)) >"src/sub/$n"; done &&
	head -c 700000 /dev/urandom >src/random && seq 200000 >src/numbers && head -c 9000000 /dev/urandom >src/big || exit
packs() { find store/packs -name '*.tar*' | wc -l; }
backups() { # so many, each with a new file
	for n in $(seq "$1"); do
		echo "$n" >"src/file$n"
		chkfs-backup -q src >/dev/null || return
	done
}
state() { # all that can be seen of the store without looking into packs and objects
	chkfs-list-objects --sizes | sort
	chkfs-for-each-ref
	chkfs-log src
	chkfs-rev-list src | while read -r key; do chkfs-ls -lr "$key" || echo "no $key"; done
}

test_expect_success 'four backups and some plumbing, and what can be seen of them' '
	chkfs-init store
	backups 4
	echo "a small file" | chkfs-hash-object -w --stdin >small
	chkfs-hash-object -w src/sub/7 src/big >keys
	echo "./name type=file mode=0644 size=13 sha256digest=$(cat small)" | chkfs-mktree >tree
	echo text | chkfs-hash-object -w --stdin >>keys
	state >before
	grep -q "blob" before
	[ "$(packs)" -ge 4 ]
	cp -R store saved
'
test_expect_success 'repack: one pack, everything as before, and it says what it did' '
	chkfs-repack >out 2>err
	[ ! -s out ]
	grep -qxE "packs: [0-9]+, now 1; files of their own: [0-9]+, now [0-9]+; bytes: [0-9]+, now [0-9]+" err
	[ "$(packs)" -eq 1 ]
	[ ! -e "store/objects/blob/$(cut -c 1-2 small)/$(cat small)" ]
	state | cmp before -
	[ "$(chkfs-cat-object -p "$(cat small)")" = "a small file" ]
	[ "$(chkfs-cat-object -p "$(cat tree):name")" = "a small file" ]
	chkfs-fsck --full >out
	[ ! -s out ]
	chkfs-restore -q src back
	same_trees src back
	rm -r back
	[ -z "$(ls -A store/incoming)" ]
'
test_expect_success 'again: nothing to do, and nothing touched' '
	find store -type f -exec stat -c "%n %i %Z" {} + >files
	chkfs-repack 2>err
	grep -qx "nothing to do" err
	find store -type f -exec stat -c "%n %i %Z" {} + | cmp files -
	chkfs-repack -q 2>err
	[ ! -s err ]
'
test_expect_success 'a backup afterwards reads nothing again and stores nothing' '
	chkfs-list-objects >a
	need strace
	strace -f -e trace=openat -o trace chkfs-backup -q src
	! grep -v O_DIRECTORY trace | grep -E "\"([^\"]*/)?(random|numbers|big|file[0-9]+|[0-9]+)\"" || exit 1
	chkfs-list-objects | grep -v snapshot >b
	grep -v snapshot a | cmp - b
	chkfs-repack -q
'
for codec in bzip2 xz zstd none gzip; do
	test_expect_success "--compression $codec: everything in that codec, and as before" "
		chkfs-rev-list src | tail -n 1 >oldest
		chkfs-restore -q src expected
		chkfs-repack -q --compression $codec
		suffix=\$(echo $codec | sed 's/gzip/.gz/; s/bzip2/.bz2/; s/^xz/.xz/; s/zstd/.zst/; s/none//')
		[ \"\$(packs)\" -eq 1 ]
		ls store/packs/*.tar\"\$suffix\"
		[ -z \"\$(find store/objects -name '*.*' ! -name \"*\${suffix:-none}\")\" ]
		chkfs-restore -q src back
		same_trees expected back
		rm -r back expected
		chkfs-restore -q \"\$(cat oldest)\" back
		[ -e back/file1 ] && [ ! -e back/file2 ]
		rm -r back
		chkfs-fsck --full >out
		[ ! -s out ]
	"
done
test_expect_success 'restore.sh and tar read the new packs, and every pack is what its name says' '
	mkdir unpacked by-hand
	for pack in store/packs/*.tar.gz; do tar -xzf "$pack" -C unpacked; done
	(cd unpacked/blob && sha256sum -- * | grep -v "\.list$" | awk "\$1 != \$2 { exit 1 }")
	[ "$(ls unpacked/blob | wc -l)" -gt 120 ]
	sh store/restore.sh tar src | tar -xpf - -C by-hand
	same_contents src by-hand
	(cd store/packs && for pack in *.tar.gz; do
		echo "$(echo "$pack" | cut -c 6-69)  $pack"
	done | sha256sum -c --quiet)
'
test_expect_success '--max-pack-size' '
	for n in 1 2 3; do
		rm -rf many
		mkdir many
		for m in 1 2 3 4 5 6 7 8 9; do head -c 200000 /dev/urandom >many/$m; done
		chkfs-backup -q many >/dev/null
	done
	chkfs-repack -q --max-pack-size 3M
	[ -z "$(find store/packs -size +3072k)" ]
	[ "$(packs)" -ge 2 ]
	chkfs-repack --max-pack-size 3072K 2>err
	grep -qx "nothing to do" err
	chkfs-fsck --full
'
test_expect_success 'wrong usage: 2; no store: 128' '
	for words in "--compression lzma" "--max-pack-size 5k" "--max-pack-size many" "--max-pack-size -1" "--max-pack-size 10" "word" "-q -v"; do
		# shellcheck disable=SC2086 # words
		test_expect_code 2 chkfs-repack $words 2>err
		[ -s err ]
	done
	test_expect_code 128 chkfs-repack --store nowhere 2>err
	grep -q "is not a store" err
'
test_expect_success 'a damaged pack is named and stays: 3' '
	rm -r store
	cp -R saved store
	pack=$(ls -S store/packs/*.tar.gz | head -n 1)
	chmod u+w "$pack"
	printf XX | dd of="$pack" bs=1 seek=3000 conv=notrunc 2>/dev/null
	sha256sum "$pack" >sum
	test_expect_code 1 chkfs-fsck --full >damage
	test_expect_code 3 chkfs-repack 2>err
	grep -q "^chkfs-repack: .packs/${pack##*/}. is damaged and stays as it is: .*chkfs-fsck" err
	sha256sum -c --quiet sum
	test_expect_code 1 chkfs-fsck --full >after
	sort damage >a
	sort after | cmp a -
	chmod u-w "$pack"
'
test_expect_success 'a store that cannot be written is left as it is' '
	[ "$(id -u)" -ne 0 ] || need unshare
	rm -r store
	cp -R saved store
	if [ "$(id -u)" -eq 0 ]; then
		unshare -m sh -c "mount --bind store store && mount -o remount,bind,ro store && chkfs-repack" 2>err && exit 1
		grep -q "read-only\|Read-only" err
	fi
	state | cmp before -
'
test_expect_success 'readers, fsck and a backup loop while it goes on, in one codec after the other' '
	rm -r store
	cp -R saved store
	: >going
	{ # readers, each with a cache of its own
		while [ -e going ]; do
			XDG_CACHE_HOME=$SCRATCH/cache1 chkfs-list-objects --sizes | sort >seen
			grep -vxF -f seen before | grep -E "^[0-9a-f]{64} (blob|tree|snapshot) [0-9]+$" && echo "list-objects misses these"
			XDG_CACHE_HOME=$SCRATCH/cache1 chkfs-restore -q "$(head -n 1 versions)" read1 || echo restore
			rm -rf read1
		done
	} >readers 2>&1 &
	{
		while [ -e going ]; do
			XDG_CACHE_HOME=$SCRATCH/cache2 chkfs-fsck --full || echo "fsck $?"
		done
	} >checks 2>&1 &
	chkfs-rev-list src >versions
	{
		n=0
		while [ -e going ] && [ "$n" -lt 60 ]; do
			n=$((n + 1))
			mkdir -p busy
			echo "version $n" >busy/file
			seq "$n" 999 >busy/more
			chkfs-backup -q busy || echo "backup $?"
			echo "loose $n" | chkfs-hash-object -w --stdin || echo "hash-object $?"
		done
	} >writer 2>&1 &
	for codec in bzip2 gzip zstd gzip xz none zstd gzip; do
		chkfs-repack -q --compression $codec || { echo "$codec $?"; rm going; exit 1; }
		chkfs-repack -q || { rm going; exit 1; }
	done
	rm going
	wait
	cat readers checks
	[ ! -s readers ]
	! grep -v "^dangling\|^leftover" checks || exit 1 # a ref that has not moved yet, an index between two steps
	! grep -vE "^[0-9a-f]{64}(	refs/backups/busy)?$" writer || exit 1
	chkfs-fsck --full >out
	[ ! -s out ]
	chkfs-list-objects --sizes | sort >seen
	[ -z "$(grep -E "^[0-9a-f]{64} (blob|tree|snapshot) [0-9]+$" before | grep -vxF -f seen)" ]
	[ "$(chkfs-rev-list busy | wc -l)" = "$(grep -c refs/backups/busy writer)" ]
	for key in $(chkfs-rev-list busy); do
		chkfs-restore -q "$key" one
		grep -q version one/file
		rm -r one
	done
'
test_expect_success 'killed again and again, and several at once' '
	rm -r store
	cp -R saved store
	chkfs-restore -q src expected
	for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
		codec=$(echo "gzip xz zstd bzip2" | cut -d " " -f $((n % 4 + 1)))
		timeout -s KILL "0.$((n * 7 % 10 + 1))" chkfs-repack -q --compression "$codec" || [ $? -eq 137 ]
	done
	chkfs-repack -q --compression xz &
	chkfs-repack -q --compression gzip &
	chkfs-repack -q --compression zstd &
	wait
	chkfs-repack -q --compression gzip
	state | cmp before -
	chkfs-fsck --full >out
	[ ! -s out ]
	chkfs-restore -q src back
	same_trees expected back
	[ "$(packs)" -eq 1 ]
'
test_done
