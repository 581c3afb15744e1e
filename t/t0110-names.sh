#!/bin/sh
# Names of any bytes, in any locale, as deep as one likes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

test_expect_success 'names of all sorts' '
	chkfs-init store
	cat >names.py <<-\END
	import os
	names = [b"x" + bytes([n]) for n in range(1, 256) if n != 0x2f]
	names += [bytes([n]) for n in range(1, 256) if n not in b"./"]
	names += [bytes(n for n in range(1, 256) if n != 0x2f), b"n" * 255, b"\xc3\xa4" * 127, b"\xff" * 255]
	names += [b"new\nline", b"\nbefore", b"trailing\n", b"\n\n", b"-", b"--", b"-rf", b"--help", b"-n", b" ", b"  two  "]
	names += [b"%", b"%s%n", b"$(id)", b"`id`", b"$HOME", b"it'\''s", b"\"", b"a;b", b"a&b", b"a|b", b"*", b"[a-z]", b"?"]
	names += [b"...", b"..x", b". .", b"\\", b"\\n", b"\\057", b"\\134", b"a=b", b"#a", b"~", b"!x", b"{a,b}", b"tags=tree:x"]
	names += ["Gr\u00fc\u00dfe".encode(), "Gru\u0308\u00dfe".encode(), "Gr\u00fc\u00dfe".encode("latin-1"), b"\xed\xa0\x80"]
	names += ["\u65e5\u672c".encode(), "\u65e5\u672c".encode("euc-jp"), "\u202egpj.exe".encode(), b"\x1b[31mred", b"\xc3", b"\xf0\x9f\x98\x80"]
	os.makedirs(b"src/dir")
	for number, name in enumerate(sorted(set(names))):
	    with open(b"src/" + name, "wb") as file:
	        file.write(name)
	    os.mkdir(b"src/dir/" + name)
	    os.symlink(name, b"src/dir/" + name + b"/l")
	    if number % 9 == 0:
	        os.link(b"src/" + name, b"src/dir/" + name + b"/h")
	END
	python3 names.py
	[ "$(find src -printf "x\n" | wc -l)" -gt 1700 ]
'

round() { # TITLE SETTING ...: the round trip, each command run with these settings of the environment
	title=$1
	shift
	mkdir "$title"
	env "$@" chkfs-init --store "$title/store" && env "$@" chkfs-backup -q --store "$title/store" src >"$title/out" &&
		env "$@" chkfs-restore -q --store "$title/store" src "$title/there" && same_trees src "$title/there" &&
		chkfs-rev-parse --store "$title/store" src: >"$title/key" && cmp "$SCRATCH/key" "$title/key" &&
		env "$@" chkfs-ls-tree -rz --name-only --store "$title/store" src | sort -z | cmp "$SCRATCH/listed" -
}
test_expect_success 'under LC_ALL=C: restored equal, every name listed exactly' '
	(cd src && find . -mindepth 1 -printf "%P\\0" | sort -z) >listed
	mkdir first
	chkfs-init first/store
	chkfs-backup -q --store first/store src
	chkfs-rev-parse --store first/store src: >key
	chkfs-restore -q --store first/store src first/there
	same_trees src first/there
	chkfs-ls-tree -rz --name-only --store first/store src | sort -z | cmp listed -
'
test_expect_success 'under LANG=C without LC_ALL' 'round LANG-C -u LC_ALL LANG=C'
test_expect_success 'under LC_ALL=POSIX' 'round POSIX LC_ALL=POSIX'
test_expect_success 'under a locale that does not exist' 'round broken LC_ALL=broken LANG=xx_YY.nothing'
test_expect_success 'under de_DE.ISO-8859-1' '
	if ! locale -a | grep -qi "de_DE.iso-*8859-*1$"; then
		need localedef
		mkdir locales
		localedef -i de_DE -f ISO-8859-1 locales/de_DE.ISO-8859-1 || skip "localedef cannot make de_DE.ISO-8859-1"
		LOCPATH=$SCRATCH/locales
		export LOCPATH
	fi
	[ "$(LC_ALL=de_DE.ISO-8859-1 locale charmap)" = ISO-8859-1 ]
	round latin LC_ALL=de_DE.ISO-8859-1
'
test_expect_success 'with the UTF-8 mode of Python switched off' 'round mode LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0'

