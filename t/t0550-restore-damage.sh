#!/bin/sh
# restore.sh and restore.py on a damaged store: what can be had is had, what cannot is named, and the status is not 0.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
STORE=$SCRATCH/store
CHKFS_STORE=$SCRATCH/whole
SRC=src
export STORE CHKFS_STORE SRC

mkdir -p src/sub/deeper src/other big || exit
for n in $(seq 30); do head -c 60000 /dev/urandom >"src/sub/$n"; done
for n in $(seq 300); do echo "file $n" >"src/sub/deeper/$n"; done
head -c 300000 /dev/urandom >src/plain
yes 'it compresses' | head -c 400000 >src/compressed
head -c 9000000 /dev/urandom >big/listed
echo beside >big/beside
echo other >src/other/file
ln src/sub/1 src/other/link
ln src/plain src/other/plain-too
chkfs-init whole && chkfs-backup -q src >key && chkfs-backup -q big || exit
key=$(cut -f 1 key)
export key

flip() { # FILE OFFSET
	byte=$(dd if="$1" bs=1 skip="$2" count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\$(printf %03o $((255 - byte)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
whole() { rm -rf store && cp -R whole store && chmod -R u+w store; }
pack_of() { # NAME: prints the path of the pack, the offset and the length of the frame that holds it
	# shellcheck disable=SC2094 # read only
	grep "^$1 " store/packs/*.index /dev/null | sed 's/\.index:/.tar.gz /' | head -n 1 | cut -d ' ' -f 1,4,5
}
blob() { echo "blob/$(sha256sum <"src/$1" | cut -c -64)"; }
loose() { echo "store/objects/blob/$(sha256sum <"src/$1" | sed 's|^\(..\).*|\1|')/$(sha256sum <"src/$1" | cut -c -64)"; }
restores() { # STATUS SNAPSHOT: both scripts do, with that status, and alike; ./lost gets the names of what was not had
	for script in 'sh store/restore.sh' 'python3 store/restore.py'; do
		# shellcheck disable=SC2086 # words
		test_expect_code "$1" $script tar "$2" >"out.${script%% *}" 2>err || return
		rm -rf back
		mkdir back
		tar -xpf "out.${script%% *}" -C back || return
		# every file that came is what it was, and every one that did not is named
		(cd "$SRC" && find . -type f | sort) >wanted
		: >lost
		while read -r file; do
			if [ -f "back/$file" ]; then
				cmp "$SRC/$file" "back/$file" || return
			else
				echo "$file" >>lost
				grep -q -F "'$file' " err || [ -f "back/${file%/*}.chkfs-damaged" ] || { echo "$file is not named"; return 1; }
				[ -f "back/$file.chkfs-damaged" ] || [ -f "back/${file%/*}.chkfs-damaged" ] || return
			fi
		done <wanted
		[ "$(find back -name '*.chkfs-damaged' -size +0 | wc -l)" = 0 ] || return
	done
	[ "$1" != 0 ] || cmp out.sh out.python3 # of a damaged frame, the one may get more than the other
}
lost() { wc -l <lost | tr -d ' '; }
check_says() { # PATTERN: check of both prints a line like that, and says 1
	test_expect_code 1 sh store/restore.sh check >out 2>err || return
	grep -q "$1" out || return
	test_expect_code 1 python3 store/restore.py check >out.py 2>err || return
	grep -v ': ' out | sort >a && grep -v ': ' out.py | sort | diff a - # of a damaged frame, the one may get more
}

test_expect_success 'a whole store: nothing is lost, nothing said' '
	whole
	restores 0 src
	[ "$(lost)" = 0 ]
	! grep . err || exit 1
	same_trees src back
'
test_expect_success 'indexes deleted' '
	rm store/packs/*.index
	restores 0 src
	[ "$(lost)" = 0 ]
	[ "$(sh store/restore.sh cat src:other/file)" = other ]
'
test_expect_success 'indexes with damage in all lines of contents, and none in those of trees' '
	whole
	for index in store/packs/*.index; do
		sed "s/^blob/blab/" "$index" >harmed
		cat harmed >"$index"
	done
	restores 0 src
	[ "$(lost)" = 0 ]
'
test_expect_success 'indexes of other packs' '
	whole
	[ "$(find store/packs -name "*.index" | wc -l)" -ge 2 ]
	first=$(find store/packs -name "*.index" | sort | head -n 1)
	last=$(find store/packs -name "*.index" | sort | tail -n 1)
	mv "$first" other
	mv "$last" "$first"
	mv other "$last"
	restores 0 src
	[ "$(lost)" = 0 ]
'
test_expect_success 'bytes that are gone from a pack without compression cost no more than those members' '
	rm -rf none store
	chkfs-init --compression none none
	chkfs-backup --store none -q -n src src/sub
	SRC=src/sub
	for index in yes no; do # with 100 bytes less the contents of one are lost, and where all after it are is not known
		rm -rf store
		cp -R none store
		chmod -R u+w store
		pack_of "$(blob sub/7)" >place
		read -r pack offset length <place
		pack=${pack%.gz}
		{ head -c 400300 "$pack"; tail -c +400401 "$pack"; } >shorter
		cp shorter "$pack"
		[ $index = yes ] || rm "${pack%.tar}.index"
		restores 3 src
		[ "$(lost)" -ge 1 ]
		[ "$(lost)" -le 2 ]
	done
'
test_expect_success 'indexes cut short, empty, and of nonsense' '
	whole
	for index in store/packs/*.index; do
		head -n 20 "$index" >beginning
		cp beginning "$index"
	done
	restores 0 src
	[ "$(lost)" = 0 ]
	for index in store/packs/*.index; do : >"$index"; done
	restores 0 src
	for index in store/packs/*.index; do head -c 3000 /dev/urandom >"$index"; done
	restores 0 src
	[ "$(lost)" = 0 ]
'
test_expect_success 'refs deleted' '
	whole
	rm -r store/refs
	restores 0 "$key"
	[ "$(lost)" = 0 ]
	sh store/restore.sh list | grep -q "^$key	.*	src	$SCRATCH/src	$"
	restores 0 src
'
test_expect_success 'a flipped byte in a pack: files of one frame are lost, no more' '
	whole
	pack_of "$(blob sub/1)" >place
	read -r pack offset length <place
	flip "$pack" $((offset + length / 2))
	restores 3 src
	[ "$(lost)" -ge 1 ]
	[ "$(lost)" -le 330 ]
	check_says "^packs/pack-.*: blob/"
'
test_expect_success 'a flipped byte, and no index: the other frames are found in the pack' '
	for index in store/packs/*.index; do
		: >"$index"
	done
	cp lost lost.before
	restores 3 src
	[ "$(lost)" -le "$(wc -l <lost.before)" ]
'
test_expect_success 'a pack cut in half: the first half is had' '
	whole
	pack=$(ls -S store/packs/*.tar.gz | head -n 1)
	size=$(wc -c <"$pack")
	head -c $((size / 2)) "$pack" >half
	cp half "$pack"
	trees=$(grep "^tree/" "${pack%.tar.gz}.index" | cut -d " " -f 3 | sort -n | tail -n 1)
	if [ "${trees:-0}" -lt $((size / 2)) ]; then
		restores 3 src
		[ "$(lost)" -ge 5 ]
		[ "$(lost)" -lt 330 ]
	else # the trees were in the other half: the snapshot names what it lacks
		test_expect_code 3 sh store/restore.sh tar src >out 2>err
		grep -q "its tree is missing or damaged" err
		test_expect_code 3 python3 store/restore.py tar src >out.py 2>err
		cmp out out.py
	fi
	rm store/packs/*.index
	sh store/restore.sh check >out 2>err || [ $? = 1 ]
	grep -q "^packs/pack-" out
'
test_expect_success 'a pack cut in half: objects are had from the first half, by hand, without an index' '
	whole
	pack_of "$(blob sub/2)" >place
	read -r pack offset length <place
	head -c $((offset + length)) "$pack" >half
	cp half "$pack"
	rm store/packs/*.index
	tree=$(printf "#mtree\n# chkfs tree 1\n. type=dir\n./two type=file mode=0644 size=60000 sha256digest=%s\n" \
		"$(blob sub/2 | cut -c 6-)" >tree && sha256sum <tree | cut -c -64)
	mkdir -p "store/objects/tree/$(echo "$tree" | cut -c -2)"
	cp tree "store/objects/tree/$(echo "$tree" | cut -c -2)/$tree"
	printf "chkfs-snapshot 1\nroot . type=dir mode=0755 tags=tree:%s\n\n" "$tree" >snapshot
	snapshot=$(sha256sum <snapshot | cut -c -64)
	mkdir -p "store/objects/snapshot/$(echo "$snapshot" | cut -c -2)"
	cp snapshot "store/objects/snapshot/$(echo "$snapshot" | cut -c -2)/$snapshot"
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		$script cat "$snapshot:two" 2>err | cmp - src/sub/2
	done
'
test_expect_success 'a missing file: plain, and both its names are gone' '
	whole
	rm "$(loose plain)"
	restores 3 src
	[ "$(sort lost | tr "\n" " ")" = "./other/plain-too ./plain " ]
'
test_expect_success 'a missing file: compressed; damaged; cut; empty' '
	whole
	gz=$(loose compressed).gz
	flip "$gz" 200
	restores 3 src
	[ "$(cat lost)" = ./compressed ]
	check_says "^objects/blob/.*\\.gz$"
	head -c 300 "$gz" >beginning
	cp beginning "$gz"
	restores 3 src
	: >"$gz"
	test_expect_code 128 python3 store/restore.py cat src:compressed >out 2>err
	rm "$gz"
	restores 3 src
	[ "$(cat lost)" = ./compressed ]
	test_expect_code 128 sh store/restore.sh cat src:compressed >out 2>err
	[ ! -s out ]
	grep -q "missing or damaged" err
'
test_expect_success 'a missing piece of a listed file' '
	whole
	SRC=big
	restores 0 big
	listed=blob/$(sha256sum <big/listed | cut -c -64)
	list=$(find store -name "$(sha256sum <big/listed | cut -c -64).list")
	[ -n "$list" ] || {
		pack_of "$listed.list" >place
		read -r pack offset length <place
		tail -c +$((offset + 1)) "$pack" | head -c "$length" | gzip -dc | tar -xOf - "$listed.list" >list
		list=list
	}
	piece=$(sed -n "3s/ .*//p" "$list")
	rm -f store/objects/blob/*/"$piece"*
	restores 3 big
	[ "$(cat lost)" = ./listed ]
	check_says "^list blob/$(sha256sum <big/listed | cut -c -64)"
'
test_expect_success 'a damaged copy, and a whole one elsewhere: nothing is lost' '
	whole
	mkdir -p "$(dirname "$(loose sub/1)")" "$(dirname "$(loose plain)")"
	echo nonsense >"$(loose sub/1)"
	gzip -c src/plain >"$(loose plain).gz"
	flip "$(loose plain)" 1000
	pack_of "$(blob other/file)" >place
	restores 0 src
	[ "$(lost)" = 0 ]
	check_says "^objects/blob/"
'
test_expect_success 'a missing tree: its directory is there, and what it held is said to be lost' '
	whole
	chkfs-ls-tree src:sub >names
	tree=$(chkfs-cat-object src:sub | sed -n "s/^.\/deeper .*tree:\([0-9a-f]*\).*/\1/p")
	pack_of "tree/$tree" >place
	read -r pack offset length <place
	mkdir unpacked
	tar -xzf "$pack" -C unpacked
	chmod -R u+w unpacked
	rm "unpacked/tree/$tree"
	(cd unpacked && tar -czf ../new.tar.gz -- */*)
	rm -r "$pack" "${pack%.tar.gz}.index"
	cp new.tar.gz "store/packs/pack-$(sha256sum <new.tar.gz | cut -c -64).tar.gz"
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		test_expect_code 3 $script tar src >out 2>err
		grep -q "^restore.*: .\./sub/deeper/. cannot be listed: its tree is missing or damaged: $tree" err
		rm -rf back
		mkdir back
		tar -xpf out -C back
		[ -f back/sub/deeper.chkfs-damaged ]
		[ -d back/sub/deeper ]
		cmp src/sub/1 back/sub/1
		cmp src/plain back/plain
	done
'
shim() { # NAME: what is on stdin becomes a program of that name for shell scripts; $REAL is the one that it stands for
	mkdir -p shim
	{ echo '#!/bin/sh'; echo "REAL=$(command -v "$1")"; cat; } >"shim/$1"
	chmod +x "shim/$1"
}
test_expect_success 'chkfs-repack moves all objects while it runs: they are looked for once more' '
	for n in 1 4 6; do
		whole
		rm -f calls
		shim dd <<-\END
		echo >>"$SCRATCH/calls"
		[ "$(wc -l <"$SCRATCH/calls")" != "$N" ] || chkfs-repack --store "$SCRATCH/store" -q --compression bzip2 >&2
		exec "$REAL" "$@"
		END
		N=$n PATH=$SCRATCH/shim:$PATH sh store/restore.sh tar src >out.tar 2>err
		[ -z "$(find store -name "*.gz")" ]
		rm -rf back
		mkdir back
		tar -xpf out.tar -C back
		same_trees src back
	done
	cat >repacked.py <<-\END
	import importlib.util, subprocess, sys
	spec = importlib.util.spec_from_file_location("restore", sys.argv[1])
	restore = importlib.util.module_from_spec(spec)
	spec.loader.exec_module(restore)
	frame, calls = restore.Store.frame, []
	def moved(self, *where):
	    calls.append(where)
	    if len(calls) == int(sys.argv[2]):
	        subprocess.run(["chkfs-repack", "--store", self.root, "-q", "--compression", "bzip2"], check=True)
	    return frame(self, *where)
	restore.Store.frame = moved
	sys.exit(restore.main(sys.argv[3:]))
	END
	for n in 1 4 9; do
		whole
		python3 repacked.py store/restore.py $n tar src >py.tar
		[ -z "$(find store -name "*.gz")" ]
		cmp out.tar py.tar
	done
	rm -r shim
'
test_expect_success 'a tree of its own file goes away meanwhile: its directory is not taken for an empty one' '
	whole
	tree=$(chkfs-cat-object src: | sed -n "s/^.\/sub .*tree:\([0-9a-f]*\).*/\1/p")
	ab=$(echo "$tree" | cut -c -2)
	mkdir -p "store/objects/tree/$ab"
	chkfs-cat-object src:sub >"store/objects/tree/$ab/$tree"
	shim wc <<-END
	"\$REAL" "\$@"
	case "\$*" in *$tree*) rm -f "$SCRATCH/store/objects/tree/$ab/$tree" ;; esac
	END
	PATH=$SCRATCH/shim:$PATH sh store/restore.sh tar src >out.tar
	rm -rf back shim
	mkdir back
	tar -xpf out.tar -C back
	same_trees src back
'
test_expect_success 'a snapshot that cannot be read is named by list; a ref that cannot, too' '
	whole
	ln -s nowhere store/refs/tags/dangling
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		test_expect_code 3 $script list >out 2>err
		[ "$(wc -l <out)" = 2 ]
		grep -qx "restore.*: refs/tags/dangling is damaged: it holds no key" err
		[ "$(wc -l <err)" = 1 ]
	done
	rm store/refs/tags/dangling
	shim sha256sum <<-\END
	"$REAL" "$@" | grep -v $key
	END
	PATH=$SCRATCH/shim:$PATH test_expect_code 3 sh store/restore.sh list >out 2>err
	grep -q "^restore.sh: objects/snapshot/../$key is damaged" err
	[ "$(wc -l <out)" = 1 ]
	rm -r shim
'
test_expect_success 'check: refs that hold no key, or that of a damaged snapshot' '
	whole
	echo ".*" >store/refs/tags/any
	echo "x" >>"$(ls store/objects/snapshot/*/"$key")"
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		test_expect_code 1 $script check >out 2>err
		[ "$(wc -l <out)" = 2 ]
		grep -qx "objects/snapshot/../$key" out
		grep -qx "refs/tags/any: no such snapshot" out
	done
'
test_expect_success 'list reads no packs, with or without indexes' '
	whole
	rm store/packs/*.index
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		$script list >out 2>err
		[ "$(wc -l <out)" = 2 ]
		[ ! -s err ]
	done
'
test_expect_success 'what cannot be printed is said: no status 0 on a full disk' '
	need_root
	[ -c /dev/full ] || skip "there is no /dev/full here"
	whole
	echo x >>"$(ls store/objects/snapshot/*/"$key")"
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		for words in help list "ls big" "cat big:beside" "cat big:listed" "tar big" check; do
			# shellcheck disable=SC2086 # words
			test_expect_code 128 $script $words >/dev/full 2>err || { cat err; exit 1; }
			[ -s err ]
		done
	done
'
test_expect_success 'the snapshot is missing, or damaged' '
	whole
	file=$(ls store/objects/snapshot/*/"$key")
	flip "$file" 100
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		test_expect_code 128 $script tar src >out 2>err
		grep -q "$key.* is damaged" err
		[ ! -s out ]
	done
	rm "$file"
	for script in "sh store/restore.sh" "python3 store/restore.py"; do
		test_expect_code 128 $script tar src >out 2>err
		grep -q "the snapshot $key is missing" err
	done
	check_says "^refs/backups/src: no such snapshot"
'
for name in bzip2 xz zstd none; do
	CODEC=$name
	export CODEC
	test_expect_success "$CODEC: a flipped byte and no index" '
		[ $CODEC = none ] || need $CODEC
		rm -rf store other
		chkfs-init --compression $CODEC other
		chkfs-backup --store other -q -n src src/sub
		cp -R other store
		chmod -R u+w store
		rm store/packs/*.index
		pack=$(ls -S store/packs/*.tar* | head -n 1)
		SRC=src/sub
		restores 0 src
		flip "$pack" 400000
		restores 3 src
		[ "$(lost)" -ge 1 ]
		[ "$(lost)" -le 330 ]
	'
done
test_done
