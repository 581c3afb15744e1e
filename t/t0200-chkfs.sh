#!/bin/sh
# The dispatcher: chkfs X runs chkfs-X, and the store may be named in three ways.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

test_expect_success 'two stores and two sources' '
	mkdir one two
	echo 1 >one/file
	echo 2 >two/file
	chkfs-init store1
	chkfs-init store2
	chkfs-backup -q --store store1 one
	chkfs-backup -q --store store2 two
'
test_expect_success '--store before and after the command word' '
	for command in "--store store1 ls one" "--store=store1 ls one" "ls --store store1 one" "--store store2 ls --store store1 one"; do
		# shellcheck disable=SC2086 # words of a command
		[ "$(chkfs $command)" = file ]
	done
	for command in "--store store1 rev-parse one" "rev-parse --store store1 one" "rev-parse --store=store1 one"; do
		# shellcheck disable=SC2086 # words of a command
		[ "$(chkfs $command)" = "$(cat store1/refs/backups/one)" ]
	done
'
test_expect_success '--store=DIR after the command word, for the scripts too' '
	for command in "ls --store=store1 one" "log --store=store1 one" "backup -q --store=store1 one"; do
		# shellcheck disable=SC2086 # words of a command
		chkfs $command >out
	done
	chkfs restore --store=store1 one there
'
test_expect_success 'an option after the names is refused by the scripts, before anything is done' '
	cp store1/logs/refs/backups/one before
	for command in "backup one --store nowhere" "backup one -n" "ls one -l" "log one -v" "restore one there2 -q"; do
		# shellcheck disable=SC2086 # words of a command
		CHKFS_STORE=store1 test_expect_code 2 chkfs $command >out 2>err
		grep -q "^chkfs-${command%% *}: -[-a-z]* comes too late: options go before the rest$" err
		[ ! -s out ]
	done
	[ ! -e there2 ]
	cmp before store1/logs/refs/backups/one
'
test_expect_success 'completion in bash: commands, the options of each, refs' '
	need bash
	CHKFS_STORE=$SCRATCH/store1 bash -c '\''
		eval "$(chkfs completion)"
		try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _chkfs "$1"; echo "$*:${COMPREPLY[*]:+ ${COMPREPLY[*]}}"; }
		try chkfs res
		try chkfs-ls -
		try chkfs ls --na
		try chkfs rev-list --
		try chkfs restore o
		try chkfs --store ../store2 ls t
		try chkfs-ls-tree --store store2 t
		try chkfs restore --store st
		try chkfs backup o
	'\'' >out
	cat >wanted <<-\END
	chkfs res: restore
	chkfs-ls -: -l --long -r --recursive -z --name-encoding --store
	chkfs ls --na: --name-encoding
	chkfs rev-list --: --help --max-count --all --parents --store --version
	chkfs restore o: one
	chkfs --store ../store2 ls t:
	chkfs-ls-tree --store store2 t: two
	chkfs restore --store st:
	chkfs backup o:
	END
	diff wanted out
'
test_expect_success '$CHKFS_STORE, which --store overrides' '
	[ "$(CHKFS_STORE=store1 chkfs ls one)" = file ]
	[ "$(CHKFS_STORE=store2 chkfs --store store1 ls one)" = file ]
	[ "$(CHKFS_STORE=store2 chkfs ls --store store1 one)" = file ]
	CHKFS_STORE=store2 test_expect_code 128 chkfs ls one
'
test_expect_success 'the current directory, if it is a store' '
	cd store1
	[ "$(chkfs ls one)" = file ]
	[ "$(CHKFS_STORE=../store2 chkfs ls two)" = file ]
	cd objects
	test_expect_code 128 chkfs ls one
'
test_expect_success 'without a store: 128, and the three ways to name one' '
	for command in "ls one" "log" "backup one" "restore one there" "for-each-ref" "count-objects"; do
		# shellcheck disable=SC2086 # words of a command
		test_expect_code 128 chkfs $command 2>err
		grep -q -- "--store DIR" err
		grep -q "CHKFS_STORE" err
		grep -q "change into the store" err
	done
'
test_expect_success 'what is not a store: 128, and who makes one' '
	for place in one nowhere one/file; do
		test_expect_code 128 chkfs --store $place log 2>err
		grep -q "is not a store: chkfs-init makes one" err
	done
'
test_expect_success '--store before init: the store is made there' '
	mkdir elsewhere
	cd elsewhere
	chkfs --store ../made init
	[ -e ../made/config ]
	[ -z "$(ls)" ]
'
test_expect_success 'an unknown command: 2, with the nearest' '
	test_expect_code 2 chkfs help backpu >out 2>err
	grep -qF "chkfs: '\''backpu'\'' is not a command; the nearest is '\''backup'\''" err
	test_expect_code 2 chkfs backpu >out 2>err
	[ ! -s out ]
	grep -qF "chkfs: '\''backpu'\'' is not a command; the nearest is '\''backup'\''" err
	test_expect_code 2 chkfs diff 2>err
	[ "$(cat err)" = "chkfs: '\''diff'\'' is not a command; chkfs help lists them" ]
	for pair in restor:restore LS:ls cat-objekt:cat-object hash:hash-object initialise:init lgo:log; do
		test_expect_code 2 chkfs "${pair%:*}" 2>err
		grep -q "nearest is .${pair#*:}." err || { [ "$pair" = hash:hash-object ] || [ "$pair" = initialise:init ] || [ "$pair" = LS:ls ]; }
	done
