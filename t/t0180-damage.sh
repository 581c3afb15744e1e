#!/bin/sh
# Damage of every kind in every place of a store: said clearly, never a traceback, and what is whole is restored.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/broken
export CHKFS_STORE

object() { # TYPE KEY: the path of an object that is a file of its own, below the store
	(cd "$SCRATCH/pristine" && find "objects/$1" -name "$2*")
}
sum() { sha256sum <"$1" | cut -c 1-64; }
afresh() { rm -rf broken back "$XDG_CACHE_HOME/chkfs" && cp -a pristine broken; }
damage() { # HOW FILE
	chmod u+w "$2"
	size=$(wc -c <"$2")
	case $1 in
	cut) truncate -s $((size * 2 / 3)) "$2" ;;
	flip) # a byte in the middle becomes another
		byte=$(tail -c +$((size / 2 + 1)) "$2" | head -c 1 | od -An -tu1)
		# shellcheck disable=SC2059 # the format is the byte
		printf "\\$(printf %o $((255 - byte)))" | dd of="$2" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null ;;
	zero) dd if=/dev/zero of="$2" bs=1 seek=$((size / 3)) count=$((size / 3)) conv=notrunc 2>/dev/null ;;
	empty) : >"$2" ;;
	grow) head -c 100 /dev/urandom >>"$2" ;;
	lose) rm -f "$2" ;;
	garbage) head -c "$size" /dev/urandom >"$2" ;;
	directory) rm -f "$2" && mkdir "$2" ;;
	esac
}
sweep() { # the reading commands
	tries chkfs-log "chkfs-ls -lr src" "chkfs-list-objects --sizes" "chkfs-cat-object --batch" "chkfs-restore src back"
}
tries() { # COMMAND ...: no traceback; whoever fails says why; the status of the last is left in $restored
	rm -rf back
	for command; do
		code=0
		# shellcheck disable=SC2086 # words of a command
		$command >out 2>err <objects || code=$?
		case $code in 0 | 1 | 3 | 128) ;; *) echo "$command: status $code"; cat err; return 1 ;; esac
		if grep -q '^Traceback' err; then echo "$command:"; cat err; return 1; fi
		if [ "$code" -gt 1 ] && [ ! -s err ]; then echo "$command: status $code and no word of it"; return 1; fi
	done
	restored=$code
}
all_but() { # PATH ...: back holds what src holds, but for these, and what it holds is right
	(cd src && find . -type f | sort) >there
	for path; do grep -vxF "./$path" there >less && mv less there; done
	(cd back && find . -type f | sort) | diff there - || return
	while read -r path; do cmp "src/$path" "back/$path" || return; done <there
}

test_expect_success 'a store with everything in it' '
	CHKFS_STORE=$SCRATCH/pristine
	chkfs-init pristine
	mkdir -p src/sub/deep other
	echo packed >src/sub/packed
	echo top >src/top
	: >src/empty
	for n in $(seq 200); do echo "$n" >src/sub/deep/$n; done
	head -c 400000 /dev/urandom >src/plain
	yes "a line that compresses" | head -c 400000 >src/gzipped
	head -c 9000000 /dev/urandom >src/big
	ln -s top src/link
	echo other >other/file
	chkfs-backup -q src
	chkfs-backup -q other
	CHKFS_STORE=$SCRATCH/pristine chkfs-rev-parse src other >snapshots
	[ "$(find pristine/packs -name "*.gz" | wc -l)" = 2 ]
	chkfs-list-objects | cut -d " " -f 1 >objects
	afresh
	sweep
	[ $restored = 0 ]
	same_trees src back
'

