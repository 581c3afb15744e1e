#!/bin/sh
# Every type of entry, and every time, mode and owner.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

round() { # DIR: back up, restore, compare
	chkfs-backup -q "$1" >out || { echo "backup of $1: $?"; return 1; }
	ref=$(cut -f 2 out)
	chkfs-restore -q "$ref" "$1.back" && same_trees "$1" "$1.back" || return
}

test_expect_success 'a store' 'chkfs-init store'
test_expect_success 'fifos and sockets' '
	mkdir special
	mkfifo special/fifo
	mkfifo -m 600 "special/a fifo"
	touch -d @77 special/fifo
	cat >sock.py <<-\END
	import socket
	socket.socket(socket.AF_UNIX).bind("special/socket")
	END
	python3 sock.py
	chmod 751 special/socket
	round special
	chkfs-ls-tree special >out
	grep -qx "0644 fifo -	fifo" out
	grep -qx "0751 socket -	socket" out
	[ -S special.back/socket ]
'
test_expect_success 'character and block devices' '
	need_root
	mkdir devices
	mknod devices/null c 1 3 2>err || skip "mknod is not allowed here"
	mknod devices/big c 4095 1048575
	mknod devices/zero c 0 0
	mknod -m 640 devices/block b 7 200
	touch -d @99 devices/block
	round devices
	for name in null big zero block; do
		[ "$(stat -c "%F %t:%T %a" devices/$name)" = "$(stat -c "%F %t:%T %a" devices.back/$name)" ]
	done
	chkfs-cat-object devices: | grep -q "^\\./big type=char .* device=linux,4095,1048575 tags=[bc]time:[^ ]*$"
	chkfs-cat-object devices: | grep -q "^\\./block type=block .* device=linux,7,200 tags=[bc]time:[^ ]*$"
'
test_expect_success 'hard links: of files in one directory and in several, of symlinks, of fifos' '
	mkdir -p links/a/b links/z
	echo one >links/one
	ln links/one links/a/one
	ln links/one links/z/uno
	echo two >links/a/b/two
	ln links/a/b/two links/a/b/dos
	echo same >links/same1
	echo same >links/same2
	ln -s target links/soft
	ln links/soft links/z/soft
	mkfifo links/fifo
	ln links/fifo links/a/fifo
	head -c 500000 /dev/urandom >links/large
	ln links/large links/z/large
	round links
	inode() { stat -c %i "links.back/$1"; }
	[ "$(inode one)" = "$(inode a/one)" ]
	[ "$(inode one)" = "$(inode z/uno)" ]
	[ "$(inode a/b/two)" = "$(inode a/b/dos)" ]
	[ "$(inode soft)" = "$(inode z/soft)" ]
	[ "$(inode fifo)" = "$(inode a/fifo)" ]
	[ "$(inode same1)" != "$(inode same2)" ]
'
test_expect_success 'hard links: restoring a part makes whole files of what it has' '
	chkfs-restore -q links:z part
	cmp part/uno links/one
	cmp part/large links/large
	[ "$(readlink part/soft)" = target ]
	chkfs-restore -q links:a/one single
	cmp single links/one
'
test_expect_success 'hard links: a link whose other names lie outside the source' '
	mkdir half
	echo outside >outside
	ln outside half/inside
	chkfs-backup -q half
	chkfs-restore -q half half.back
	cmp outside half.back/inside
	[ "$(stat -c %h half.back/inside)" = 1 ]
'
test_expect_success 'hard links: one name more makes itself known' '
	ln links/one links/z/neu
	rm -rf links.back
	round links
	rm links/one
	rm -rf links.back
	round links
'
test_expect_success 'symlinks: dangling, to a directory, absolute, to itself, long, of any bytes' '
	mkdir -p soft/dir
	ln -s nowhere soft/dangling
	ln -s dir soft/to-dir
	ln -s /etc/passwd soft/absolute
	ln -s self soft/self
	ln -s "$(printf "a b\n\377%%s")" soft/bytes
	ln -s "$(head -c 4000 /dev/zero | tr "\0" x)" soft/long
	ln -s .. soft/dir/up
	touch -h -d @1234567890.987654321 soft/dangling
	chown -h 12:34 soft/absolute 2>/dev/null || true
	round soft
	readlink soft/bytes >expect
	readlink soft.back/bytes | cmp expect -