'
test_expect_success 'an odd command: no shell runs it, no path is taken' '
	for word in "" " " "../bin/chkfs-ls" "ls; echo oops" "\$(echo ls)" "-" "a/b"; do
		test_expect_code 2 chkfs "$word" >out 2>err
		[ ! -s out ]
	done
'
test_expect_success 'help, -h, --help: all commands, 0' '
	for how in help -h --help; do
		chkfs $how >out 2>err
		[ ! -s err ]
		grep -q "^usage: chkfs " out
		grep -q "^  backup  *back up" out
	done
'
test_expect_success 'without anything: the same on standard error, 2' '
	test_expect_code 2 chkfs >out 2>err
	[ ! -s out ]
	grep -q "^usage: chkfs " err
	grep -q "^  backup" err
'
test_expect_success 'help COMMAND without man pages: its usage' '
	mkdir bin
	printf "#!/bin/sh\nexit 16\n" >bin/man
	chmod +x bin/man
	PATH=$SCRATCH/bin:$PATH chkfs help ls-tree >out
	grep -q "^usage: chkfs-ls-tree" out
	PATH=$SCRATCH/bin:$PATH chkfs help backup | grep -q "^usage: chkfs-backup"
'
test_expect_success 'help COMMAND with man pages: the page, once' '
	mkdir -p bin
	printf "#!/bin/sh\necho the page of \$1\n" >bin/man
	chmod +x bin/man
	{ PATH=$SCRATCH/bin:$PATH timeout 5 chkfs help ls-tree || echo "status $?"; } | head -n 20 >out
	[ "$(cat out)" = "the page of chkfs-ls-tree" ]
'
test_expect_success 'options of its own that it does not know, or that lack a value: 2' '
	for bad in --none -x --store; do
		test_expect_code 2 chkfs $bad 2>err
		grep -q "^chkfs: " err
	done
'
test_expect_success 'arguments reach the command as they are' '
	export CHKFS_STORE=store1
	mkdir "a  b"
	echo x >"a  b/c  d"
	chkfs backup -q -m "two  spaces; \$(id)" "a  b" >out
	chkfs cat-object "a--b:c  d" | grep -qx x
	chkfs log a--b | grep -qxF "    two  spaces; \$(id)"
'
test_expect_success 'the exit status is that of the command' '
	export CHKFS_STORE=store1
	test_expect_code 0 chkfs rev-parse one
	test_expect_code 1 chkfs rev-parse -q none
	test_expect_code 2 chkfs rev-parse
	test_expect_code 128 chkfs rev-parse none
'
test_expect_success 'commands run by their path, and through a symlink elsewhere' '
	export CHKFS_STORE=$SCRATCH/store1
	PATH=$(echo "$PATH" | sed "s|$ROOT/bin:||")
	"$ROOT/bin/chkfs" ls one | grep -qx file
	"$ROOT/bin/chkfs-ls" one | grep -qx file
	"$ROOT/bin/chkfs-rev-parse" one >out
	mkdir links
	for name in "$ROOT"/bin/*; do ln -s "$name" links/; done
	links/chkfs-rev-parse one | cmp out -
	links/chkfs ls one | grep -qx file
'
test_expect_success 'run from the root directory, and from one that is gone' '
	export CHKFS_STORE=$SCRATCH/store1
	(cd / && chkfs ls one)
	mkdir gone
	cd gone
	rmdir ../gone
	chkfs ls one
'
closed() { # N COMMAND...: its exit status with each standard stream closed, and with all of them
	wanted=$1
	shift
	for streams in "<&-" ">&-" "2>&-" "<&- >&- 2>&-"; do
		code=0
		eval "timeout 60 \"\$@\" </dev/null >out 2>err $streams" || code=$?
		[ "$code" = "$wanted" ] || { echo "status $code with $streams: $*"; return 1; }
		! grep -q "Traceback\|error" out err || { cat out err; return 1; }
	done
}
test_expect_success 'standard streams that are closed are empty, or nobody listens' '
	export CHKFS_STORE=$SCRATCH/store1
	for command in "chkfs ls-tree one" "chkfs ls one" "chkfs log" "chkfs backup one" "chkfs write-tree one" "chkfs fsck" \
		"chkfs hash-object --stdin" "chkfs cat-object --batch" "chkfs mktree" "chkfs for-each-ref"; do
		closed 0 $command || exit 1
	done
	closed 128 chkfs ls none
	closed 128 chkfs commit-snapshot
	chkfs restore -q one back 2>&- >&-
	[ -e back/file ]
	chkfs ls none >out 2>&- || true
	[ ! -s out ]
'
test_expect_success 'what cannot be written to a full disk is said' '
	[ -e /dev/full ] || skip "there is no /dev/full here"
	export CHKFS_STORE=$SCRATCH/store1
	for command in "chkfs ls one" "chkfs backup one" "chkfs rev-parse one" "chkfs cat-object one:file" "chkfs log"; do
		test_expect_code 128 $command 2>err >/dev/full || { cat err; exit 1; }
		! grep Traceback err || exit 1
	done
'
test_expect_success 'no directory is no directory: an unset variable does not back up the current one' '
	export CHKFS_STORE=$SCRATCH/store1
	test_expect_code 2 chkfs backup "" 2>err
	grep -q "which directory" err
'
test_expect_success 'values that stand together with their option, and options that stand together' '
	export CHKFS_STORE=$SCRATCH/store1
	chkfs backup -qnname -m"a message" one
	chkfs backup -q -n -dash -m -message one
	chkfs log -n1 name | grep -qx "    a message"
	chkfs log -n1 -- -dash | grep -qx "    -message"
	test_expect_code 2 chkfs restore -qv name together
	chkfs restore -qq name together
	[ -e together/file ]
'
test_done