for how in lose cut flip empty directory; do
	HOW=$how
	export HOW
	test_expect_success "index: $how - no problem at all" '
		afresh
		for index in broken/packs/*.index; do damage $HOW "$index"; done
		sweep
		[ $restored = 0 ]
		same_trees src back
		chkfs-backup -q src
	'
done
for how in cut flip empty lose garbage directory; do
	HOW=$how
	export HOW
	test_expect_success "pack: $how" '
		afresh
		for pack in broken/packs/*.gz; do damage $HOW "$pack"; done
		sweep
		[ $restored = 3 ]
		(cd back && find . -type f) | while read -r path; do cmp "src/$path" "back/$path"; done
	'
	test_expect_success "blobs of their own, and a piece of a big one: $how - only those files are missing, and no half of one is left" '
		afresh
		damage $HOW "broken/$(object blob "$(sum src/plain)")"
		damage $HOW "broken/$(object blob "$(sum src/gzipped)")"
		for pack in broken/packs/*.gz; do tar xOzf "$pack" "blob/$(sum src/big).list" 2>/dev/null || true; done >list
		damage $HOW "broken/$(object blob "$(sed -n "3s/ .*//p" list)")"
		sweep
		[ $restored = 3 ]
		all_but plain gzipped big
		for name in plain gzipped big; do grep -q "^chkfs-restore: .$name. not restored: " err; done
		test_expect_code 128 chkfs-cat-object src:plain >out 2>err
		[ "$(wc -l <err)" = 1 ]
		[ ! -s out ]
		test_expect_code 128 chkfs-cat-object src:big >out
	'
done
for how in cut flip lose directory; do
	HOW=$how
	export HOW
	test_expect_success "snapshot: $how - it cannot be restored, another one can" '
		afresh
		damage $HOW "broken/$(object snapshot "$(head -n 1 snapshots)")"
		sweep
		[ $restored = 128 ]
		[ ! -e back ]
		test_expect_code 1 chkfs-rev-list --all >out
		test_expect_code 1 chkfs-for-each-ref --format "%(ref) %(source)" >out
		[ "$(cat out)" = "refs/backups/other $SCRATCH/other" ]
		chkfs-restore -q other back
		same_trees other back
	'
	test_expect_success "ref: $how - the others are listed and restored, the snapshot is there by its key" '
		afresh
		damage $HOW broken/refs/backups/src
		sweep
		[ $restored = 128 ]
		chkfs-for-each-ref >out 2>err || [ $? = 1 ]
		grep -q "	refs/backups/other$" out
		chkfs-restore -q "$(head -n 1 snapshots)" back
		same_trees src back
		chkfs-restore -q other back2
		same_trees other back2
		rm -rf back2
	'
done
for how in cut flip lose; do
	HOW=$how
	export HOW
	test_expect_success "pack: $how, with a cache that knows it whole" '
		afresh
		chkfs-restore -q src back
		for pack in broken/packs/*.gz; do damage $HOW "$pack"; done
		sweep
		[ $restored = 3 ]
		(cd back && find . -type f) | while read -r path; do cmp "src/$path" "back/$path"; done
	'
done
test_expect_success 'ref: grown by a line' '
	afresh
	echo garbage >>broken/refs/backups/src
	sweep
'
test_expect_success 'ref: damaged, and then a backup: the log says where it was' '
	afresh
	: >broken/refs/backups/src
	chkfs-update-ref refs/backups/src "$(tail -n 1 snapshots)" "$(head -n 1 snapshots)"
	tail -n 1 snapshots | cmp - broken/refs/backups/src
'
test_expect_success 'ref: damaged; log and rev-list tell of it and show the others; fsck --repair sets it again' '
	afresh
	chkfs-log >whole
	: >broken/refs/backups/src
	test_expect_code 1 chkfs-log >out 2>err
	grep -q "(other)" out
	[ "$(grep -c refs/backups/src err)" -eq 1 ]
	test_expect_code 1 chkfs-rev-list --all >keys 2>/dev/null
	[ "$(grep -c "^snapshot" out)" -eq "$(wc -l <keys)" ]
	test_expect_code 0 chkfs-log other
	test_expect_code 1 chkfs-fsck --repair
	chkfs-log | cmp - whole
	chkfs-fsck
'
test_expect_success 'ref: damaged; the next backup of it succeeds' '
	afresh
	: >broken/refs/backups/src
	chkfs-backup -q src
	chkfs-restore -q src back
'
test_expect_success 'snapshot: damaged; the next backup to its ref succeeds' '
	afresh
	damage flip "broken/$(object snapshot "$(head -n 1 snapshots)")"
	chkfs-backup -q src
	chkfs-restore -q src back
	same_trees src back
'
for how in cut empty grow garbage lose directory; do
	HOW=$how
	export HOW
	test_expect_success "log of a ref: $how - only the earlier values are in doubt" '
		afresh
		damage $HOW broken/logs/refs/backups/src
		tries "chkfs-rev-parse src@{0}" "chkfs-rev-parse src@{1}" "chkfs-restore src back"
		[ $restored = 0 ]
		case $HOW in directory) ;; *)
			chkfs-backup -q src
			chkfs-rev-parse "src@{0}" >out
			chkfs-rev-parse src | cmp out - ;;
		esac
	'
	test_expect_success "config: $how - every command says so, or works" '
		afresh
		damage $HOW broken/config
		for command in chkfs-log "chkfs-backup src" "chkfs-restore src back" "chkfs-init broken"; do
			code=0
			$command >out 2>err || code=$?
			! grep Traceback err || { echo "$command"; exit 1; }
			[ $code = 0 ] || [ $code = 128 ] || { echo "$command: $code"; exit 1; }
			[ $code = 0 ] || grep -q "config of .* is damaged\\|is not a store\\|has lost its config\\|has format\\|cannot open the store\\|is not empty" err
		done
		case $HOW in cut | empty | lose | garbage | directory) [ ! -e back ] ;; esac
	'
done
test_expect_success 'config: lost or damaged, the way out is named, and works' '
	for how in lose garbage; do
		afresh
		damage $how broken/config
		test_expect_code 128 chkfs-fsck 2>err
		grep -q "chkfs-init .*/broken. writes a new one" err
		rm -f broken/config
		chkfs-init broken
		chkfs-fsck
		chkfs-restore -q src back
		same_trees src back
	done
