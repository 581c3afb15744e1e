#!/bin/sh
# restore.sh - lists what is in this chkfs store and gives it back, with no chkfs installed.
#
# It needs a POSIX sh and awk, tar, sha256sum, od, tr, head -c, and the programs that unpack what is in the
# store (gzip, or bzip2, xz, zstd).  busybox has all of them but zstd.  It writes nothing into the store.
# restore.py, beside it, does the same faster where there is Python 3.6 or later.
#
# How it works: the trees of a snapshot are unpacked level by level; a walk over them writes a plan, one line for
# each member of the tar to come; for a batch of lines at a time, the indexes tell in which frames of which packs
# the contents lie, each of these frames is unpacked once, every object is compared with its name, and then awk
# writes a script that prints headers (printf) and contents (cat) in turn.  Bytes that are not printable ASCII stay
# octal text (\ooo) all the way to that printf: not every awk can be trusted with a NUL.
# Nothing from the store gets into a script unless it is a key, a number or text that word() made harmless.

# shellcheck disable=SC1091,SC2094 # the script that is sourced is made here; no file is read and written at once

LC_ALL=C
export LC_ALL
unset CDPATH AWKPATH GREP_OPTIONS GZIP BZIP BZIP2 XZ_OPT XZ_DEFAULTS TAR_OPTIONS POSIXLY_CORRECT
umask 077
STATUS=0
MENDED=no
LACKS=

usage() {
	cat <<'EOF'
usage: sh restore.sh list                every snapshot: its key, time (UTC),
                                         name, source and refs
       sh restore.sh ls SNAPSHOT[:PATH]  what is in a directory
       sh restore.sh cat SNAPSHOT:PATH   the contents of a file
       sh restore.sh tar SNAPSHOT[:PATH] | tar -xpf - -C DIRECTORY
                                         everything, or what is below PATH
       sh restore.sh times SNAPSHOT[:PATH] | (cd DIRECTORY && sh)
                                         after that, what some tars cannot do:
                                         all times, and the owners of symlinks
       sh restore.sh check               is every object what its name says?

SNAPSHOT is the name of a ref that "list" shows (refs/backups/ may be left
out), or a key, or the beginning of one.  Where "ls" shows a byte of a name as
\ooo, three octal digits, PATH may be written so.

As root, with GNU tar, this brings back all that was kept:
  sh restore.sh tar SNAPSHOT |
      tar -xpf - --xattrs --xattrs-include='*' --numeric-owner -C DIRECTORY

Work files go to $TMPDIR, or to /tmp: up to 600 MB, and room for the text of
all directories that are restored.  "check" needs three times the room of the
largest pack.
If there is Python 3.6 or later: "python3 restore.py" takes the same words and
is faster.
Exit status: 0 done; 1 "check" found damage; 2 wrong usage; 3 done, but what
stderr names could not be had; 128 it could not be done.
EOF
}
full() { die "there is no room left in '$TMPDIR': set TMPDIR to a directory where there is more"; }
room() { # a full disk must not look like a damaged store
	printf '%01000000d' 0 >room 2>>noise || full
	rm -f room
}
complain() { printf 'restore.sh: %s\n' "$*" >&2; }
lose() { # the same, where it means that not all was had
	: >lost # a variable would be lost with a subshell
	complain "$*"
}
die() {
	complain "$*"
	exit 128
}

# ------------------------------------------------------------------------------------------------- awk programs

