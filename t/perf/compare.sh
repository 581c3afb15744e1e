#!/bin/sh
# Times whole commands on the same data, one after the other: first backup, unchanged backup, restore of all, size.
# usage: compare.sh [DIR]      DIR: what to back up, default /usr/share
# As root, every restore goes to a fresh ext4 image, since old ones slow a filesystem down.  Tools not here are left out.
set -u
source=${1:-/usr/share}
work=$(mktemp -d /var/tmp/chkfs-compare.XXXXXX)
trap 'umount "$work/mount" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export XDG_CACHE_HOME="$work/cache" HOME="$work" RESTIC_PASSWORD=x BORG_PASSPHRASE='' BUP_DIR="$work/bup"
export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
have() { command -v "$1" >/dev/null; }
seconds() { # runs a command; prints how long it took
	sync
	find "$source" "$work" -type f ! -name image -exec cat {} + >/dev/null 2>&1 # in memory, for each of them alike
	begin=$(date +%s%N)
	"$@" >"$work/log" 2>&1 || { echo "failed: $*" >&2; tail -3 "$work/log" >&2; }
	end=$(date +%s%N)
	echo $(((end - begin) / 10000000)) | sed 's/^\(.\)$/0\1/; s/^\(..\)$/0\1/; s/\(..\)$/.\1/'
}
target() { # an empty directory to restore to
	umount "$work/mount" 2>/dev/null
	rm -rf "$work/mount" "$work/image"
	mkdir "$work/mount"
	if [ "$(id -u)" = 0 ] && truncate -s 8G "$work/image" &&
		mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$work/image"; then
		mount -o loop "$work/image" "$work/mount"
	fi
}
bytes() { du -sb "$@" | awk '{ n += $1 } END { print n }'; }
row() { printf '%-22s %9s %9s %9s %12s\n' "$@"; }
tar_zstd() { tar -C "$source" -cf - . | zstd -q -3 -o "$work/tar.zst" -f; }
bup_save() { bup index "$source" && bup save -n x "$source"; }

row "$source" first unchanged restore bytes
if have zstd; then
	a=$(seconds tar_zstd)
	target
	row 'tar | zstd -3' "$a" - "$(seconds tar -C "$work/mount" --zstd -xf "$work/tar.zst")" "$(bytes "$work/tar.zst")"
fi
for compression in gzip zstd; do
	chkfs-init --compression $compression "$work/chkfs" || break
	export CHKFS_STORE="$work/chkfs"
	a=$(seconds chkfs-backup -q -n x "$source")
	b=$(seconds chkfs-backup -q -n x "$source")
	target
	row "chkfs $compression" "$a" "$b" "$(seconds chkfs-restore -q x "$work/mount/r")" "$(bytes "$work/chkfs")"
	rm -rf "$work/chkfs"
done
if have restic; then
	restic -q init -r "$work/restic" >/dev/null
	a=$(seconds restic -q backup -r "$work/restic" "$source")
	b=$(seconds restic -q backup -r "$work/restic" "$source")
	target
	c=$(seconds restic -q restore -r "$work/restic" latest --target "$work/mount/r")
	row restic "$a" "$b" "$c" "$(bytes "$work/restic")"
fi
if have borg; then
	borg init -e none "$work/borg" >/dev/null 2>&1
	a=$(seconds borg create "$work/borg::a" "$source")
	b=$(seconds borg create "$work/borg::b" "$source")
	target
	cd "$work/mount" || exit
	c=$(seconds borg extract "$work/borg::a")
	cd / || exit
	row 'borg lz4' "$a" "$b" "$c" "$(bytes "$work/borg")"
fi
if have bup && [ -z "${FAST-}" ]; then
	bup init >/dev/null 2>&1
	a=$(seconds bup_save)
	b=$(seconds bup_save)
	target
	row bup "$a" "$b" "$(seconds bup restore -C "$work/mount/r" x/latest/.)" "$(bytes "$work/bup")"
fi