'
test_expect_success 'config: each setting wrong or missing' '
	while read -r line; do
		afresh
		sed -i "$line" broken/config
		test_expect_code 128 chkfs-log >out 2>err
		[ "$(wc -l <err)" = 1 ]
		grep -q "is damaged\\|has format" err
	done <<-\END
	s/format = 1/format = one/
	/format/d
	s/id = .*/id = ..\/..\/etc/
	s/id = .*/id =/
	/id =/d
	s/compression = gzip/compression = rot13/
	s/chunker = .*/chunker = rsync/
	s/chunk-average = .*/chunk-average = 0/
	s/chunk-minimum = .*/chunk-minimum = many/
	s/chunk-maximum = .*/chunk-maximum = 99999999999/
	s/.store./[store/
	END
'
test_expect_success 'cat-object --batch: an object that is damaged does not keep the next ones from being answered' '
	afresh
	damage flip "broken/$(object blob "$(sum src/plain)")"
	printf "src:top\nsrc:plain\nsrc:sub/packed\n" >names
	test_expect_code 1 chkfs-cat-object --batch <names >out 2>err
	grep -q "^packed$" out
	[ "$(grep -c "^src:plain damaged$" out)" = 1 ]
	grep -q "is damaged" err
'
test_expect_success 'two objects that changed places: both are noticed' '
	afresh
	plain=broken/$(object blob "$(sum src/plain)")
	mv "$plain" saved
	for name in broken/objects/blob/*/*; do case $name in *.gz) ;; *) piece=$name ;; esac; done
	mv "$piece" "$plain"
	mv saved "$piece"
	sweep
	[ $restored = 3 ]
	all_but plain big
'
test_expect_success 'a second copy serves when the first is damaged, in either form' '
	afresh
	gz=broken/$(object blob "$(sum src/gzipped)")
	gzip -dc "$gz" >"${gz%.gz}"
	cp "${gz%.gz}" copy
	damage flip "$gz"
	sweep
	[ $restored = 0 ]
	same_trees src back
	afresh
	cp copy "${gz%.gz}"
	damage cut "${gz%.gz}"
	sweep
	[ $restored = 0 ]
	same_trees src back
'
test_expect_success 'a compressed file that goes on and on' '
	afresh
	gz=broken/$(object blob "$(sum src/gzipped)")
	chmod u+w "$gz"
	head -c 200000000 /dev/zero | gzip -1 >"$gz"
	sweep
	[ $restored = 3 ]
	all_but gzipped
'
test_expect_success 'directories of the store that are gone' '
	for name in packs objects objects/blob objects/snapshot refs refs/backups logs incoming README; do
		afresh
		rm -rf "broken/$name"
		sweep
		case $name in logs | incoming | README) [ $restored = 0 ]; same_trees src back ;; esac
		chkfs-backup -q other >out 2>err || [ $? = 128 ]
		! grep Traceback err || exit 1
	done
'
test_expect_success 'files that do not belong are let alone' '
	afresh
	echo x >broken/packs/pack-x.tar.gz
	echo x >broken/packs/.hidden
	mkdir broken/packs/directory broken/objects/blob/zz broken/objects/odd
	echo x >broken/objects/blob/file
	echo x >broken/objects/blob/zz/zz
	echo x >broken/refs/backups/.beside.1234
	echo x >broken/refs/file
	mkdir -p broken/refs/backups/empty broken/incoming/dead
	echo x >broken/incoming/dead/pack
	sweep
	[ $restored = 0 ]
	same_trees src back
	chkfs-backup -q src
	[ -e broken/packs/.hidden ]
'
test_expect_success 'an empty or a foreign pack with a proper name' '
	afresh
	key=$(sum /dev/null)
	: >broken/packs/pack-$key.tar.gz
	: >broken/packs/pack-$key.tar.xz
	tar cf - src | gzip >foreign
	cp foreign "broken/packs/pack-$(sum foreign).tar.gz"
	sweep
	[ $restored = 0 ]
	same_trees src back
'

reads() { # the reading commands succeed
	chkfs-ls -lr src >out && chkfs-log >out && chkfs-for-each-ref >out && chkfs-cat-object src:big | cmp - src/big &&
		chkfs-list-objects --sizes >out && chkfs-rev-parse src:top >out && rm -rf back && chkfs-restore -q src back &&
		same_trees src back
}
test_expect_success 'reading writes nothing into a store' '
	afresh
	find broken -printf "%p %i %m %s %T@ %C@\n" | sort >before
	reads
	rm -rf "$XDG_CACHE_HOME/chkfs"
	reads
	find broken -printf "%p %i %m %s %T@ %C@\n" | sort | diff before -
'
test_expect_success 'a store on a disc that cannot be written: all reading works, writing says why' '
	need_root
	need mount
	afresh
	mkdir -p disc
	mount --bind broken disc 2>err || skip "mount --bind is not allowed here"
	mount -o remount,ro,bind disc
	CHKFS_STORE=$SCRATCH/disc
	code=0
	reads || code=1
	for command in "chkfs-backup src" "chkfs-hash-object -w src/top" "chkfs-update-ref refs/tags/x src"; do
		status=0
		$command >out 2>err || status=$?
		[ $status = 128 ] || code=2
		grep -q "ead-only" err || code=3
		! grep Traceback err || code=4
	done
	umount disc
	[ $code = 0 ]
'
test_expect_success 'a store and caches that this user may only read' '
	need_other_user
	afresh
	chmod 755 .
	chown -R 65534 broken
	chmod -R a-w broken
	mkdir -p nowhere
	setpriv --reuid 65534 --clear-groups env HOME="$PWD/nowhere" XDG_CACHE_HOME="$PWD/nowhere" chkfs-ls -r src >out 2>err
	[ ! -s err ]
	grep -qx sub/packed out
'
test_expect_success 'a store that this user may not read at all' '
	need_other_user
	afresh
	chmod 755 .
	for command in chkfs-log "chkfs-ls src" chkfs-count-objects "chkfs-backup src"; do
		code=0
		# shellcheck disable=SC2086 # words of a command
		setpriv --reuid 65534 --clear-groups $command >out 2>err || code=$?
		[ $code = 128 ]
		grep -q "Permission denied" err
		! grep Traceback err || exit 1
	done
'
test_done