write_programs() {
	cat >text.awk <<'EOF'
# Quoted text: printable ASCII, and every other byte as \ooo.
BEGIN {
	ascii = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
	for (i = 1; i <= 95; i++)
		CODE[substr(ascii, i, 1)] = 31 + i
	for (i = 0; i < 256; i++)
		CODE[sprintf("\\%03o", i)] = i
}
function is_quoted(s) { # nothing in it but printable ASCII and whole escapes
	gsub(/\\[0-3][0-7][0-7]/, "", s)
	return s !~ /[^!-~]/ && index(s, "\\") == 0
}
function bytes(s) { return length(s) - 3 * gsub(/\\/, "x", s) }
function sum(s,  n, k, c) { # of the values of its bytes
	n = 0
	gsub(/\\000/, "", s)
	for (k = 1; k <= length(s); k++) {
		c = substr(s, k, 1)
		if (c == "\\") {
			c = substr(s, k, 4)
			k += 3
		}
		n += CODE[c]
	}
	return n
}
function cut(s, most,  k, n) { # its first bytes
	k = 1
	for (n = 0; n < most && k <= length(s); n++)
		k += substr(s, k, 1) == "\\" ? 4 : 1
	return substr(s, 1, k - 1)
}
function word(s) { # safe in the format of printf '...'
	gsub(/'/, "\\047", s)
	gsub(/%/, "\\045", s)
	return s
}
function shown(s,  r, k, e) { # the same for people to see: control characters and backslashes remain escapes
	r = ""
	while ((k = index(s, "\\")) > 0) {
		e = substr(s, k, 4)
		r = r substr(s, 1, k - 1) (CODE[e] < 32 || CODE[e] == 127 || CODE[e] == 92 ? "\\\\" substr(e, 2) : e)
		s = substr(s, k + 4)
	}
	return word(r s)
}
function say(s) { print "printf 'restore.sh: " s "\\n' >&2" }
function miss(path, why) {
	say("\\047" shown(path) "\\047 " why)
	print ": >lost"
}
function field(line, name,  k) { # the value of name= in a line of a tree
	if ((k = index(line, " " name "=")) == 0)
		return ""
	line = substr(line, k + length(name) + 2)
	return (k = index(line, " ")) > 0 ? substr(line, 1, k - 1) : line
}
function tag(line, name,  k) { # the value of a tag in a line of a tree
	if ((line = field(line, "tags")) == "")
		return ""
	line = "," line
	if ((k = index(line, "," name ":")) == 0)
		return ""
	line = substr(line, k + length(name) + 2)
	return (k = index(line, ",")) > 0 ? substr(line, 1, k - 1) : line
}
function is_key(s) { return length(s) == 64 && s !~ /[^0-9a-f]/ }
function is_entry(name) { # ./name: may a directory have it?  Only what must be quoted may be: else \056 were a dot
	gsub(/\\(00[1-7]|0[123][0-7]|04[035]|052|075|077|13[34]|177|[23][0-7][0-7])/, "+", name)
	return name ~ /^\.\/./ && name != "./." && name != "./.." && name !~ /[^!-~]|[#%*=?[]/ &&
		index(name, "\\") == 0 && index(substr(name, 3), "/") == 0
}
function refused(line,  name) { # is it no entry, or one more of a name in the same tree?  Before that: split("", MET)
	name = substr(line, 1, index(line, " ") - 1)
	return line ~ /[^ -~]/ || !is_entry(name) || MET[name]++
}
function is_directory(line) { return line ~ /^[^ ]* type=dir / && is_key(tag(line, "tree")) }
function number(path, s, base,  n) { # s, if it is one
	if (s ~ (base == 8 ? "[^0-7]" : "[^0-9]") || length(s) > 15) {
		miss(path, "has a number that is none: 0 in place of " shown(s))
		return 0
	}
	for (n = 0; s != ""; s = substr(s, 2))
		n = n * base + substr(s, 1, 1)
	return n
}
function moment(path, line,  time, n, part) { # the time of an entry goes to SECONDS and FRACTION, 9 digits
	time = field(line, "time")
	n = index(time ".", ".")
	if (time !~ /^-?[0-9]+(\.[0-9]+)?$/ || n > 16 || n < length(time) && n != length(time) - 9) {
		if (time != "")
			miss(path, "has a time that is none: 0 in place of " shown(time))
		time = "0"
	}
	split(time ".000000000", part, ".")
	SECONDS = part[1] + 0
	FRACTION = part[2]
}
function decimal(  s) { # of these: mtree counts the fraction up from the second below, others from 0
	s = sprintf("%.0f", SECONDS)
	if (SECONDS >= 0)
		return s "." FRACTION
	if (FRACTION + 0 == 0)
		return s
	s = sprintf("%.0f", -SECONDS - 1)
	return "-" s "." sprintf("%09d", 1000000000 - FRACTION)
}
function unlisted(path, line) { miss(path, "cannot be listed: its tree is missing or damaged: " tag(line, "tree")) }
function spoilt(line,  where) { # what is wrong with a file that was stored damaged
	where = shown(tag(line, "damaged"))
	if (substr(where, 1, 1) == "@")
		where = "that blob " substr(where, 2) " lists"
	return "is damaged: it could not be read wholly when it was stored, and has zeros at the bytes " where
}
function date(time,  days, s, era, y, m) { # seconds since 1970; howardhinnant.github.io/date_algorithms.html
	sub(/\..*/, "", time)
	time += 0
	days = int(time / 86400)
	if (days * 86400 > time)
		days--
	s = time - days * 86400
	days += 719468
	era = int(days / 146097)
	if (era * 146097 > days)
		era--
	days -= era * 146097
	y = int((days - int(days / 1460) + int(days / 36524) - int(days / 146096)) / 365)
	days -= 365 * y + int(y / 4) - int(y / 100)
	m = int((5 * days + 2) / 153)
	days -= int((153 * m + 2) / 5) - 1
	m = m < 10 ? m + 3 : m - 9
	return sprintf("%04d-%02d-%02d %02d:%02d:%02d", y + era * 400 + (m <= 2), m, days,
		int(s / 3600), int(s / 60) % 60, s % 60)
}
EOF
	cat >quote.awk <<'EOF'
# output of od -to1: these bytes, quoted; \ooo among them stands for one byte, as ls shows it
BEGIN {
	for (i = 33; i < 127; i++)
		if (!index("#%*=?[\\", substr(ascii, i - 31, 1)))
			PLAIN[sprintf("%03o", i)] = substr(ascii, i - 31, 1)
}
{
	for (i = 1; i <= NF; i++)
		BYTE[++n] = $i
}
END {
	for (i = 1; i <= n; i++) {
		b = BYTE[i]
		if (b == "134" && BYTE[i + 1] ~ /^06[0-3]$/ && BYTE[i + 2] ~ /^06[0-7]$/ && BYTE[i + 3] ~ /^06[0-7]$/) {
			b = substr(BYTE[i + 1], 3) substr(BYTE[i + 2], 3) substr(BYTE[i + 3], 3)
			i += 3
		}
		text = text ((b in PLAIN) ? PLAIN[b] : "\\" b)
	}
	print text
}
EOF
	cat >value.awk <<'EOF'
# a line of a tree: one of its fields, or its tag tree, or, as spoilt, what is wrong with it
{
	name = ENVIRON["NAME"]
	print (name == "tree" ? tag($0, name) : name == "spoilt" && tag($0, "damaged") != "" ? spoilt($0) : field($0, name))
}
EOF
	cat >entry.awk <<'EOF'
# a tree: the line of the entry ./NAME
$1 == ENVIRON["NAME"] && !refused($0) {
	print
	exit
}
EOF
	cat >name.awk <<'EOF'
# the last part of a path, or nothing: a name that a directory can have
NR == 1 && is_entry("./" $0) { name = $0 }
END { print (name == "" ? "file" : name) }
EOF
	cat >named.awk <<'EOF'
# paths of snapshots: the time and the key of those that are called NAME
{
	called = 0
	finished = "-"
	file = $0
	while ((getline line < file) > 0 && line != "") {
		if (line == "name " ENVIRON["NAME"])
			called = 1
		if (line ~ /^(started|finished) /)
			finished = substr(line, index(line, " ") + 1)
	}
	close(file)
	if (called)
		print finished, substr($0, length($0) - 63)
}
EOF
	cat >locate.awk <<'EOF'
# wanted names, loose files, indexes: where each wanted object is, as lines  name rank form file offset length
BEGIN {
	while ((getline line < "packs") > 0) {
		split(line, p, " ")
		PACK[p[1]] = p[2]
	}
}
FILENAME != last {
	last = FILENAME
	kind = FILENAME == ENVIRON["WANTED"] ? 1 : FILENAME == "loose" ? 2 : 3
	stem = FILENAME
	sub(/.*\//, "", stem)
	sub(/\.index$/, "", stem)
}
kind == 1 {
	W[$1] = 1
	next
}
kind == 2 {
	split($1, p, "/")
	suffix = substr(p[5], 65)
	name = p[3] "/" substr(p[5], 1, 64)
	if (name in W)
		print name, (suffix == "" ? "1 plain" : suffix == ".list" ? "4 list" : "2 loose"), $1, 0, 0
	next
}
!(substr($1, 1, 69) in W) || !(stem in PACK) || NF != 4 || $3 ~ /[^0-9]/ || $4 ~ /[^0-9]/ || $4 == 0 { next }
length($1) == 69 { print $1, 3, "frame", PACK[stem], $3, $4 }
substr($1, 70) == ".list" { print substr($1, 1, 69), 4, "list", PACK[stem], $3, $4 }
EOF
	cat >choose.awk <<'EOF'
# names that are left, places: what to unpack in this round, the next place of each; each frame once, with all names.
# Files that are to be compared with their names go to "candidates", objects that have to be put together to "listed".
FILENAME == "left" {
	W[$1] = 1
	next
}
($1 in W) && ++N[$1] == ENVIRON["ROUND"] {
	found = 1
	member = $1
	if ($3 == "plain" && $1 ~ /^blob/) { # stays where it is; a tree must be there as long as this runs
		print $4 >"candidates"
		next
	}
	if ($3 == "list") {
		member = member ".list"
		print $1 >"listed"
	}
	if ($3 != "list" || $1 ~ /^tree/)
		print ENVIRON["STAGE"] "/" $1 >"candidates"
	if ($6 == 0)
		print $4, 0, 0, member
	else {
		frame = $4 " " $5 " " $6
		if (!(frame in NAMES))
			FRAME[++n] = frame
		NAMES[frame] = NAMES[frame] " " member
	}
}
END {
	for (i = 1; i <= n; i++)
		print FRAME[i] NAMES[FRAME[i]]
	exit !found
}
EOF
	cat >verified.awk <<'EOF'
# names that are left, output of sha256sum, output of wc -c: what is as it should be goes to "have", the rest is left
FILENAME == "left" {
	W[$1] = 1
	next
}
FILENAME == "sums" {
	n = split($2, p, "/")
	if (p[n] "" == $1 "") # as text: keys may look like numbers
		GOOD[$2] = 1
	next
}
$2 in GOOD {
	n = split($2, p, "/")
	name = (p[1] == "store" ? p[3] : p[2]) "/" p[n]
	if (name in W) {
		print name, $2, $1 >>"have"
		delete W[name]
	}
}
END {
	for (name in W)
		print name
}
EOF
	cat >children.awk <<'EOF'
# places of trees that are there: the names of the trees in them, each once
{
	file = $2
	while ((getline line < file) > 0)
		if (is_directory(line) && !SEEN[key = tag(line, "tree")]++)
			print "tree/" key
	close(file)
}
EOF
	cat >walk.awk <<'EOF'
# Walks the trees below one entry: subdirectories first, then files, then the directory itself.  So their contents lie
# in the packs, and so a directory's time survives.  Writes the plan; the lines are  what TAB path TAB link TAB entry
# what: e an entry, h one more name of the file link, a a directory that is link once more, d a directory whose
# entries are lost, x a directory that holds a line which is none.
BEGIN {
	while ((getline line < "gathered") > 0) {
		split(line, p, " ")
		AT[substr(p[1], 6)] = p[2]
	}
	OFS = "\t"
	plan = "plan." (window = 1)
	printf "" >plan
	push(ENVIRON["TOP_PATH"], ENVIRON["TOP_LINE"])
	while (depth > 0)
		if (!BEGUN[depth])
			descend(depth)
		else
			finish(depth--)
	close(plan)
	print window
}
function push(path, line) {
	PATH[++depth] = path
	LINE[depth] = line
	BEGUN[depth] = 0
}
function put(what, path, link, line) {
	if (++lines > 100000) {
		close(plan)
		plan = "plan." ++window
		lines = 1
	}
	print what, path, link, line >plan
}
function descend(d,  file, line, some, n) { # its subdirectories are pushed, the rest waits in REST
	BEGUN[d] = 1
	WAITING[d] = 0
	if (!is_directory(LINE[d]) || (file = AT[tag(LINE[d], "tree")]) == "")
		return
	split("", MET)
	while ((getline line < file) > 0) {
		if (line ~ /^#/ || line ~ /^\. / || line == "")
			continue
		if (refused(line))
			REST[d, ++WAITING[d]] = ""
		else if (is_directory(line))
			some[++n] = line
		else
			REST[d, ++WAITING[d]] = line
	}
	close(file)
	for (; n > 0; n--)
		push(PATH[d] substr(some[n], 3, index(some[n], " ") - 3) "/", some[n])
}
function finish(d,  i) {
	if (LINE[d] ~ /^[^ ]* type=dir / && (!is_directory(LINE[d]) || AT[tag(LINE[d], "tree")] == ""))
		put("d", PATH[d], "", LINE[d])
	for (i = 1; i <= WAITING[d]; i++) {
		if (REST[d, i] == "")
			put("x", PATH[d], "", "")
		else
			finish_entry(PATH[d], PATH[d] substr(REST[d, i], 3, index(REST[d, i], " ") - 3), REST[d, i])
		delete REST[d, i]
	}
	put("e", PATH[d], "", LINE[d])
}
function finish_entry(directory, path, line,  hl) {
	if (line ~ /^[^ ]* type=dir /) {
		if ((hl = tag(line, "again")) != "" && is_quoted(hl))
			put("a", path, way(directory, hl), line)
		else {
			put("d", path "/", "", line)
			put("e", path "/", "", line)
		}
		return
	}
	hl = tag(line, "hl")
	if (tag(line, "unread") != "" || line ~ /^[^ ]* type=socket /) # of these there is no member to link with
		hl = ""
	if (hl != "") # where it lies, that costs a link and no contents
		hl = hl " " field(line, "type") " " field(line, "sha256digest") " " field(line, "link") " " field(line, "device")
	if (hl != "" && (hl in FIRST))
		put("h", path, FIRST[hl], line)
	else {
		if (hl != "")
			FIRST[hl] = path
		put("e", path, "", line)
	}
}
function way(directory, target,  n, m, i, k, p, q, r) { # from one directory to another, as a relative path
	n = split(ENVIRON["INSIDE"] substr(directory, 3), p, "/") - 1
	m = target == "." ? 0 : split(target, q, "/")
	for (i = 1; i <= n && i <= m && p[i] == q[i];)
		i++
	r = ""
	for (k = i; k <= n; k++)
		r = r "/.."
	for (k = i; k <= m; k++)
		r = r "/" q[k]
	return r == "" ? "." : substr(r, 2)
}
EOF
	cat >wanted.awk <<'EOF'
# a plan: the names of the blobs that it needs, each once
BEGIN { FS = "\t" }
function want(key) {
	if (is_key(key) && !SEEN[key]++)
		print "blob/" key
}
$1 == "e" && $4 ~ /^[^ ]* type=file / { want(field($4, "sha256digest")) }
index($4, ":@") {
	n = split(field($4, "tags"), p, ",")
	for (i = 1; i <= n; i++)
		if (split(p[i], q, ":") == 3 && q[1] == "xattr" && substr(q[3], 1, 1) == "@")
			want(substr(q[3], 2))
}
EOF
	cat >batches.awk <<'EOF'
# places, a plan: cuts the plan into batches for which about 256 MiB of work files are enough
BEGIN {
	FS = "\t"
	next_batch()
}
function next_batch() {
	close(file)
	file = "batch." ++batch
	printf "" >file
	used = lines = 0
}
FILENAME == "all.places" {
	split($0, p, " ")
	if (!(p[1] in FORM)) {
		FORM[p[1]] = p[3]
		FRAME[p[1]] = p[4] " " p[5]
	}
	next
}
{
	name = "blob/" field($4, "sha256digest")
	cost = 0
	if ($1 == "e" && (name in FORM)) {
		size = field($4, "size") + 0
		if (FORM[name] == "loose")
			cost = size
		else if (FORM[name] == "frame" && MET[FRAME[name]] != batch)
			cost = 1048576 + size
	}
	if (used + cost > 268435456 || lines >= 5000)
		next_batch()
	if (cost > 0)
		MET[FRAME[name]] = batch
	used += cost
	lines++
	print >file
}
END { print batch }
EOF
	cat >tar.awk <<'EOF'
# places of blobs that are there, paths of lost files with several names, a batch: a script that prints its members
BEGIN {
	NULS = "\\000\\000\\000\\000\\000\\000\\000\\000"
	while (length(NULS) < 4 * 512)
		NULS = NULS NULS
	DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for (i = 0; i < 64; i++)
		VALUE[substr(DIGITS, i + 1, 1)] = i
	LIMIT[7] = 2097152
	LIMIT[11] = 8589934592
}
FILENAME == "have" {
	split($0, p, " ")
	AT[p[1]] = p[2]
	SIZE[p[1]] = p[3]
	next
}
FILENAME == "lost.links" {
	LOST[$0] = 1
	next
}
{
	split($0, part, "\t")
	what = part[1]
	if (what == "x")
		miss(part[2], "has an entry that cannot be one: left out")
	else if (what == "d") {
		unlisted(part[2], part[4])
		stand_in(part[2], part[4], "chkfs-damaged")
	} else
		entry(what, part[2], part[3], part[4])
}
END {
	flush()
	concatenate()
}
function nul(n) { return substr(NULS, 1, 4 * n) }
function fitting(s, n,  k) { # n bytes: s, cut or filled up with NULs
	k = bytes(s)
	return k <= n ? s nul(n - k) : cut(s, n)
}
function binary(n, width,  r, b) { # big-endian two's complement with the first bit set: GNU's base-256
	r = ""
	top = n < 0 ? "\\377" : "\\200"
	while (width-- > 1) {
		b = n % 256
		if (b < 0)
			b += 256
		n = (n - b) / 256
		r = sprintf("\\%03o", b) r
	}
	return top r
}
function octal(n, digits,  r) { # as octal digits and a NUL, or as binary where these do not suffice
	if (n < 0 || n >= LIMIT[digits])
		return binary(n, digits + 1)
	if (n < 2147483648)
		return sprintf("%0" digits "o", n) "\\000"
	for (r = ""; digits-- > 0; n = int(n / 8))
		r = (n % 8) r
	return r "\\000"
}
function header(path, mode, uid, gid, size, time, flag, link, major, minor,  a, b) { # one block of 512 bytes
	a = fitting(path, 100) octal(mode, 7) octal(uid, 7) octal(gid, 7) octal(size, 11) octal(time, 11)
	b = flag fitting(link, 100) "ustar\\00000" nul(64) octal(major, 7) octal(minor, 7)
	return a sprintf("%06o", sum(a) + sum(b) + 8 * 32) "\\000 " b nul(167)
}
function record(name, value) { return beginning(name, bytes(value)) value "\\012" }
function beginning(name, size,  n, k) { # of a record of a pax header, up to its value: its own length counts, too
	n = bytes(name) + size + 3
	k = n + length(n "")
	return n + length(k "") " " name "="
}
function padding(n) { return n % 512 ? nul(512 - n % 512) : "" }
function attributes(path, line,  n, i, p, q, name) { # xattrs go to PART, in parts, since they may be long
	split("", PART)
	parts = part_bytes = 0
	if (index(line, "xattr:") == 0)
		return
	n = split(field(line, "tags"), p, ",")
	for (i = 1; i <= n; i++) {
		if (split(p[i], q, ":") != 3 || q[1] != "xattr" || !is_quoted(q[2]))
			continue
		called = q[2]
		gsub(/\\045/, "%25", called) # as GNU tar does, since a = would end the name
		gsub(/\\075/, "%3D", called)
		called = "SCHILY.xattr." word(called)
		name = "blob/" substr(q[3], 2)
		if (substr(q[3], 1, 1) != "@" && is_base64(q[3]))
			base64(called, q[3])
		else if (substr(q[3], 1, 1) != "@")
			miss(path, "has an attribute that is none: " shown(p[i]))
		else if (name in AT)
			octets(called, AT[name], SIZE[name])
		else
			miss(path, "will lack the attribute " shown(q[2]) ": " name " is missing or damaged")
	}
}
function attach(text) {
	PART[++parts] = text
	part_bytes += bytes(text)
}
function is_base64(s) { return s ~ /^[A-Za-z0-9+\/]*=?=?$/ && length(s) % 4 == 0 }
function base64(called, s,  r, i, k, n, v, some) {
	sub(/=*$/, "", s)
	n = length(s)
	attach(beginning(called, int(n * 3 / 4)))
	for (k = 1; k <= n; k += 400) {
		some = substr(s, k, 400)
		r = ""
		for (i = 1; i <= length(some); i += 4) {
			v = VALUE[substr(some, i, 1)] * 262144 + VALUE[substr(some, i + 1, 1)] * 4096
			v += VALUE[substr(some, i + 2, 1)] * 64 + VALUE[substr(some, i + 3, 1)]
			r = r sprintf("\\%03o", int(v / 65536))
			if (k + i + 1 <= n)
				r = r sprintf("\\%03o", int(v / 256) % 256)
			if (k + i + 2 <= n)
				r = r sprintf("\\%03o", v % 256)
		}
		attach(r)
	}
	attach("\\012")
}
function octets(called, path, size,  command, line, r, n, i, p, all) { # the same for the contents of a file
	attach(beginning(called, size))
	command = "od -An -v -to1 " path
	while ((command | getline line) > 0) {
		n = split(line, p, " ")
		r = ""
		for (i = 1; i <= n; i++)
			r = r "\\" p[i]
		attach(r)
		all += n
	}
	close(command)
	if (all + 0 != size)
		print "die 'the stream is broken here'"
	attach("\\012")
}
function member(path, line, flag, size, link,  pax, device, n, i) { # with the attributes in PART
	moment(path, line)
	pax = ""
	if (bytes(path) > 4095)
		miss(path, "has a path of more than 4095 bytes: tar may not be able to make it; restore a part of the snapshot")
	if (flag == 3 || flag == 4)
		split(field(line, "device"), device, ",")
	path = word(path)
	link = word(link)
	if (FRACTION + 0 != 0 || SECONDS < 0 || SECONDS >= LIMIT[11])
		pax = record("mtime", decimal())
	if (bytes(path) > 100)
		pax = record("path", path) pax
	if (bytes(link) > 100)
		pax = record("linkpath", link) pax
	if ((n = bytes(pax) + part_bytes) > 0) {
		add(header("./pax", 420, 0, 0, n, 0, "x", "", 0, 0) pax)
		for (i = 1; i <= parts; i++)
			add(PART[i])
		add(padding(n))
	}
	parts = part_bytes = 0
	add(header(path, number(path, field(line, "mode"), 8) % 4096, number(path, field(line, "uid"), 10),
		number(path, field(line, "gid"), 10), size, SECONDS, flag, link,
		number(path, device[2], 10), number(path, device[3], 10)))
}
function full_member(path, line, flag, size, link) {
	attributes(path, line)
	member(path, line, flag, size, link)
}
function stand_in(path, line, suffix,  top) { # an empty file whose name says what is missing
	sub(/\/$/, "", path)
	if (path == ".")
		path = "./top"
	for (top = path; index(top, "/") > 0;)
		top = substr(top, index(top, "/") + 1)
	member(substr(path, 1, length(path) - length(top)) cut(top, 254 - length(suffix)) "." suffix, line, 0, 0, "")
}
function entry(what, path, link, line,  type, name, reason) {
	type = field(line, "type")
	name = "blob/" field(line, "sha256digest")
	reason = tag(line, "unread")
	if (reason != "") {
		miss(path, "could not be read when it was stored: " shown(reason))
		stand_in(path, line, "chkfs-unread")
		if (type == "file")
			return
	}
	if (what == "a")
		full_member(path, line, 2, 0, link)
	else if (what == "h" && !(link in LOST))
		member(path, line, 1, 0, link)
	else if (type == "dir")
		full_member(path, line, 5, 0, "")
	else if (type == "link" && field(line, "link") != "" && is_quoted(field(line, "link")))
		full_member(path, line, 2, 0, field(line, "link"))
	else if (type == "char" || type == "block")
		full_member(path, line, type == "char" ? 3 : 4, 0, "")
	else if (type == "fifo")
		full_member(path, line, 6, 0, "")
	else if (type == "socket")
		say("\\047" shown(path) "\\047 is a socket, and tar has none: left out")
	else if (type == "file" && what == "e" && (name in AT)) {
		full_member(path, line, 0, SIZE[name], "")
		contents(name)
		if (tag(line, "damaged") != "")
			miss(path, spoilt(line))
	} else {
		miss(path, "is missing or damaged: " shown(name))
		stand_in(path, line, "chkfs-damaged")
		if (tag(line, "hl") != "") {
			LOST[path] = 1
			print path >>"lost.links"
		}
	}
}
function add(text) {
	pending = pending text
	if (length(pending) > 30000)
		flush()
}
function flush(  k) { # a printf for what has gathered; where it is a program, an argument must be below 128 KiB
	if (pending == "")
		return
	file = "headers/" ++files
	while (pending != "") {
		k = 30000
		if (length(pending) > k)
			while (substr(pending, k - 2, 3) ~ /\\/) # not within an escape
				k--
		text = substr(pending, 1, k)
		print "printf '" (substr(text, 1, 1) == "-" ? "\\055" substr(text, 2) : text) "' >>" file " || full"
		pending = substr(pending, k + 1)
	}
	append(file)
}
function append(file) {
	arguments = arguments " " file
	if (++count >= 200)
		concatenate()
}
function concatenate() {
	if (arguments != "")
		print "cat" arguments " || die 'the stream is broken here'"
	arguments = ""
	count = 0
}
function contents(name) {
	flush()
	if (AT[name] ~ /^lists/) {
		concatenate()
		print "assemble " AT[name] " || die 'the stream is broken here'"
	} else
		append(AT[name])
	add(padding(SIZE[name]))
}
EOF
	cat >recipes.awk <<'EOF'
# places of pieces, names of what is listed: for each of these, lists/NAME, a line for each piece, its name and places
FILENAME == "pieces.places" {
	PLACES[$1] = PLACES[$1] " " $3 " " $4 " " $5 " " $6
	next
}
{
	list = ENVIRON["STAGE"] "/" $1 ".list"
	recipe = "lists/" $1
	printf "" >recipe
	while ((getline line < list) > 0)
		if (line !~ /^#/) {
			name = "blob/" substr(line, 1, 64)
			print name PLACES[name] >recipe
		}
	close(list)
	close(recipe)
}
EOF
	cat >times.awk <<'EOF'
# a plan: a script that prints calls of t and o, as times_ has them, for what is in it
BEGIN { FS = "\t" }
$1 == "d" { unlisted($2, $4) }
$1 == "e" || $1 == "a" {
	type = field($4, "type")
	if (type == "socket" || type == "file" && tag($4, "unread") != "")
		next
	path = $2
	gsub(/'/, "\\047\\134\\047\\047", path) # '\''
	path = "\\047" word(path) "\\047\\n"
	if ($1 == "a" || type == "link")
		printf "printf 'o %.0f:%.0f %s'\n", number($2, field($4, "uid"), 10), number($2, field($4, "gid"), 10), path
	moment($2, $4)
	if (field($4, "time") != "")
		printf "printf 't %s %.0f %s'\n", decimal(), SECONDS, path
}
EOF
	cat >ls.awk <<'EOF'
# a tree: a script that prints what is in it
BEGIN {
	split("file dir link fifo socket char block", p, " ")
	for (i = 1; i <= 7; i++)
		LETTER[p[i]] = substr("-dlpscb", i, 1)
}
function bits(mode,  r, i, n) { # 4755 as rwsr-xr-x
	while (length(mode) < 4)
		mode = "0" mode
	mode = substr(mode, length(mode) - 3)
	n = substr(mode, 1, 1)
	r = ""
	for (i = 2; i <= 4; i++) {
		x = substr(mode, i, 1)
		r = r (x >= 4 ? "r" : "-") (x % 4 >= 2 ? "w" : "-")
		special = i == 2 ? n >= 4 : i == 3 ? n % 4 >= 2 : n % 2
		r = r (special ? substr(i == 4 ? "Tt" : "Ss", x % 2 + 1, 1) : x % 2 ? "x" : "-")
	}
	return r
}
!/^#/ && !/^\. / && $0 != "" {
	name = substr($1, 3)
	if (refused($0)) {
		miss($1, "cannot be an entry: left out")
		next
	}
	type = field($0, "type")
	size = type == "file" ? field($0, "size") : substr(field($0, "device"), 7)
	note = type == "link" ? " -> " shown(field($0, "link")) : ""
	if (tag($0, "again") != "")
		note = " is " shown(tag($0, "again")) " once more"
	if (tag($0, "damaged") != "")
		note = " (" spoilt($0) ")"
	if (tag($0, "unread") != "")
		note = note " (could not be read: " shown(tag($0, "unread")) ")"
	text = sprintf(" %6s %6s %12s ", field($0, "uid"), field($0, "gid"), size)
	text = LETTER[type] bits(field($0, "mode")) shown(text)
	if (substr(text, 1, 1) == "-") # printf would take it for an option
		text = "\\055" substr(text, 2)
	print "printf '" text date(field($0, "time")) " " shown(name) note "\\n'"
}
EOF
	cat >list.awk <<'EOF'
# paths of snapshots: a line of a script for each, which begins with its time
BEGIN {
	while ((getline line < "refs") > 0) {
		k = index(line, " ")
		REFS[substr(line, 1, k - 1)] = REFS[substr(line, 1, k - 1)] " " substr(line, k + 1)
	}
}
{
	key = substr($0, length($0) - 63)
	name = source = finished = "-"
	file = $0
	while ((getline line < file) > 0 && line != "") {
		k = index(line, " ")
		value = substr(line, k + 1)
		if (!is_quoted(value) || value == "")
			continue
		if (line ~ /^name /)
			name = shown(value)
		if (line ~ /^source /)
			source = shown(value)
		if (line ~ /^(finished|started) /)
			finished = substr(value, 1, 19)
	}
	close(file)
	print finished, "printf '" key "\\t" shown(finished) "\\t" name "\\t" source "\\t" word(substr(REFS[key], 2)) "\\n'"
}
EOF
}

# ---------------------------------------------------------------------------------------------- packs and indexes

set_up() { # from here on the work directory is the current one, and the store is ./store
	here=$PWD
	case $0 in */*) STORE=${0%/*}/ ;; *) STORE=. ;; esac
	[ -d "$STORE/objects" ] || STORE=${CHKFS_STORE:-$STORE}
	STORE=$(cd "$STORE/" && pwd -P && echo .) # the dot keeps newlines at its end
	STORE=${STORE%??}
	[ -d "$STORE/objects" ] ||
		die "there is no store where $0 is: put it back, or set CHKFS_STORE"
	case ${TMPDIR:=/tmp} in /*) ;; *) TMPDIR=$here/$TMPDIR ;; esac
	WORK=$TMPDIR/chkfs-restore.$$
	while [ -e "$WORK" ]; do WORK=$WORK+; done # left by one that was killed
	mkdir "$WORK" || die "no work files can be made in '$TMPDIR': set TMPDIR to a directory where they can"
	trap 'cd / && rm -rf "$WORK"' EXIT
	trap 'exit 129' HUP INT TERM PIPE
	export TMPDIR
	{
		cd "$WORK" && ln -s "$STORE" store && mkdir index lists lists/blob lists/tree trees trees/blob trees/tree &&
			write_programs && : >empty && : >noise # a chroot may lack /dev/null
	} || die "cannot write into '$WORK'"
	look
	UNZSTD='zstd -dcq'
	has zstd || ! has bsdcat || UNZSTD=bsdcat
	needs gz gzip gzip
	needs bz2 bzip2 bzip2
	needs xz xz xz-utils
	needs zst "${UNZSTD%% *}" zstd
}
look() { # which objects and packs there are
	list_files >files
	grep -E '^store/objects/(blob|tree|snapshot)/../[0-9a-f]{64}(\.(gz|bz2|xz|zst|list))?$' files >loose
	grep -E '^store/packs/pack-[0-9a-f]{64}\.tar(\.(gz|bz2|xz|zst))?$' files |
		sed 's|^store/packs/\([^.]*\).*|\1 &|' >packs
	rm -f indexes all.places
}
list_files() { (cd store && find -L objects packs -type f) 2>>noise | sed 's|^|store/|' | sort; }
look_again() { # after something was not found: is there any place where nobody has looked yet?
	list_files >files.now
	if [ "$(sha256sum <files.now)" != "$(sha256sum <files)" ]; then # chkfs-repack moves objects to other packs
		MENDED=no
		look
		return
	fi
	[ $MENDED = no ] || return 1
	MENDED=yes
	while read -r stem pack; do
		[ -f "index/$stem.index" ] || is_index "$stem" "$pack" || reindex "$stem" "$pack"
	done <packs
	rm -f indexes all.places
}
has() { command -v "$1" >>noise 2>&1; }
needs() { # SUFFIX PROGRAM PACKAGE: says when something is missing, and adds it to LACKS
	! has "$2" && cat loose packs | grep "\\.$1\$" >>noise || return 0
	LACKS="$LACKS.$1."
	complain "there are .$1 files in this store, and no program '$2' here to unpack them: what is in them cannot be" \
		"had. Install it (apt install $3; dnf, apk, pacman and brew know it by that or a like name) or take the store" \
		"to a machine that has it, and run this again."
}
decode() { # FILE: the filter that unpacks what is in it
	case $1 in
	*.gz) gzip -dc ;;
	*.bz2) bzip2 -dc ;;
	*.xz) xz -dc ;;
	*.zst) $UNZSTD ;;
	*) cat ;;
	esac
}
frame() { # PACK OFFSET LENGTH: these bytes of it, unpacked; dd finds the place without reading what is before it
	dd if="$1" bs=65536 skip=$(($2 / 65536)) count=$((($2 % 65536 + $3 + 65535) / 65536)) 2>>noise |
		tail -c +$(($2 % 65536 + 1)) | head -c "$3" | decode "$1"
}
take() { # FILE OFFSET LENGTH NAME: prints an object or a list that is in one piece, not verified
	if [ "$3" = 0 ]; then decode "$1" <"$1"; else frame "$1" "$2" "$3" | tar -xOf - "$4"; fi 2>>noise
}
list_indexes() { # their paths go to the file indexes; those that are missing are made anew
	[ ! -f indexes ] || return 0
	while read -r stem pack; do
		index=store/packs/$stem.index
		[ -f "index/$stem.index" ] || [ -s "$index" ] || reindex "$stem" "$pack"
		[ ! -f "index/$stem.index" ] || index=index/$stem.index
		echo "$index"
	done <packs >indexes
}
is_index() { # STEM PACK: does its index agree with its last line, and with the end of the pack?
	index=store/packs/$1.index
	agrees "$index" || return
	case $LACKS in *".${2##*.}."*) return ;; esac
	sed '$d' "$index" | sort -n -k 3,3 | tail -n 1 >line
	read -r name _ offset length <line
	case $offset$length in *[!0-9]*) return 1 ;; esac
	frame "$2" "$offset" "$length" | tar -tf - | grep -x "$name" >>noise
} 2>>noise
agrees() { # INDEX
	sum=$(sed '$d' "$1" | sha256sum) && [ "# sha256 ${sum%% *}" = "$(tail -n 1 "$1")" ]
}
reindex() { # STEM PACK: makes the index of a pack anew, from the pack itself
	complain "the index of ${2#store/} is missing or damaged: reading the pack instead, which takes a while"
	case $2 in
	*.tar) members "$2" ;;
	*)
		begins "$2" >begins
		sed 1d begins | { cat; wc -c <"$2"; } | paste begins - | while read -r offset next; do
			frame "$2" "$offset" $((next - offset)) 2>>noise | tar -tf - 2>>noise |
				awk -v "place=$offset $((next - offset))" '/^(blob|tree)\// { print $1, 0, place }'
		done ;;
	esac >"index/$1.index"
}
begins() { # PACK: the offset of each frame: where a stream of its codec begins that is a tar with an object first
	case $1 in # the bytes that such a stream begins with become letters, the first of them a newline
	*.gz) tr -c '\037\213\010' '[x*]' <"$1" | tr '\037\213\010' '\nab' | offsets ab ;;
	*.bz2) tr -c 'BZh0-9AY&S' '[x*]' <"$1" | tr 'B' '\n' | offsets 'Zh[1-9]1AY&SY' ;;
	*.xz) tr -c '\3757zXZ\000' '[x*]' <"$1" | tr '\375\000' '\n0' | offsets 7zXZ0 ;;
	*.zst) tr -c '\050\265\057\375' '[x*]' <"$1" | tr '\050\265\057\375' '\nabc' | offsets abc ;;
	esac | while read -r offset; do
		case $(frame "$1" "$offset" 2097152 2>>noise | head -c 5 | tr '\000' x) in
		blob/ | tree/) echo "$offset" ;;
		esac
	done
}
offsets() { # PATTERN: where the newlines are that it follows
	awk -v "pattern=^$1" 'NR > 1 && $0 ~ pattern { printf "%.0f\n", at - 1 } { at += length($0) + 1 }'
}
members() { # PACK: the index of one that is not compressed, where every member is a frame, wherever it begins
	tr -c 'a-f0-9blotresi./\000' '[x*]' <"$1" | tr '/\000' '\nN' | awk '
		last ~ /(blob|tree)$/ && /^[0-9a-f]+(\.list)?N/ {
			key = substr($0, 1, index($0, "N") - 1)
			digits = substr($0, 120, 11)
			for (size = 0; digits ~ /^[0-7]/; digits = substr(digits, 2))
				size = size * 8 + substr(digits, 1, 1)
			whole = 512 + size + (512 - size % 512) % 512
			printf "%s/%s %.0f %.0f %.0f\n", substr(last, length(last) - 3), key, size, at - 5, whole
		}
		{
			at += length($0) + 1
			last = $0
		}'
}

# -------------------------------------------------------------------------------------------------------- objects

locate() { # FILE: for each name in it, every place where the object is, the best one first
	list_indexes
	WANTED=$1
	export WANTED
	# with "empty" there is always something for xargs to do
	echo empty | cat - indexes | xargs -n 500 awk -f locate.awk "$1" loose | sort -u -k 1,1 -k 2,2n -k 4
}
get() { # DIRECTORY: unpacks into it the objects named in the file wanted, and compares each with its name
	# The file places says where they are.  Then have has a line for each that is there: name, place, size; left names
	# the others.
	fetch "$1"
	for _ in 1 2 3; do
		[ -s left ] || return 0
		look_again || return 0
		locate left >places
		try_all_places "$1"
	done
}
fetch() { # DIRECTORY: the same, from these places and no others
	: >have
	cp wanted left
	try_all_places "$1"
}
try_all_places() { # DIRECTORY: the first place of each object that is left, then, of those still left, the second, ...
	STAGE=$1
	ROUND=0
	export STAGE ROUND
	while [ -s left ]; do
		ROUND=$((ROUND + 1))
		for file in candidates listed listed.sums listed.sizes; do : >$file; done
		awk -f choose.awk left places >todo || break
		while read -r file offset length names; do
			# these names and no others: who knows what a pack from elsewhere would put where
			# shellcheck disable=SC2086 # words without blanks
			if [ "$length" != 0 ]; then
				frame "$file" "$offset" "$length" | (cd "$STAGE" && tar -xf - $names)
			else
				rm -f "$STAGE/$names"
				take "$file" 0 0 "$names" >"$STAGE/$names"
			fi <empty 2>>noise
		done <todo
		find "$STAGE" ! -type f ! -type d -exec rm -f {} +
		[ ! -s listed ] || put_together
		verify
	done
	room
}
verify() { # moves the names of what is as it should be from left to have
	xargs sha256sum <candidates >sums 2>>noise
	xargs wc -c <candidates >sizes 2>>noise
	cat listed.sums >>sums
	cat listed.sizes >>sizes
	awk -f verified.awk left sums sizes >less
	mv less left
}
put_together() { # the objects named in the file listed; their lists are in $STAGE
	recipes listed
	while read -r name; do
		case $name in
		tree/*) assemble "lists/$name" >"$STAGE/$name" ;;
		*) # is put together again when it is printed: there may be no room for it here
			: >counted
			sum=$(assemble "lists/$name" | sha256sum)
			echo "${sum%% *} lists/$name" >>listed.sums
			awk -v "name=$name" '{ n += $1 } END { printf "%.0f lists/%s\n", n, name }' counted >>listed.sizes ;;
		esac
	done <listed
}
recipes() { # NAMES: of what to put together; the lists are in $STAGE, and how to do it goes to lists/NAME
	sed "s|.*|$STAGE/&.list|" "$1" | xargs cat 2>>noise | sed '/^#/d; s|^|blob/|; s/ .*//' | sort -u >pieces
	locate pieces >pieces.places
	awk -f recipes.awk pieces.places "$1"
}
assemble() { # RECIPE [DEPTH]: prints the pieces in order, each compared with its name; false when one is lost
	while read -r name places; do
		# shellcheck disable=SC2086 # words without blanks
		set -- "$1" "${2:-0}" $places
		until [ $# -lt 6 ]; do
			if [ "$3" = list ]; then
				assemble_within "$2" "$4" "$5" "$6" && break
			else
				take "$4" "$5" "$6" "$name" >piece <empty
				sum=$(sha256sum <piece)
				[ "blob/${sum%% *}" != "$name" ] || { wc -c <piece >>counted && cat piece && break; }
			fi
			recipe=$1 depth=$2
			shift 6
			set -- "$recipe" "$depth" "$@"
		done
		[ $# -ge 6 ] || return 1
	done <"$1"
}
assemble_within() ( # DEPTH FILE OFFSET LENGTH: the same for $name, a piece that has a list itself
	[ "$1" -lt 8 ] || return 1
	STAGE=lists
	take "$2" "$3" "$4" "$name.list" >"lists/$name.list"
	echo "$name" >inner
	recipes inner
	assemble "lists/$name" $(($1 + 1))
)

# -------------------------------------------------------------------------------------------- snapshots and paths

is_key() {
	[ ${#1} -eq 64 ] || return 1
	case $1 in *[!0-9a-f]*) return 1 ;; esac
}
quote() { # TEXT: as it would stand in a tree, slashes left
	printf '%s' "$1" | od -An -v -to1 | awk -f text.awk -f quote.awk
}
value() { # NAME: of that field of $line, or of its tag tree; spoilt: what is wrong with it
	printf '%s\n' "$line" | NAME=$1 awk -f text.awk -f value.awk
}
snapshots() { # the paths of all snapshots that are what their names say
	grep '^store/objects/snapshot/../[0-9a-f]*$' loose >plain
	compare plain | while read -r state path; do
		if [ "$state" = good ]; then echo "$path"; else lose "${path#store/} is damaged"; fi
	done
}
compare() { # FILE: each path in it after the word good or bad: is it what its name says?
	xargs sha256sum <"$1" >sums 2>>noise
	awk 'FILENAME == "sums" { S[$2] = $1; next }
		{ print (S[$1] == substr($1, length($1) - 63) ? "good" : "bad"), $1 }' sums "$1"
}
refs() { # the key and the name of each ref; - for the key of one that holds none
	(cd store && find refs -type f -o -type l) 2>>noise | grep -v '/\.' | sort | while IFS= read -r ref; do
		key=
		{ read -r key <"store/$ref"; } 2>>noise
		is_key "$key" || key=-
		printf '%s %s\n' "$key" "$ref"
	done
}
list() {
	refs >refs
	sed -n 's/^- //p' refs | while IFS= read -r ref; do
		lose "$ref is damaged: it holds no key"
	done
	snapshots >found
	awk -f text.awk -f list.awk found | sort | cut -d ' ' -f 2- >script
	print_all
}
find_snapshot() { # NAME: sets key
	key=
	for ref in "$1" "refs/$1" "refs/backups/$1" "refs/tags/$1" "refs/recovered/$1"; do
		case $ref in refs/*) ;; *) continue ;; esac
		[ -f "store/$ref" ] || continue
		read -r key <"store/$ref"
		is_key "$key" || die "$ref is damaged: 'list' shows all snapshots, and logs/$ref what it was"
		return
	done
	case $1 in
	*[!0-9a-f]* | '' | ? | ?? | ???) ;;
	*) key=$(sed -n 's|^store/objects/snapshot/../||p' loose | grep "^$1" | sort -u) ;;
	esac
	case $key in
	?*[!0-9a-f]*) die "several keys begin with $1" ;;
	?*) return ;;
	esac
	key=$(snapshots | NAME=$(quote "$1") awk -f named.awk | sort | sed -n '$s/.* //p')
	[ -n "$key" ] || die "there is no snapshot '$1': 'sh restore.sh list' shows them all"
	complain "there is no ref '$1': this is $key, the newest snapshot of that name"
}
find_entry() { # SNAPSHOT[:PATH]: sets line, of a tree; entry, its name, quoted; inside, the directories it is in
	find_snapshot "${1%%:*}"
	snapshot=store/objects/snapshot/$(echo "$key" | cut -c 1-2)/$key
	[ -f "$snapshot" ] || die "the snapshot $key is missing"
	sum=$(sha256sum <"$snapshot")
	[ "${sum%% *}" = "$key" ] || die "the snapshot $key is damaged"
	line=$(sed -n '/^$/q; s/^root //p' "$snapshot")
	entry=
	inside=
	case $1 in *:*) path=$(quote "${1#*:}") ;; *) path= ;; esac
	while [ -n "$path" ]; do
		part=${path%%/*}
		path=${path#"$part"}
		path=${path#/}
		case $part in '' | .) continue ;; esac
		tree
		line=$(NAME=./$part awk -f text.awk -f entry.awk "$tree")
		[ -n "$line" ] || die "there is no '$part' in '${inside:-/}${entry}' of that snapshot"
		inside=$inside${entry:+$entry/}
		entry=$part
	done
}
tree() { # the tree of $line: sets tree, a file
	tree=$(value tree)
	is_key "$tree" || die "'$inside$entry' is not a directory with entries of its own"
	echo "tree/$tree" >wanted
	locate wanted >places
	get trees
	[ -s have ] || die "the tree of '$inside$entry' is missing or damaged: $tree"
	read -r _ tree _ <have
}

# ------------------------------------------------------------------------------------------------------- commands

print_all() { # what the script prints: not every printf says when it could not
	. ./script >printed || full
	room
	cat printed || die 'not all of it could be printed'
}
ls_() {
	find_entry "$1"
	if [ "$(value type)" = dir ]; then
		tree
	else
		tree=alone
		printf './%s %s\n' "$(name)" "${line#* }" >alone
	fi
	awk -f text.awk -f ls.awk "$tree" >script
	print_all
}
name() { # of what find_entry found; the snapshot of a single file has it in its source
	[ -z "$entry" ] || { printf '%s\n' "$entry" && return; }
	sed -n '/^$/q; s/^source .*\///p' "$snapshot" | awk -f text.awk -f name.awk
}
cat_() {
	find_entry "$1"
	type=$(value type)
	[ "$type" = file ] || die "'$inside$entry' is not a file, but of type $type"
	key=$(value sha256digest)
	is_key "$key" || die "'$inside$entry' could not be read when it was stored"
	mkdir -p blobs/blob blobs/tree
	echo "blob/$key" >wanted
	locate wanted >places
	get blobs
	[ -s have ] || die "the contents of '$inside$entry' are missing or damaged: blob $key"
	read -r _ place _ <have
	case $place in lists/*) assemble "$place" ;; *) cat "$place" ;; esac || die "cannot print '$inside$entry'"
	spoilt=$(value spoilt)
	[ -z "$spoilt" ] || lose "'$inside$entry' $spoilt"
}
plan() { # SNAPSHOT[:PATH]: the files plan.1 to plan.$windows get a line for each member of its tar
	find_entry "$1"
	case $(value type) in
	dir) TOP_PATH=./ INSIDE=$inside${entry:+$entry/} ;;
	*) TOP_PATH=./$(name) INSIDE=$inside ;;
	esac
	TOP_LINE="./top ${line#* }"
	export TOP_PATH TOP_LINE INSIDE
	gather
	windows=$(awk -f text.awk -f walk.awk) || die 'cannot plan'
	room
}
tar_() {
	plan "$1"
	: >lost.links
	window=0
	while [ $((window += 1)) -le "$windows" ]; do
		awk -f text.awk -f wanted.awk "plan.$window" >all.wanted
		rm -f all.places
		locate_all
		batches=$(awk -f text.awk -f batches.awk all.places "plan.$window") || die 'cannot plan'
		room
		batch=0
		while [ $((batch += 1)) -le "$batches" ]; do
			print_batch "batch.$batch"
		done
	done
	awk 'BEGIN { while (n++ < 1024) text = text "\\000"; print "printf \047" text "\047" }' >script
	print_all
}
times_() {
	plan "$1"
	cat <<'EOF' || die 'not all of it could be printed'
t() { touch -chd "@$1" "$3" 2>&- || touch -chd "@$2" "$3"; } # not every touch knows fractions of seconds
o() { chown -h "$@"; }
EOF
	window=0
	while [ $((window += 1)) -le "$windows" ]; do
		awk -f text.awk -f times.awk "plan.$window" >script
		print_all
	done
}
gather() { # unpacks all trees below $TOP_LINE, level by level; the file gathered says where they are
	: >gathered
	printf '%s\n' "$TOP_LINE" >top
	echo 'tree/top top' >have
	: >seen
	while :; do
		awk -f text.awk -f children.awk have | awk 'FILENAME == "seen" { S[$1] = 1; next } !($1 in S)' seen - >wanted
		[ -s wanted ] || break
		cat wanted >>seen
		locate wanted >places
		get trees
		cat have >>gathered
	done
}
locate_all() { [ -f all.places ] || locate all.wanted >all.places || die 'cannot sort'; }
print_batch() { # PLAN
	rm -rf blobs headers
	mkdir -p blobs/blob blobs/tree headers
	awk -f text.awk -f wanted.awk "$1" >wanted
	locate_all
	awk 'FILENAME == "wanted" { W[$1] = 1; next } $1 in W' wanted all.places >places
	get blobs
	awk -f text.awk -f tar.awk have lost.links "$1" >script || die 'cannot make headers'
	room
	. ./script
}
check() { # one line for each thing that is not what its name says
	{
		check_refs
		check_loose
		list_indexes
		while read -r stem pack; do
			check_pack "$stem" "$pack"
		done <packs
		check_lists
	} >damaged
	sed 's|^store/||' damaged || die 'not all of it could be printed'
	[ ! -s damaged ] || STATUS=1
	complain "$(wc -l <packs | tr -d ' ') packs, $(grep -c . loose) files, $(grep -c . damaged) of them damaged" \
		"or lacking an object"
}
check_refs() {
	refs | while read -r key ref; do
		grep "^store/objects/snapshot/../$key\$" loose >>noise || printf '%s: no such snapshot\n' "$ref"
	done
}
check_loose() {
	grep '/[0-9a-f]*$' loose >plain
	compare plain | sed -n 's/^bad //p'
	grep '/[0-9a-f]*\.[a-z0-9]*$' loose | grep -v '\.list$' | while read -r path; do
		sum=$(take "$path" 0 0 '' | sha256sum)
		case $path in */"${sum%% *}".*) ;; *) echo "$path" ;; esac
	done
}
check_pack() { # STEM PACK
	[ -f "$2" ] || {
		lose "${2#store/} went away meanwhile, as chkfs-repack does it: run this again"
		return
	}
	sum=$(sha256sum <"$2")
	[ "$1" = "pack-${sum%% *}" ] || echo "$2"
	[ ! -f "store/packs/$1.index" ] || {
		agrees "store/packs/$1.index" || echo "store/packs/$1.index"
	}
	rm -rf checked
	mkdir -p checked/blob checked/tree
	awk -v "pack=$2" 'length($1) == 69 && NF == 4 && /^(blob|tree).[0-9a-f]+( [0-9]+)+$/ {
			print $1, 3, "frame", pack, $3, $4
		}' "$(grep "/$1.index\$" indexes)" >places
	cut -d ' ' -f 1 places | sort -u >wanted
	fetch checked
	sort left | awk -v "pack=$2" '{ print pack ": " $1 }'
	rm -rf checked
}
check_lists() {
	{
		sed -n 's|^store/objects/\(.*/\)../\(.*\)\.list$|\1\2|p' loose
		xargs -n 500 cat <indexes | sed -n 's|^\([a-z]*/[0-9a-f]*\)\.list .*|\1|p'
	} | sort -u >wanted
	locate wanted | grep ' list ' >places
	fetch trees
	sort left | awk '{ print "list " $1 }'
}

case ${1-} in
list | check) [ $# -eq 1 ] || { usage >&2; exit 2; } ;;
ls | cat | tar | times) [ $# -eq 2 ] || { usage >&2; exit 2; } ;;
'' | help | -h | --help) usage || exit 128; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
set_up
case $1 in
list) list ;;
check) check ;;
ls) ls_ "$2" ;;
cat) cat_ "$2" ;;
tar) tar_ "$2" ;;
times) times_ "$2" ;;
esac
[ ! -f lost ] || exit 3
exit $STATUS
