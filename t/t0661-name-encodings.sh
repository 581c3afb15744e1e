#!/bin/sh
# Names in encodings that nobody remembers: equal bytes back in every locale, shown as text on request.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

test_expect_success 'names in Latin-1, cp437, Shift-JIS, KOI8-R, UTF-8 (two forms), broken UTF-8, and of random bytes' '
	chkfs-init store
	cat >names.py <<-\END
	import os, random, unicodedata
	names = {b"plain": "ascii"}
	for encoding, text in (("latin-1", "Gr\u00fc\u00dfe"), ("cp437", "M\u00fcller \u2592"), ("shift-jis", "\u8868\u793a"),
	                       ("koi8-r", "\u041f\u0440\u0438\u0432\u0435\u0442")):
	    names[text.encode(encoding)] = "unknown"
	names["Gr\u00fc\u00dfe".encode()] = names[unicodedata.normalize("NFD", "Gr\u00fc\u00dfe").encode()] = "utf-8"
	names.update({b"cut\xc3": "unknown", b"\xed\xa0\x80": "unknown", b"over\xc0\xafg": "unknown", b"\xf4\x90\x80\x80": "unknown"})
	source = random.Random(5)
	while len(names) < 300:
	    name = bytes(source.choice(range(128, 256)) for _ in range(source.randrange(4, 200)))
	    names[name] = "unknown"
	os.mkdir("src")
	with open("hints", "w") as hints:
	    for name, hint in names.items():
	        with open(b"src/" + name, "wb") as file:
	            file.write(name)
	        os.symlink(name + b"/..", b"src/" + name[:100] + b".link")
	        quoted = "".join(chr(b) if chr(b).isalnum() and b < 128 else f"\\{b:03o}" for b in name)
	        hints.write(f"{quoted} {hint}\n")
	END
	python3 names.py
	sort hints >expected
'
hints() { # of a tree: quoted name, encoding
	chkfs-cat-object "$1:" | awk '/^\.\// && / type=file / { hint = "ascii"; name = $1
		if (match($0, /tags=enc:[a-z0-9-]*/)) hint = substr($0, RSTART + 9, RLENGTH - 9)
		sub(/^\.\//, "", name); print name, hint }' | sort
}
for setting in LC_ALL=C LANG=C LC_ALL=POSIX LC_ALL=C.UTF-8 LANG=C.UTF-8 LC_ALL=broken \
	LANG=xx_YY.nothing 'LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0' 'LC_ALL=de_DE.ISO-8859-1'; do
	test_expect_success "$setting: equal bytes back, and the hints are right" "
		rm -rf there
		unset LC_ALL
		export $setting
		chkfs-backup -q -n names src
		hints names | LC_ALL=C sort | cmp expected -
		chkfs-restore -q names there
		LC_ALL=C same_trees src there
		chkfs-rev-parse names: >>keys
	"
done
test_expect_success 'it was one and the same tree each time' '
	[ "$(wc -l <keys)" = 9 ]
	[ "$(sort -u keys | wc -l)" = 1 ]
'

test_expect_success 'chkfs-ls: escaped; with --name-encoding as text, in any locale' '
	mkdir few few/dir
	for name in "M\201ller" "Gr\303\274\303\237e" plain "dir/\201" "M\201\001"; do echo x >"few/$(printf "$name")"; done
	ln -s "$(printf "M\201ller")" few/link
	chkfs-backup -q few
	chkfs-ls few >out
	grep -qxF "M\201ller" out
	grep -qxF "Gr\303\274\303\237e" out
	for locale in C C.UTF-8 broken; do
		LC_ALL=$locale chkfs-ls --name-encoding cp437 -r few >out
		grep -qx "M$(printf "\303\274")ller" out
		grep -qx "Gr$(printf "\303\274\303\237")e" out
		grep -qx "dir/$(printf "\303\274")" out
		grep -qxF "M\201\001" out
		[ "$(wc -l <out)" = 7 ]
	done
	chkfs-ls --name-encoding=cp437 -l few >out
	grep -q "link -> M$(printf "\303\274")ller$" out
	chkfs-ls-tree --name-encoding cp437 few >out
	grep -q "	M$(printf "\303\274")ller$" out
	chkfs-ls-tree -l --name-encoding shift-jis few >out
	grep -q "	M" out
'
test_expect_success '-z gives the bytes, whatever encoding is named' '
	chkfs-ls -rz few >exact
	chkfs-ls -rz --name-encoding cp437 few | cmp exact -
	chkfs-ls-tree -rz few >exact
	chkfs-ls-tree -rz --name-encoding cp437 few | cmp exact -
'
test_expect_success 'an encoding that is none, or one for no file name: 2' '
	for name in nothing utf-16 cp037 ""; do
		[ -z "$name" ] || test_expect_code 2 chkfs-ls --name-encoding "$name" few 2>err
		[ -z "$name" ] || grep -q "^chkfs-ls: .*is no encoding of file names" err
	done
	test_expect_code 2 chkfs-ls --name-encoding
	test_expect_code 2 chkfs-ls-tree --mtree --name-encoding cp437 few
'
test_done
