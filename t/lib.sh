#!/bin/sh
# t/lib.sh - a small TAP library; every tNNNN-what.sh begins with: . "$(dirname "$0")/lib.sh"
#
# test_expect_success 'title' 'script'  runs the script in a subshell under set -e, in the scratch directory
# test_expect_failure 'title' 'script'  the same for a bug that is known and not mended yet (TODO in TAP)
# In a script: test_must_fail CMD, test_expect_code N CMD, wait_for CMD, need TOOL ..., need_root, need_other_user,
# skip 'reason'.
# A file ends with test_done; skip_all 'reason' leaves it before the first test.
[ "${0##*/}" != lib.sh ] || { echo '1..0 # SKIP a library, not a test'; exit 0; }

T=$(cd "$(dirname "$0")" && pwd -P) || exit
ROOT=$(dirname "$T")
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/chkfs-t.XXXXXX") && SCRATCH=$(cd "$SCRATCH" && pwd -P) || exit
mkdir "$SCRATCH/.test" "$SCRATCH/home" || exit
PATH=$ROOT/bin:$PATH HOME=$SCRATCH/home XDG_CACHE_HOME=$SCRATCH/home/cache LC_ALL=C
export T ROOT SCRATCH PATH HOME XDG_CACHE_HOME LC_ALL
unset CHKFS_STORE LANG LANGUAGE TMPDIR CDPATH PYTHONUNBUFFERED PYTHONUTF8 PYTHONIOENCODING
umask 022
cd "$SCRATCH" || exit
test_count=0 test_bad=0

test_leave() {
	status=$?
	cd / && awk -v top="$SCRATCH/" 'index($2, top) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
	chmod -R u+rwx "$SCRATCH" 2>/dev/null
	rm -rf "$SCRATCH"
	exit $status
}
trap test_leave EXIT
trap 'exit 129' HUP INT TERM

skip_all() { echo "1..0 # SKIP $1"; exit 0; }
skip() { echo "$1" >"$SCRATCH/.test/reason"; exit 77; }
need() { for tool; do command -v "$tool" >/dev/null || skip "there is no $tool here"; done; }
need_root() { [ "$(id -u)" -eq 0 ] || skip 'this needs root'; }
need_other_user() {
	need_root
	need setpriv
	setpriv --reuid 65534 --clear-groups chkfs-hash-object --version >/dev/null 2>&1 ||
		skip 'another user cannot run chkfs from this directory'
}

test_run() { # 'title' 'script' 'TAP directive'
	if [ -n "${TEST_LINT-}" ]; then printf '(\nset -e\n%s\n)\n' "$2"; return; fi # t0000 gives this to shellcheck
	test_count=$((test_count + 1))
	(set -e; cd "$SCRATCH"; eval "$2") >"$SCRATCH/.test/log" 2>&1 </dev/null
	case $? in
	0)
		grep -q '^Traceback (most' "$SCRATCH/.test/log" || { echo "ok $test_count - $1$3"; return; }
		echo '(a traceback, so it failed)' >>"$SCRATCH/.test/log" ;;
	77) echo "ok $test_count - $1 # SKIP $(cat "$SCRATCH/.test/reason")"; return ;;
	esac
	echo "not ok $test_count - $1$3"
	[ -n "$3" ] || test_bad=$((test_bad + 1))
	printf '%s\n' "$2" | cat - "$SCRATCH/.test/log" | LC_ALL=C tr -c '\11\12\40-\176' '?' | sed 's/^/# /'
}
test_expect_success() { test_run "$1" "$2" ''; }
test_expect_failure() { test_run "$1" "$2" ' # TODO known bug'; }

test_expect_code() { # N CMD: its exit status is exactly N
	wanted=$1
	shift
	"$@" && code=0 || code=$?
	[ "$code" -eq "$wanted" ] || { echo "exit status $code, not $wanted: $*" >&2; return 1; }
}
test_must_fail() { # CMD: it says no, by itself: not by a signal, not because it cannot be run
	"$@" && code=0 || code=$?
	case $code in 0 | 126 | 127 | 129 | 1[3-9]? | 2??) echo "exit status $code: $*" >&2; return 1 ;; esac
}
wait_for() { # CMD: until it says yes, at most a minute
	for _ in $(seq 600); do ! "$@" || return 0; sleep 0.1; done
	return 1
}
test_done() {
	[ -n "${TEST_LINT-}" ] || echo "1..$test_count"
	[ "$test_bad" -eq 0 ]
	exit
}

listing() ( # DIR: all that find tells of a tree, a record an entry
	cd "$1" && find . \( -type d -printf '%p %y %m %U %G %T@\0' \) -o -printf '%p %y %m %U %G %n %s %T@ %l\0' |
		sort -z | tr '\0' '\n'
)
same_trees() { # A B: names, types, modes, owners, link counts, sizes, times to the nanosecond, and contents
	listing "$1" >"$SCRATCH/.test/a" && listing "$2" >"$SCRATCH/.test/b" &&
		cmp "$SCRATCH/.test/a" "$SCRATCH/.test/b" && same_contents "$1" "$2"
}
same_contents() { # A B: the bytes of every file; diff does not do, it stumbles over fifos and devices
	sums "$1" >"$SCRATCH/.test/a" && sums "$2" >"$SCRATCH/.test/b" && cmp "$SCRATCH/.test/a" "$SCRATCH/.test/b"
}
sums() (cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum --)
