#!/bin/sh
# Times whole commands on the same data, turn by turn: first backup of what is not in memory (cold; as root only),
# first backup of what is, unchanged backup, restore of all; and the size.
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
	if [ "$what" = cold ]; then
		echo 3 >/proc/sys/vm/drop_caches
		for program in chkfs-write-tree tar zstd restic borg bup; do "$program" --version; done >/dev/null 2>&1
	else
		find "$source" "$work" -type f ! -name image -exec cat {} + >/dev/null 2>&1 # for each of them alike
	fi
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
measure() { # measure TOOL: with the functions TOOL_save and the like below
	if [ "$(id -u)" = 0 ]; then
		"$1_init" >/dev/null 2>&1
		timed "$1" cold "$1_save"
		rm -rf "$work/store" "$work/cache"
	fi
	"$1_init" >/dev/null 2>&1
	timed "$1" first "$1_save"
	[ "$1" = tar ] || timed "$1" unchanged "$1_save"
	fresh
	timed "$1" restore "$1_back"
	du -sb "$work/store" | awk -v tool="$1" '{ print tool, "bytes", $1 }' >>"$work/times"
	rm -rf "$work/store" "$work/cache"
}
have() { command -v "$1" >/dev/null; }

tar_init() { :; }
tar_save() { tar -C "$source" -cf - . | zstd -q -3 -o "$work/store"; }
tar_back() { tar -C "$work/mount" --zstd -xf "$work/store"; }
gzip_init() { chkfs-init "$work/store"; }
gzip_save() { chkfs-backup -q -n x "$source"; }
gzip_back() { chkfs-restore -q x "$work/mount/r"; }
zstd_init() { chkfs-init --compression zstd "$work/store"; }
zstd_save() { gzip_save; }
zstd_back() { gzip_back; }
restic_init() { restic -q init -r "$work/store"; }
restic_save() { restic -q backup -r "$work/store" "$source"; }
restic_back() { restic -q restore -r "$work/store" latest --target "$work/mount/r"; }
borg_init() { borg init -e none "$work/store"; }
borg_save() { borg create "$work/store::$(date +%N)" "$source"; }
borg_back() { cd "$work/mount" && borg extract "$work/store::$(borg list --last 1 --short "$work/store")"; }
bup_init() { bup init; }
bup_save() { bup index "$source" && bup save -n x "$source"; }
bup_back() { bup restore -C "$work/mount/r" x/latest/.; }

for round in $(seq "${ROUNDS:-3}"); do
	have zstd && measure tar
	measure gzip
	measure zstd
	have restic && measure restic
	have borg && measure borg
	cd / || exit
	[ "$round" = 1 ] && have bup && [ -z "${FAST-}" ] && measure bup
done
sort -k1,2 -k3,3n "$work/times" | awk '
	function take() { if (n) middle[last] = value[int((n + 1) / 2)]; n = 0 }
	{ if ($1 " " $2 != last) take(); last = $1 " " $2; value[++n] = $3; tools[$1] }
	function shown(cell) { return cell in middle ? sprintf("%.2f", middle[cell] / 1000) : "-" }
	END {
		take()
		name["tar"] = "tar | zstd"; name["gzip"] = "chkfs gzip"; name["zstd"] = "chkfs zstd"
		row = "%-12s %9s %9s %9s %9s %12s\n"
		printf row, "", "cold", "first", "unchanged", "restore", "bytes"
		for (tool in tools)
			printf row, tool in name ? name[tool] : tool, shown(tool " cold"), shown(tool " first"),
				shown(tool " unchanged"), shown(tool " restore"), middle[tool " bytes"]
	}'
