#!/bin/sh
# The README of a store: every command that it prints, run as it is printed.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

section() { # TITLE: the commands printed under it
	awk -v title="$1" '/^[A-Z][A-Z ,:?]*$/ { on = ($0 == title) } on && /^    /{ print substr($0, 5) }' "$SCRATCH/store/README"
}
test_expect_success 'a store with the files that the README speaks of' '
	chkfs-init store
	mkdir -p photos/2012
	echo hello >photos/notes.txt
	head -c 300000 /dev/urandom >photos/beach.jpg
	yes "dear diary" | head -c 300000 >photos/diary.txt
	head -c 12000000 /dev/urandom >photos/film.avi
	head -c 70000 photos/diary.txt >>photos/film.avi
	echo small >photos/2012/small
	ln -s 2012/small photos/last
	touch -d @1353624000 photos/* photos
	touch -h -d @1353624000 photos/last
	chkfs-backup -q photos
	[ -n "$(find store -name "*.gz" -path "*blob*")" ]
'
test_expect_success 'plain ASCII, 80 columns, no tab' '
	! grep -n "[^ -~]" store/README || exit 1
	! grep -n ".\{81\}" store/README
'
test_expect_success 'it names every file at the top of a store' '
	for name in store/*; do grep -q "${name#store/}" store/README || { echo "$name"; exit 1; }; done
'
test_expect_success 'no line that is set in is in a section that is not tested' '
	for title in "EVERYTHING BY ITSELF" "BY HAND: FIND A DIRECTORY" "BY HAND: GET A FILE" \
		"ALL OBJECTS AT ONCE, AND WHEN AN INDEX IS LOST" "IS IT WHOLE?" "IS A RESTORED DIRECTORY WHAT IT WAS?" \
		"WHEN A PACK IS DAMAGED" "WHEN REFS ARE GONE"; do
		section "$title"
	done >tested
	sed -n "s/^    //p" store/README | diff tested -
'
test_expect_success 'everything by itself' '
	need awk tar sha256sum
	section "EVERYTHING BY ITSELF" >script
	[ "$(grep -c . script)" -ge 7 ]
	(cd store && sh -ex "$SCRATCH/script") >out 2>err || { cat err; exit 1; }
	grep -q "^usage: " out
	grep -q "	photos	$SCRATCH/photos	refs/backups/photos$" out
	grep -q " notes.txt$" out
	cmp "$HOME/notes.txt" photos/notes.txt
	same_trees photos "$HOME/photos"
	rm -rf "$HOME/photos" "$HOME/notes.txt"
'
test_expect_success 'by hand: find a directory' '
	section "BY HAND: FIND A DIRECTORY" >script
	(cd store && sh -ex "$SCRATCH/script") >out 2>err || { cat err; exit 1; }
	grep -qx photos out
	grep -qx "source $SCRATCH/photos" out
	grep -q "^packs/pack-.*\\.index:tree/" out
	chkfs-cat-object photos: >tree
	tail -n "$(wc -l <tree)" out | cmp - tree
	! grep -v "^+" err
'
test_expect_success 'by hand: a file in each of the four forms' '
	{
		section "BY HAND: FIND A DIRECTORY"
		section "BY HAND: GET A FILE"
	} >script
	(cd store && sh -ex "$SCRATCH/script") >out 2>err || { cat err; exit 1; }
	for name in notes.txt beach.jpg diary.txt film.avi; do
		cmp "photos/$name" "$HOME/$name"
	done
	[ "$(tail -n 1 out)" = "$HOME/film.avi: OK" ]
	grep -q "^objects/blob/../[0-9a-f]*$" out
	grep -q "^objects/blob/../[0-9a-f]*\\.gz$" out
	grep -q "^packs/pack-[0-9a-f]*\\.index:blob/" out
	[ "$(grep -c "^[0-9a-f]" "$HOME/list")" -ge 2 ]
'
test_expect_success 'all objects at once' '
	section "ALL OBJECTS AT ONCE, AND WHEN AN INDEX IS LOST" >script
	(cd store && sh -ex "$SCRATCH/script") >out 2>err
	cmp photos/notes.txt "$HOME/all/blob/$(sha256sum <photos/notes.txt | cut -c-64)"
	[ "$(find "$HOME/all" -type f | wc -l)" = "$(grep -hv "^#" store/packs/*.index | wc -l)" ]
'
test_expect_success 'is it whole: yes' '
	section "IS IT WHOLE?" >script
	(cd store && sh -ex "$SCRATCH/script") >out 2>err || { cat err; exit 1; }
	grep -q "^packs/pack-.*: OK$" out
	grep -q "^objects/blob/.*: OK$" out
	grep -q "^objects/snapshot/.*: OK$" out
	! grep -v ": OK$" out
'
flip() { # FILE OFFSET
	chmod u+w "$1"
	printf "\377\376\375" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
test_expect_success 'is it whole: no, and what is not' '
	cp -a store whole
	flip "$(find store/objects/blob -name "*.gz" | head -n 1)" 100
	flip "$(find store/objects/snapshot -type f)" 100
	flip "$(echo store/packs/*.gz)" 60
	code=0
	(cd store && sh "$SCRATCH/script") >out 2>err || code=$?
	grep -q "^packs/pack-.*: FAILED" out
	grep -q "^objects/snapshot/.*: FAILED" out
	[ "$(grep -c "is damaged$" out)" = 1 ]
	grep -q "^objects/blob/.*: OK$" out
	rm -rf store
	mv whole store
'
test_expect_success 'when a pack is damaged: all other frames' '
	mkdir many
	for n in $(seq 40); do head -c 100000 /dev/urandom >many/$n; done
	chkfs-backup -q many
	cp -a store whole
	pack=$(ls -S store/packs/*.tar.gz | head -n 1)
	[ "$(grep -v "^#" "${pack%.tar.gz}.index" | cut -d " " -f 3 | sort -u | wc -l)" -ge 5 ]
	flip "$pack" 1500000
	section "WHEN A PACK IS DAMAGED" >script
	(cd store && sh "$SCRATCH/script") >out 2>err || [ $? = 1 ]
	[ "$(grep -c "FAILED" out)" -le 1 ]
	there=0
	for n in $(seq 40); do
		blob=$HOME/left/blob/$(sha256sum <many/$n | cut -c-64)
		[ ! -f "$blob" ] || ! cmp -s "many/$n" "$blob" || there=$((there + 1))
	done
	[ $there -ge 29 ]
	[ $there -lt 40 ]
	cmp photos/notes.txt "$HOME/left/blob/$(sha256sum <photos/notes.txt | cut -c-64)"
	rm -rf store
	mv whole store
'
test_expect_success 'when refs are gone' '
	chkfs-backup -q photos
	key=$(cat store/refs/backups/photos)
	section "WHEN REFS ARE GONE" >script
	(cd store && sh -ex "$SCRATCH/script") >out 2>err || { cat err; exit 1; }
	grep -q "^objects/snapshot/../$key:name photos$" out
	grep -q "^objects/snapshot/../$key:source $SCRATCH/photos$" out
	[ "$(tail -n 1 out)" = "$key" ]
	rm -rf store/refs
	(cd store && sh restore.sh cat "$key:notes.txt" && sh restore.sh cat "$(echo "$key" | cut -c -8):notes.txt") >out
	cat photos/notes.txt photos/notes.txt | cmp - out
	sh store/restore.sh cat photos:notes.txt >out 2>err
	cmp photos/notes.txt out
	grep -q "there is no ref .photos.: this is $key, the newest" err
'
test_done
