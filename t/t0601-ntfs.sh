#!/bin/sh
# NTFS by ntfs-3g: what it does not list is stored, and written back to a fresh NTFS.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || skip_all 'mounting needs root'
for tool in ntfs-3g mkntfs setfattr getfattr; do
	command -v $tool >/dev/null || skip_all "there is no $tool here"
done
CHKFS_STORE=$SCRATCH/store
export CHKFS_STORE

fresh() { truncate -s 60M "$1.img" && mkntfs -F -q "$1.img" >/dev/null && mkdir "$1" && attach "$1"; }
attach() { ntfs-3g -o "${2:-rw},streams_interface=xattr,permissions" "$1.img" "${3:-$1}"; }
detach() { umount "$1"; }
fresh here 2>err || skip_all 'ntfs-3g mounts nothing here'
value() { getfattr -h -e hex -n "system.ntfs_$1" "$2" 2>/dev/null | sed -n 's/.*=//p'; }
told() ( # DIR: what NTFS tells of each entry, as we know its names
	cd "$1" && find . ! -name . | sort | while read -r path; do
		echo "$path $(for name in attrib_be crtime_be dos_name object_id ea reparse_data acl; do value "$name" "$path"; done)"
		getfattr -h -d -m user -e hex "$path" | sort
	done
)
test_expect_success 'an NTFS with something of each kind' '
	chkfs-init store
	mkdir here/dir
	echo hello >here/file
	echo long >"here/Long name.text"
	echo several >here/linked
	ln here/linked here/dir/linked
	echo inside >here/dir/inside
	setfattr -n user.stream -v "a stream" here/file
	setfattr -n user.long -v "$(head -c 5000 /dev/zero | tr "\0" s)" here/file
	setfattr -n user.of.dir -v "of a directory" here/dir
	setfattr -n system.ntfs_attrib_be -v 0x00000027 here/file
	setfattr -n system.ntfs_attrib_be -v 0x00000002 here/dir
	setfattr -n system.ntfs_crtime_be -v 0x01c000000000abcd here/file
	setfattr -n system.ntfs_dos_name -v LONGNA~1.TEX "here/Long name.text"
	setfattr -n system.ntfs_object_id -v 0x000102030405060708090a0b0c0d0e0f here/file
	setfattr -n system.ntfs_acl -v "$(value acl here/dir)" here/dir/inside
	detach here
	attach here ro
	told here >before
	grep -q 0x00000027 before
	grep -q 0x4c4f4e474e417e312e544558 before
'
test_expect_success 'it is in the tree, and features say so' '
	chkfs-backup -n ntfs here >out 2>err
	chkfs-cat-object ntfs: >tree
	grep -q "^\\./file .* tags=btime:[0-9]*\\.[0-9]*,ctime:.*,atime:.*,dos:rhsa,ntfs\\.acl:[^,]*,ntfs\\.object:AAECAwQFBgcICQoLDA0OD[^,]*,xattr:user\\.long:@[0-9a-f]*,xattr:user\\.stream:YSBzdHJlYW0=$" tree
	grep -q "^\\./Long\\\\040name\\.text .* tags=btime:.*,short:LONGNA~1\\.TEX," tree
	grep -q "^\\./linked .* tags=hl:linked,btime:" tree
	grep -q "^\\./dir .*,dos:h,ntfs\\.acl:.*xattr:user\\.of\\.dir:" tree
	chkfs-cat-object "$(cut -f 1 out)" | grep -q "^features .* btime ctime atime flags=none ntfs xattr$"
	test_must_fail grep "could not be read" err
'
test_expect_success 'mounted elsewhere, nothing has changed' '
	chkfs-rev-parse ntfs: >key
	detach here
	mkdir elsewhere
	attach here ro elsewhere
	chkfs-backup -q -n ntfs elsewhere >/dev/null
	chkfs-rev-parse ntfs: | cmp key -
	detach elsewhere
'
test_expect_success 'written back to a fresh NTFS: equal' '
	fresh there
	chkfs-restore ntfs there/back 2>err
	test_must_fail grep "not set" err
	detach there
	attach there ro
	told there/back >after
	cmp before after
	detach there
'
test_expect_success 'restored to what is no NTFS: streams are xattrs, the rest stays in the store, this is said' '
	chkfs-restore ntfs plain 2>err || [ $? = 3 ] # 3 where there are no xattrs
	[ "$(cat plain/file)" = hello ]
	grep -q "no place for stays in the store:.* NTFS ACLs (of [1-9][0-9]* entries)" err
	[ ! -e plain.chkfs-missing.mtree ] || test_must_fail grep "missing:dos\\|missing:ntfs\\|missing:short" plain.chkfs-missing.mtree
'
test_done
