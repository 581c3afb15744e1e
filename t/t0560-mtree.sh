#!/bin/sh
# A restored directory is verified by NetBSD mtree and by bsdtar from the store's own text, as the README prints it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

commands() { # PROGRAM: what the README prints, up to the part about bsdtar, or without mtree
	for title in 'BY HAND: FIND A DIRECTORY' 'IS A RESTORED DIRECTORY WHAT IT WAS?'; do
		awk -v title="$title" '/^[A-Z][A-Z ,:?]*$/ { on = ($0 == title) } on && /^    /{ print substr($0, 5) }' store/README
	done | case $1 in
	mtree) sed '/^bsdtar/,$d' ;;
	bsdtar) grep -v '^mtree ' ;;
	esac
}
verify() { # PROGRAM: its answer goes to out
	commands "$1" >script
	rm -rf "$HOME/none"
	[ "$(grep -c . script)" -ge 20 ] || return 99
	(cd store && sh -e "$SCRATCH/script") >all 2>err
	code=$?
	sed '1,/^\. type=dir$/d' all >out
	return "$code"
}
mkdir -p photos/2012/sub/deeper photos/empty && cd photos || exit
echo hello >notes.txt
for name in 'a b' 'Grüße.txt' "$(printf 'latin\374')" 'hash#' 'per%cent' '[x]' 'a=b' 'back\slash' 'q?*'; do
	echo "$name" >"2012/$name"
done
head -c 300000 /dev/urandom >2012/sub/beach.jpg
ln notes.txt 2012/sub/deeper/notes
ln -s '2012/a b' last
mkfifo 2012/fifo
chmod 4750 2012/hash#
touch -d @1353624000.123456789 2012/sub/beach.jpg
touch -d @1000000000 2012/sub/deeper empty .
cd .. || exit
chkfs-init && chkfs-backup -q photos >key && mkdir "$HOME/photos" || exit

test_expect_success 'mtree: a restored directory is what it was' '
	need mtree
	sh store/restore.sh tar photos | tar -xpf - -C "$HOME/photos"
	verify mtree
	! grep -v "^[./#]" out | grep -e missing -e extra -e changed -e "(" || exit 1
'
test_expect_success 'bsdtar: a restored directory is what it was' '
	need bsdtar
	verify bsdtar || { cat all err; exit 1; }
	[ -s "$HOME/was" ]
	[ "$(wc -l <"$HOME/is")" = "$(find photos | sed 1d | wc -l)" ]
	cmp "$HOME/was" "$HOME/is"
	grep -q " ./2012/Gr.*e.txt$" all
'
test_expect_success 'mtree names what changed, what is missing and what was not there' '
	need mtree
	echo X >"$HOME/photos/2012/a b"
	rm "$HOME/photos/last"
	: >"$HOME/photos/2012/sub/new"
	chmod 600 "$HOME/photos/notes.txt"
	test_expect_code 2 verify mtree
	grep -q "^2012/a b:" all
	grep -q "sha256 (" all
	grep -q "missing: ./last" all
	grep -q "^extra: 2012/sub/new" all
	grep -q "permissions (0644, 0600)" all
'
test_expect_success 'bsdtar: so does the diff' '
	need bsdtar
	test_expect_code 1 verify bsdtar
	grep -q "^< ./2012/a.040b " all
	grep -q "^< ./last " all
	grep -q "^> ./2012/sub/new " all
	grep -q "^> ./notes.txt .*mode=600 " all
'
test_done