'
test_expect_success 'modes: setuid, setgid, sticky, 0000, on files and directories' '
	mkdir -p modes/d
	for mode in 0000 0400 0200 0100 0644 0777 1644 2644 2755 4644 4755 6755 7777 7000; do
		echo $mode >modes/f$mode
		chmod $mode modes/f$mode
		mkdir modes/d/$mode
		echo x >modes/d/$mode/in
		chmod $mode modes/d/$mode
	done
	if [ "$(id -u)" -ne 0 ]; then chmod -R u+rX modes; fi
	round modes
'
test_expect_success 'owners, also those without a name, and large numbers' '
	need_root
	mkdir -p owned/dir
	for id in 0:0 1:2 12345:54321 65534:65534 4294967294:4294967294 2147483648:1; do
		echo x >owned/$id
		chown $id owned/$id
		ln -s x owned/link-$id
		chown -h $id owned/link-$id
	done
	echo x >owned/setuid
	chown 5:6 owned/setuid
	chmod 6755 owned/setuid
	chown 7:8 owned/dir
	chown 9:10 owned
	round owned
'
test_expect_success 'times: before 1970, after 2038, to the nanosecond' '
	mkdir -p times/dir
	for time in 0 0.000000001 -1 -0.000000001 -1.5 -1000000000.123456789 2147483647.999999999 2147483648 4294967296.5 \
		5000000000.000000001 1.1 999999999.999999999; do
		echo $time >times/f$time
		touch -d @$time times/f$time
		ln -s x times/l$time
		touch -h -d @$time times/l$time
		mkdir times/dir/$time
		touch -d @$time times/dir/$time
	done
	touch -d @-1.5 times/dir
	touch -d @5000000000.25 times
	round times
	chkfs-cat-object times: | grep -q "^\\./f-1\\.5 .* time=-2\\.500000000 "
	chkfs-cat-object times: | grep -q "^\\./f-0\\.000000001 .* time=-1\\.999999999 "
	chkfs-cat-object times: | grep -q "^\\./f5000000000\\.000000001 .* time=5000000000\\.000000001 "
'
test_expect_success 'people see those times as well' '
	TZ=UTC chkfs-ls -l times >out
	grep -q " 1938-04-24 22:13:19 f-1000000000\\.123456789$" out
	grep -q " 2128-06-11 08:53:20 f5000000000\\.000000001$" out
'
test_expect_success 'empty files, empty directories, an empty source, and sizes around every limit' '
	mkdir -p sizes/empty/er nothing
	: >sizes/zero
	for size in 1 511 512 513 4096 262143 262144 262145 1048575 1048576 1048577 8388607 8388608 8388609; do
		head -c $size /dev/urandom >sizes/random-$size
		head -c $size /dev/zero >sizes/zeros-$size
	done
	round sizes
	round nothing
	[ -z "$(ls -A nothing.back)" ]
'
test_expect_success 'a sparse file' '
	mkdir sparse
	truncate -s 20M sparse/hole
	printf x | dd of=sparse/hole bs=1 seek=15000000 conv=notrunc 2>/dev/null
	truncate -s 300k sparse/small
	round sparse
'
test_expect_success 'a directory that is itself again, by a bind mount: not walked for ever' '
	need_root
	need mount
	mkdir -p again/a/b/c
	echo x >again/a/file
	mount --bind again/a again/a/b/c 2>err || skip "mount --bind is not allowed here"
	code=0
	timeout 60 chkfs-backup again >out 2>err || code=$?
	umount again/a/b/c
	[ $code = 0 ]
	[ "$(chkfs-ls -r again | wc -l)" -lt 20 ]
	chkfs-restore -q again again.back
	cmp again/a/file again.back/a/file
'
test_expect_success 'kernel filesystems below a source are left out, and said' '
	need_root
	need mount
	mkdir -p system/proc
	mount -t proc proc system/proc 2>err || skip "mounting proc is not allowed here"
	code=0
	chkfs-backup system >out 2>err || code=$?
	umount system/proc
	[ $code = 0 ]
	grep -q "proc. is a proc mount: not entered" err
	chkfs-cat-object system | grep -q "^mount path=proc type=proc .* skipped=yes$"
	[ "$(chkfs-ls -r system)" = proc ]
'
test_done
