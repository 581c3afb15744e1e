#!/bin/sh
# Names rewritten from one encoding to another while they are restored.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

test_expect_success 'a DOS disk with a few names of later times' '
	chkfs-init store
	mkdir -p "$(printf "src/B\201cher")"
	for name in "M\201ller.txt" plain "Gr\303\274\303\237e" "Gru\314\210\303\237e" "B\201cher/\341"; do
		printf "%s" "$name" >"src/$(printf "$name")"
	done
	ln -s "$(printf "B\201cher/../M\201ller.txt")" src/link
	ln "src/$(printf "M\201ller.txt")" src/hard
	touch -d "2001-09-09 01:46:40" "$(printf "src/B\201cher")" src
	chkfs-backup -q src
'
books=$(printf "B\303\274cher") miller=$(printf "M\303\274ller.txt") ae=$(printf "\303\244")
export books miller ae
names() (cd "$1" && find . -printf '%P\n' | LC_ALL=C sort)
for locale in C C.UTF-8 broken; do
	test_expect_success "LC_ALL=$locale: cp437 becomes UTF-8, what is UTF-8 stays, in either form; links lead there" "
		rm -rf there
		LC_ALL=$locale chkfs-restore -q --name-encoding cp437:utf-8 src there
		printf '\nB\303\274cher\nB\303\274cher/\303\237\nGr\303\274\303\237e\nGru\314\210\303\237e\nM\303\274ller.txt\nhard\nlink\nplain\n' | sort >expected
		names there | cmp expected -
		[ \"\$(readlink there/link)\" = $books/../$miller ]
		[ \"\$(cat there/link)\" = \"\$(cat src/hard)\" ]
		[ \"\$(stat -c %i there/hard)\" = \"\$(stat -c %i there/$miller)\" ]
		[ \"\$(stat -c '%y %a' there there/$books)\" = \"\$(stat -c '%y %a' src src/B*)\" ]
		[ ! -e there.chkfs-missing.mtree ]
	"
done
test_expect_success 'and back: equal bytes' '
	chkfs-backup -q -n second there
	chkfs-restore -q --name-encoding utf-8:cp437 second back 2>err || [ $? = 3 ]
	rm -r back/Gr*
	cp -a src want
	rm -r want/Gr*
	touch -d "2001-09-09 01:46:40" want back
	same_trees want back
	[ "$(grep -c "stays as it is" err)" = 1 ] # cp437 has no combining letters, but the composed ones
'
test_expect_success 'what does not fit keeps its name, is named, and the status is 3' '
	mkdir odd
	touch "odd/$(printf "\201")" "odd/$(printf "a\377")"
	ln -s "$(printf "\377")" odd/link
	chkfs-backup -q odd
	test_expect_code 3 chkfs-restore --name-encoding shift-jis:utf-8 odd odd.there 2>err
	names odd.there | sort >a
	names odd | sort | cmp a -
	grep -qF "'\''a\377'\'': its name is not in the encodings named, and stays as it is" err
	grep -qF "'\''link'\'': its target is not in the encodings named" err
	grep -q "name in another encoding could not be set 2 times" err
'
test_expect_success 'two names that become one: both are restored, one of them by another name' '
	mkdir two
	echo utf >"two/$(printf "\303\244.txt")"
	echo latin >"two/$(printf "\344.txt")"
	chkfs-backup -q two
	test_expect_code 3 chkfs-restore -q --name-encoding latin-1:utf-8 two two.there 2>err
	[ "$(cat "two.there/$ae.txt")" = utf ]
	[ "$(cat "two.there/$ae~$(printf "\344.txt" | sha256sum | cut -c 1-8).txt")" = latin ]
	grep -q "to the target it is the same as .$ae.txt." err
	test_expect_code 128 chkfs-restore --name-encoding latin-1:utf-8 --on-collision=fail two two.fail
	[ ! -e two.fail ]
'
test_expect_success 'a name that becomes too long is cut at a whole letter' '
	mkdir long
	echo long >"long/$(printf "%0200d" 0 | sed "s/0/$(printf "\344")/g").txt"
	chkfs-backup -q long
	test_expect_code 3 chkfs-restore -q --name-encoding latin-1:utf-8 long long.there
	[ "$(cat "long.there/$ae$ae"*~????????.txt)" = long ]
	[ "$(ls long.there | iconv -f utf-8 -t utf-8 | wc -c)" -ge 254 ]
'
test_expect_success 'what is no pair of encodings: 2, and nothing is made' '
	for pair in cp437 cp437: :utf-8 no:utf-8 utf-16:utf-8 cp037:utf-8; do
		test_expect_code 2 chkfs-restore --name-encoding "$pair" src none 2>err
		grep -q "^chkfs-restore: " err
		[ ! -e none ]
	done
'
test_done