test_expect_success 'sources, destinations and paths inside, of any bytes' '
	for name in "$(printf "new\nline")" "$(printf "latin\374\377")" "-rf" "%s" "\$(id)" "it'\''s" "a  b" "a\\b" "*"; do
		if [ "${LC_ALL-}" = broken ]; then LC_ALL=C; else LC_ALL=broken; fi
		rm -rf there
		mkdir -p -- "./odd/$name/$name"
		echo "$name" >"odd/$name/$name/$name"
		chkfs-backup -q -n odd -- "odd/$name"
		chkfs-restore -q "odd:$name/$name" there
		cmp "odd/$name/$name/$name" there
		[ "$(chkfs-ls-tree -z --name-only -- odd "$name/$name" | tr "\0\n" "\nN")" = \
			"$(printf "%s" "$name/$name" | tr "\n" N)" ]
		(cd odd && chkfs-restore -q "odd:$name" "./$name/there")
		cmp "odd/$name/$name/$name" "odd/$name/there/$name"
	done
'
test_expect_success 'a store at a path of any bytes' '
	for name in "$(printf "new\nline")" "$(printf "latin\374\377")" "-rf" "%s" "\$(id)" "it'\''s" "a  b"; do
		chkfs-init -- "$name"
		chkfs-backup -q --store "$name" "src/dir/%" >out
		CHKFS_STORE=$name chkfs-ls "$(cut -f 2 out)" >out
		grep -qx l out
	done
'
test_expect_success 'what people see is one line each, and cannot move a cursor' '
	chkfs-backup -q src
	chkfs-ls -r src >out
	[ "$(wc -l <out)" = "$(tr -cd "\0" <listed | wc -c)" ]
	LC_ALL=C tr -d "\11\12\40-\176\200-\377" <out >controls
	[ ! -s controls ]
	chkfs-ls -lr src | LC_ALL=C tr -d "\11\12\40-\176\200-\377" >controls
	[ ! -s controls ]
'
test_expect_success 'trees are ASCII but for comments, with lines that all mtrees read' '
	chkfs-cat-object src: | grep -v "^#" | LC_ALL=C tr -d "\12\40-\176" >rest
	[ ! -s rest ]
	chkfs-cat-object src: | LC_ALL=C grep -qx "# Gr$(printf "\303\274\303\237")e"
	[ "$(chkfs-cat-object src: | wc -L)" -lt 60000 ]
	LC_ALL=C
	export LC_ALL
	need bsdtar
	chkfs-cat-object src: >tree
	bsdtar -tf tree >names
	[ "$(grep -c "^\\./" names)" = "$(grep -c "^\\./" tree)" ]
'

test_expect_success 'paths longer than PATH_MAX' '
	cat >deep.py <<-\END
	import os, sys
	os.mkdir("deep")
	os.chdir("deep")
	for n in range(60):
	    name = f"{n:03d}" + "x" * 200
	    with open("file", "w") as file:
	        file.write(f"level {n}\n")
	    os.mkdir(name)
	    os.chdir(name)
	with open("bottom", "w") as file:
	    file.write("here\n")
	END
	python3 deep.py
	chkfs-backup -q deep
	chkfs-restore -q deep deep.back
	listing deep >a
	listing deep.back | cmp a -
	[ "$(wc -L <a)" -gt 12000 ]
	cat >bottom.py <<-\END
	import os
	os.chdir("deep.back")
	for n in range(60):
	    assert open("file").read() == f"level {n}\n"
	    os.chdir(f"{n:03d}" + "x" * 200)
	assert open("bottom").read() == "here\n"
	END
	python3 bottom.py
	[ "$(chkfs-ls -r deep | wc -l)" = 121 ]
	chkfs-write-tree deep >again
	chkfs-rev-parse deep: | cmp - again
'
test_expect_success 'a thousand directories deep, twice' '
	cat >levels.py <<-\END
	import os
	os.mkdir("levels")
	os.chdir("levels")
	for n in range(1000):
	    os.mkdir("d")
	    os.chdir("d")
	open("bottom", "w").close()
	END
	python3 levels.py
	chkfs-backup -q levels
	chkfs-backup -q levels
	chkfs-restore -q levels levels.back
	same_trees levels levels.back
'
test_done
