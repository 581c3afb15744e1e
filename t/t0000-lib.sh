#!/bin/sh
# The library of these tests, tested with itself: a small inner test file, and what it reports.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

inner() { # the lines of a test file on standard input; its TAP goes to tap, its exit status to status
	mkdir -p inner
	cp "$T/lib.sh" inner/lib.sh
	{ echo '. "$(dirname "$0")/lib.sh"'; cat; echo 'test_done'; } >inner/t.sh
	TMPDIR=$SCRATCH sh inner/t.sh >tap 2>err && code=0 || code=$?
	echo "$code" >status
}

test_expect_success 'a test that passes' '
	inner <<-\END
	test_expect_success "it is true" "true"
	END
	printf "ok 1 - it is true\n1..1\n" | cmp - tap
	[ "$(cat status)" = 0 ]
'
test_expect_success 'a test that fails is not ok, the plan is whole, and the file ends with 1' '
	inner <<-\END
	test_expect_success "it is false" "echo why; false"
	test_expect_success "it is true" "true"
	END
	grep -q "^not ok 1 - it is false$" tap
	grep -q "^# why$" tap
	grep -q "^ok 2 - it is true$" tap
	grep -q "^1\.\.2$" tap
	[ "$(cat status)" = 1 ]
'
test_expect_success 'the first command that fails ends a test' '
	inner <<-\END
	test_expect_success "it is false" "false; true"
	test_expect_success "in a function" "it() { false; true; }; it"
	test_expect_success "in a substitution" "it=\$(false); true"
	END
	[ "$(grep -c "^not ok" tap)" = 3 ]
'
test_expect_success 'tests do not see each other: a directory, a variable, an exit' '
	inner <<-\END
	test_expect_success "it goes away" "mkdir d; cd d; seen=yes"
	test_expect_success "it is back" "[ -d d ] && [ -z \"\${seen-}\" ]"
	test_expect_success "it leaves" "exit 1"
	END
	grep -q "^ok 2" tap
	grep -q "^not ok 3" tap
	grep -q "^1\.\.3" tap
'
test_expect_success 'test_expect_failure: a known bug is TODO, and the file ends with 0' '
	inner <<-\END
	test_expect_failure "it is broken" "false"
	test_expect_failure "it is mended" "true"
	END
	grep -q "^not ok 1 - it is broken # TODO" tap
	grep -q "^ok 2 - it is mended # TODO" tap
	[ "$(cat status)" = 0 ]
'
test_expect_success 'skip, need and skip_all give their reasons' '
	inner <<-\END
	test_expect_success "it is odd" "skip \"the moon is full\"; false"
	test_expect_success "it needs" "need sh no-such-tool; false"
	END
	grep -q "^ok 1 - it is odd # SKIP the moon is full$" tap
	grep -q "^ok 2 - it needs # SKIP there is no no-such-tool here$" tap
	[ "$(cat status)" = 0 ]
	inner <<-\END
	skip_all "no moon"
	END
	[ "$(cat tap)" = "1..0 # SKIP no moon" ]
	[ "$(cat status)" = 0 ]
'
test_expect_success 'test_expect_code and test_must_fail' '
	test_expect_code 0 true
	test_expect_code 3 sh -c "exit 3"
	test_must_fail false
	test_must_fail sh -c "exit 128"
	inner <<-\END
	test_expect_success "another status" "test_expect_code 2 false"
	test_expect_success "no failure" "test_must_fail true"
	test_expect_success "no such command" "test_must_fail no-such-command"
	test_expect_success "a signal" "test_must_fail sh -c \"kill -9 \\\$\\\$\""
	END
	[ "$(grep -c "^not ok" tap)" = 4 ]
'
test_expect_success 'wait_for asks until the answer is yes, and then no more' '
	ask() { echo >>asked; [ "$(wc -l <asked)" -ge 3 ]; }
	wait_for ask
	[ "$(wc -l <asked)" -eq 3 ]
'
test_expect_success 'a traceback is a failure' '
	inner <<-\END
	test_expect_success "it traces" "echo \"Traceback (most recent call last):\""
	END
	grep -q "^not ok 1" tap
'
test_expect_success 'what a test prints cannot look like TAP' '
	inner <<-\END
	test_expect_success "it lies" "echo ok 7; echo 1..9; false"
	END
	[ "$(grep -c "^[^#]" tap)" = 2 ]
'
test_expect_success 'the environment is our own, and the scratch directory goes away' '
	inner <<-\END
	test_expect_success "it is" "
		[ \"\$LC_ALL\" = C ] && [ \"\$(umask)\" = 0022 ] && [ -z \"\${CHKFS_STORE-}\" ]
		case \$HOME in \$SCRATCH/*) ;; *) exit 1 ;; esac
		case \$XDG_CACHE_HOME in \$SCRATCH/*) ;; *) exit 1 ;; esac
		mkdir -p a/b && chmod 0 a
		echo \$SCRATCH >\"$SCRATCH/where\"
	"
	END
	grep -q "^ok 1" tap
	[ ! -e "$(cat where)" ]
'
test_expect_success 'same_trees sees every difference' '
	make() { rm -rf "$1"; mkdir -p "$1/d"; echo a >"$1/f"; ln -s f "$1/l"; touch -h -d @1 "$1/f" "$1/l" "$1/d" "$1"; }
	make a
	make b
	same_trees a b
	for change in "chmod 600 b/f" "touch -d @1.000000001 b/f" "touch -h -d @2 b/l" "echo x >b/d/x" "ln b/f b/g" \
		"touch -d @2 b/d" "touch -d @2 b" "mkdir b/e"; do
		make b
		eval "$change"
		test_must_fail same_trees a b
	done
	make b
	echo b >b/f
	touch -d @1 b/f
	test_must_fail same_contents a b
'
test_expect_success 'every test file is clean under shellcheck, and so are the scripts in it' '
	need shellcheck
	cd "$T"
	shellcheck -x ./*.sh
	for file in ./t*.sh; do TEST_LINT=yes sh "$file"; done >"$SCRATCH/scripts.sh"
	shellcheck -s sh -S warning -e SC1010,SC1083,SC2034,SC2154,SC2164,SC2209 "$SCRATCH/scripts.sh"
'
test_done
