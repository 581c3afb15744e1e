#!/bin/sh
# The suite as a whole: every command has help, a version, a man page that agrees with both, and clean code.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

commands() { (cd "$ROOT/bin" && ls); }
is_sh() { head -n 1 "$ROOT/bin/$1" | grep -q '^#!/bin/sh$'; }
module() { echo "$ROOT/chkfs/cmd/$(echo "${1#chkfs-}" | tr - _).py"; }
rendered() { mandoc -Tascii -O width=500 "$1" | awk '{ while (sub(/.\b/, "")); print }'; }
section() { awk -v name="$2" '/^[A-Z]/ { inside = $0 == name; next } inside' "$1"; }
words() { tr -s '[:space:]' '\n' | sed '/^$/d'; }
summary() { # NAME - what it does, from the source
	if is_sh "$1"; then sed -n '2s/^# //p' "$ROOT/bin/$1"; else sed -n '1s/^"""\(.*[^"]\)"*$/\1/p' "$(module "$1")"; fi
}
page() { # the rendered man page of a command, made once
	[ -e "man/$1" ] || { mkdir -p man && rendered "$ROOT/man/$1.1" >"man/$1"; }
	cat "man/$1"
}
each() { # FUNCTION: calls it with every command, and names those for which it fails
	bad=''
	for command in $(commands); do
		if ! "$1" "$command"; then bad="$bad $command"; fi
	done
	[ -z "$bad" ] || { echo "not so:$bad"; return 1; }
}

help_works() {
	"$1" -h >"help/$1" 2>err && [ ! -s err ] && grep -q "^usage: $1" "help/$1" && "$1" --help | cmp - "help/$1"
}
test_expect_success '-h and --help print the usage on standard output, with status 0' 'mkdir help; each help_works'

version_works() {
	"$1" --version >out 2>err && [ ! -s err ] && grep -qxE "chkfs(-[a-z-]+)? [0-9]+(\.[0-9]+)+" out
}
test_expect_success '--version prints a name and a version, with status 0' 'each version_works'
own_name() { case $("$1" --version) in "$1 "*) ;; *) return 1 ;; esac; }
test_expect_success '--version prints the name of the command itself' 'each own_name'

options_explained() { # every option of the usage has its line
	[ "$1" != chkfs ] || return 0
	sed -n '/^usage: /,/^$/p' "help/$1" | grep -oE -- '[[{ ]-[A-Za-z]+|--[a-z-]+' | tr -d '[{ ' |
		sed '/^-[^-]/{s/^-//;s/./-&\n/g;}' | sed '/^$/d' | sort -u >options
	while read -r option; do
		grep -qE -- "^ +(-[a-z]( [A-Z]+)?, )?$option( |,|\$)" "help/$1" || { echo "$1 -h does not explain $option"; return 1; }
	done <options
}
test_expect_success '-h explains every option of the usage' 'each options_explained'

bad_option() {
	test_expect_code 2 "$1" --no-such-option >out 2>err </dev/null && grep -q "^usage: $1" err && [ ! -s out ]
}
test_expect_success 'a bad option: the usage on standard error, with status 2' 'each bad_option'

has_page() { [ -s "$ROOT/man/$1.1" ]; }
test_expect_success 'every command has a man page' 'each has_page'
test_expect_success 'every man page of section 1 has a command' '
	for page in "$ROOT"/man/*.1; do
		page=${page##*/}
		[ -x "$ROOT/bin/${page%.1}" ] || { echo "no command for $page"; exit 1; }
	done
'
test_expect_success 'mandoc finds nothing wrong in any man page' '
	need mandoc
	mandoc -Tlint -Wwarning "$ROOT"/man/*.[1-9]
'
synopsis_is_usage() {
	page "$1" >text && section text SYNOPSIS | words >a &&
		sed -n "1s/^usage: //; /^\$/q; /^[A-Z]/q; p" "help/$1" | words >b && [ -s b ] && diff a b
}
test_expect_success 'the SYNOPSIS of each man page is the usage that -h prints' 'need mandoc; each synopsis_is_usage'

name_is_summary() {
	page "$1" >text && section text NAME | sed 's/^ *//; /^$/d' >a && summary "$1" >b && [ -s b ] && diff a b
}
test_expect_success 'the NAME line of each man page is the first line of the source' 'need mandoc; each name_is_summary'

options_in_page() {
	page "$1" >text
	missing=''
	sed -n '/^  *-/p; /^usage/p; /^  *\[/p' "help/$1" | grep -oE -- '(^|[^-a-z])--?[A-Za-z][a-z-]*' |
		sed 's/^[^-]//' | sort -u >options
	while read -r option; do
		case $option in -h | --help | --version) continue ;; -??*) [ "${option#--}" != "$option" ] || continue ;; esac
		grep -qE -- "(^|[^-a-zA-Z])$option([^-a-z]|\$)" text || missing="$missing $option"
	done <options
	[ -z "$missing" ] || { echo "$1: not in its page:$missing"; return 1; }
}
test_expect_success 'every option that -h shows is in the man page' 'need mandoc; each options_in_page'

test_expect_success 'chkfs help lists every command, with its summary' '
	chkfs help | sed -n "s/^  \([a-z-]*\)  *\(.*\)/chkfs-\1 - \2/p" | sort >listed
	for command in $(commands); do [ "$command" = chkfs ] || summary "$command"; done | sort >there
	[ -s there ]
	diff listed there
'
test_expect_success 'chkfs(7) names every command' '
	need mandoc
	rendered "$ROOT/man/chkfs.7" >page
	for command in $(commands); do
		[ "$command" = chkfs ] || grep -qw -- "$command" page || { echo "$command is not in it"; exit 1; }
	done
'
test_expect_success 'every man page that another one names exists, or is not ours' '
	need mandoc
	for page in "$ROOT"/man/*.[1-9]; do rendered "$page"; done |
		grep -oE "chkfs(-[a-z-]+)?\([1-9]\)" | sort -u | tr "()" ". " | while read -r page; do
			[ -e "$ROOT/man/$page" ] || echo "$page"
		done >missing
	[ ! -s missing ]
'
test_expect_success 'the scripts are under 80 lines and clean under shellcheck' '
	need shellcheck
	for command in $(commands); do
		is_sh "$command" || continue
		[ "$(wc -l <"$ROOT/bin/$command")" -lt 80 ]
		shellcheck "$ROOT/bin/$command"
	done
'
test_expect_success 'all Python commands are the same few lines, and each has its module' '
	for command in $(commands); do
		is_sh "$command" && continue
		cmp "$ROOT/bin/chkfs-init" "$ROOT/bin/$command"
		[ -e "$(module "$command")" ]
	done
	for module in "$ROOT"/chkfs/cmd/[a-z]*.py; do
		name=${module##*/}
		[ -x "$ROOT/bin/chkfs-$(echo "${name%.py}" | tr _ -)" ]
	done
'
test_expect_success 'all files in bin can be executed' '
	[ -z "$(find "$ROOT/bin" -type f ! -perm -111)" ]
'
test_done
