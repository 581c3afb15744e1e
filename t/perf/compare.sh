#!/bin/sh
# Times whole commands on the same data, turn by turn: first backup, unchanged backup, restore of all; and the size.
# usage: compare.sh [DIR]      DIR: what to back up, default /usr/share
# ROUNDS=3 is how often each has its turn: the medians are printed, in seconds.  Tools that are not here are left out.
# As root, every restore goes to a fresh ext4 image, since old ones slow a filesystem down.
set -u
source=${1:-/usr/share}
work=$(mktemp -d /var/tmp/chkfs-compare.XXXXXX)
trap 'umount "$work/mount" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export XDG_CACHE_HOME="$work/cache" HOME="$work" RESTIC_PASSWORD=x BORG_PASSPHRASE='' BUP_DIR="$work/store"
export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes CHKFS_STORE="$work/store"

timed() { # timed TOOL WHAT COMMAND... notes how long a command takes
	tool=$1 what=$2
	shift 2
	sync
	find "$source" "$work" -type f ! -name image -exec cat {} + >/dev/null 2>&1 # in memory, for each of them alike
	begin=$(date +%s%N)
	"$@" >"$work/log" 2>&1 || { echo "failed: $*" >&2; tail -3 "$work/log" >&2; }
	end=$(date +%s%N)
	echo "$tool $what $(((end - begin) / 1000000))" >>"$work/times"
}
fresh() { # an empty directory to restore to
	umount "$work/mount" 2>/dev/null
	rm -rf "$work/mount" "$work/image"
	mkdir "$work/mount"
	if [ "$(id -u)" = 0 ] && truncate -s 8G "$work/image" &&
		mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$work/image"; then
		mount -o loop "$work/image" "$work/mount"
	fi
}
measure() { # measure TOOL FIRST AGAIN RESTORE: functions below, of which AGAIN may be ''
	timed "$1" first "$2"
	[ -z "$3" ] || timed "$1" unchanged "$3"
	fresh
	timed "$1" restore "$4"
	du -sb "$work/store" | awk -v tool="$1" '{ print tool, "bytes", $1 }' >>"$work/times"
	rm -rf "$work/store" "$work/cache"
}
have() { command -v "$1" >/dev/null; }

tar_save() { tar -C "$source" -cf - . | zstd -q -3 -o "$work/store"; }
tar_back() { tar -C "$work/mount" --zstd -xf "$work/store"; }
chkfs_save() { chkfs-backup -q -n x "$source"; }
chkfs_back() { chkfs-restore -q x "$work/mount/r"; }
restic_save() { restic -q backup -r "$work/store" "$source"; }
restic_back() { restic -q restore -r "$work/store" latest --target "$work/mount/r"; }
borg_save() { borg create "$work/store::$(date +%N)" "$source"; }
borg_back() { cd "$work/mount" && borg extract "$work/store::$(borg list --last 1 --short "$work/store")"; }
bup_save() { bup index "$source" && bup save -n x "$source"; }
bup_back() { bup restore -C "$work/mount/r" x/latest/.; }

for round in $(seq "${ROUNDS:-3}"); do
	have zstd && measure tar tar_save '' tar_back
	for codec in gzip zstd; do
		chkfs-init --compression $codec "$work/store" >/dev/null
		measure "chkfs-$codec" chkfs_save chkfs_save chkfs_back
	done
	have restic && restic -q init -r "$work/store" >/dev/null && measure restic restic_save restic_save restic_back
	have borg && borg init -e none "$work/store" >/dev/null 2>&1 && measure borg borg_save borg_save borg_back
	cd / || exit
	[ "$round" = 1 ] && have bup && [ -z "${FAST-}" ] && bup init >/dev/null 2>&1 && measure bup bup_save bup_save bup_back
done
sort -k1,2 -k3,3n "$work/times" | awk '
	function take() { if (n) middle[last] = value[int((n + 1) / 2)]; n = 0 }
	{ if ($1 " " $2 != last) take(); last = $1 " " $2; value[++n] = $3; tools[$1] }
	function shown(cell) { return cell in middle ? sprintf("%.2f", middle[cell] / 1000) : "-" }
	END {
		take()
		printf "%-12s %9s %9s %9s %12s\n", "", "first", "unchanged", "restore", "bytes"
		for (tool in tools)
			printf "%-12s %9s %9s %9s %12s\n", tool, shown(tool " first"), shown(tool " unchanged"),
				shown(tool " restore"), middle[tool " bytes"]
	}' | sort -k2,2n
