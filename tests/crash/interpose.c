/* An LD_PRELOAD library that sees every call which changes the filesystem below one directory.

   All processes of a run share one counter.  Each call gets the next number, its step; the library can log it with
   its data, kill the whole process group just before a step (or in the middle of a write), or make steps fail.
   One call at a time: the order in the log is the order in which things happened.  The environment says what to do;
   tests/crash/interposer.py sets it and reads the log.

   INTERPOSE_ROOT    the directory; without it nothing is watched
   INTERPOSE_COUNTER a file of 4096 zero bytes, mapped by all processes of the run
   INTERPOSE_LOG     a line for each call is appended here, and written data to the same name with ".data" added
   INTERPOSE_KILL    kill -9 of the process group before this step
   INTERPOSE_TEAR    set: a write that is to be killed is half done first
   INTERPOSE_FAIL    this step fails ...
   INTERPOSE_ERRNO   ... with this number,
   INTERPOSE_LASTING ... and, when this is set, so do all later ones that could fail so on a real disk
   INTERPOSE_NO_SYNC set: what only waits for the disk is counted but not done

   Not seen: what goes through mmap, and what stdio and system calls made by hand write; the test with strace shows
   that chkfs does none of that. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))
#define LONGEST (PATH_MAX + 300)

struct counter {
	atomic_int ready; /* 0 new, 1 being set up, 2 set up */
	pthread_mutex_t mutex;
	unsigned long steps;
};

static struct counter *counter;
static char root[LONGEST];
static const char *log_path;
static unsigned long kill_at, fail_at;
static int fail_errno, lasting, tear, no_sync;

/* One call on its way.  inode: of the file that it is about; other: a second path, or details. */
struct call {
	const char *name;
	char path[LONGEST], other[LONGEST];
	unsigned long step, inode, replaced;
	long long offset, length;
	const struct iovec *data;
	int data_count, existed;
};

static unsigned long number(const char *name)
{
	const char *text = getenv(name);
	return text ? strtoul(text, NULL, 10) : 0;
}

/* Reads the environment; a process that has changed its own calls it again. */
PUBLIC void interpose_begin(void)
{
	const char *directory = getenv("INTERPOSE_ROOT"), *file = getenv("INTERPOSE_COUNTER");
	root[0] = 0;
	if (!directory || !file || !realpath(directory, root))
		return;
	log_path = getenv("INTERPOSE_LOG");
	kill_at = number("INTERPOSE_KILL");
	fail_at = number("INTERPOSE_FAIL");
	fail_errno = number("INTERPOSE_ERRNO");
	lasting = !!getenv("INTERPOSE_LASTING");
	tear = !!getenv("INTERPOSE_TEAR");
	no_sync = !!getenv("INTERPOSE_NO_SYNC");
	int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
	counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || counter == MAP_FAILED) {
		perror("interpose");
		abort();
	}
	syscall(SYS_close, fd);
	int new = 0;
	if (atomic_compare_exchange_strong(&counter->ready, &new, 1)) {
		pthread_mutexattr_t kind;
		pthread_mutexattr_init(&kind);
		pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
		pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
		pthread_mutex_init(&counter->mutex, &kind);
		atomic_store(&counter->ready, 2);
	}
	while (atomic_load(&counter->ready) != 2)
		sched_yield();
}

static void __attribute__((constructor)) loaded(void) { interpose_begin(); }

/* ---- which file is it? ---- */

static int is_below(const char *path)
{
	size_t length = strlen(root);
	return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int path_of_fd(int fd, char *path)
{
	char link[40];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, PATH_MAX - 1);
	path[length < 0 ? 0 : length] = 0;
	return length > 0;
}

/* The absolute path, symlinks followed in all but its last part. */
static int resolve(int dirfd, const char *path, char *out)
{
	char joined[2 * LONGEST] = "";
	if (path[0] != '/') {
		if (dirfd == AT_FDCWD ? !getcwd(joined, PATH_MAX) : !path_of_fd(dirfd, joined))
			return 0;
		strcat(joined, "/");
	}
	if (strlen(joined) + strlen(path) >= PATH_MAX)
		return 0;
	strcat(joined, path);
	char *last = strrchr(joined, '/') + 1, parent[PATH_MAX];
	if (!*last || !strcmp(last, ".") || !strcmp(last, ".."))
		return !!realpath(joined, out);
	char name[PATH_MAX];
	strcpy(name, last);
	*last = 0;
	if (!realpath(joined, parent)) { /* the call will fail, and counts all the same */
		strcpy(parent, joined);
		parent[strlen(parent) - 1] = 0;
	}
	return snprintf(out, LONGEST, "%s/%s", strcmp(parent, "/") ? parent : "", name) < PATH_MAX;
}

static int about_path(struct call *call, const char *name, int dirfd, const char *path)
{
	if (!root[0] || !path)
		return 0;
	*call = (struct call){.name = name};
	struct stat status;
	if (!resolve(dirfd, path, call->path) || !is_below(call->path))
		return 0;
	call->existed = !lstat(call->path, &status);
	call->inode = call->existed ? status.st_ino : 0;
	return 1;
}

static int about_fd(struct call *call, const char *name, int fd)
{
	if (!root[0])
		return 0;
	*call = (struct call){.name = name};
	struct stat status;
	if (!path_of_fd(fd, call->path) || !is_below(call->path) || fstat(fd, &status))
		return 0;
	call->inode = status.st_ino;
	call->existed = 1;
	return 1;
}

/* ---- before and after ---- */

/* Whether a call of this kind could fail so once the disk is full, read-only or broken. */
static int may_last(const char *name)
{
	int frees = !strncmp(name, "unlink", 6) || !strcmp(name, "rmdir") || !strcmp(name, "ftruncate");
	int syncs = strstr(name, "sync") != NULL;
	switch (fail_errno) {
	case ENOSPC:
	case EDQUOT:
		return !frees && !syncs;
	case EROFS:
		return !syncs;
	default:
		return 1;
	}
}

static void record(struct call *call, long long result)
{
	int saved = errno;
	if (log_path) {
		char line[3 * LONGEST], data_path[PATH_MAX];
		long long at = -1;
		int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
		if (call->data && result > 0) {
			snprintf(data_path, sizeof data_path, "%s.data", log_path);
			int fd = syscall(SYS_openat, AT_FDCWD, data_path, flags, 0600);
			at = syscall(SYS_lseek, fd, 0, SEEK_END);
			long long left = result;
			for (int i = 0; i < call->data_count && left; i++) {
				size_t size = call->data[i].iov_len < (size_t)left ? call->data[i].iov_len : (size_t)left;
				for (size_t done = 0; done < size;) {
					long more = syscall(SYS_write, fd, (char *)call->data[i].iov_base + done, size - done);
					if (more <= 0)
						abort();
					done += more;
				}
				left -= size;
			}
			syscall(SYS_close, fd);
		}
		int length = snprintf(line, sizeof line, "%lu\t%d\t%s\t%lld\t%d\t%lu\t%lu\t%d\t%lld\t%lld\t%lld\t%s\t%s\n",
			call->step, (int)syscall(SYS_getpid), call->name, result, result < 0 ? saved : 0, call->inode,
			call->replaced, call->existed, call->offset, call->length, at, call->path, call->other);
		int fd = syscall(SYS_openat, AT_FDCWD, log_path, flags, 0600);
		if (fd < 0 || syscall(SYS_write, fd, line, length) != length)
			abort();
		syscall(SYS_close, fd);
	}
	errno = saved;
}

enum verdict { DO, FAIL, KILL, HALF };

/* Takes the lock and a number.  After FAIL the call is over; KILL and HALF do not return unless it can be torn. */
static enum verdict begin(struct call *call, int can_tear)
{
	if (pthread_mutex_lock(&counter->mutex) == EOWNERDEAD)  /* a process that was killed just then */
		pthread_mutex_consistent(&counter->mutex);
	call->step = ++counter->steps;
	if (call->step == kill_at) {
		if (tear && can_tear)
			return KILL;
		kill(0, SIGKILL);
		pause();
	}
	if (fail_at && (call->step == fail_at || (lasting && call->step > fail_at && may_last(call->name)))) {
		if (lasting && call->step == fail_at && can_tear && fail_errno == ENOSPC)
			return HALF; /* a disk that fills up takes a part first */
		if (call->step != fail_at || !lasting || may_last(call->name)) {
			errno = fail_errno;
			record(call, -1);
			pthread_mutex_unlock(&counter->mutex);
			return FAIL;
		}
	}
	return DO;
}

static long long end(struct call *call, long long result)
{
	record(call, result);
	pthread_mutex_unlock(&counter->mutex);
	return result;
}

#define REAL(name)                                                                                                     \
	static typeof(name) *real;                                                                                     \
	if (!real)                                                                                                     \
	real = (typeof(name) *)dlsym(RTLD_NEXT, #name)

/* A call that is passed on as it is. */
#define PASS(known, arguments)                                                                                         \
	struct call call;                                                                                              \
	if (!(known))                                                                                                  \
		return real arguments;                                                                                 \
	if (begin(&call, 0) == FAIL)                                                                                   \
		return -1;                                                                                             \
	return end(&call, real arguments)

/* ---- open ---- */

static int do_open(int dirfd, const char *path, int flags, mode_t mode)
{
	REAL(openat);
	struct call call;
	if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) || !about_path(&call, "open", dirfd, path))
		return real(dirfd, path, flags, mode);
	if (begin(&call, 0) == FAIL)
		return -1;
	int fd = real(dirfd, path, flags, mode);
	struct stat status;
	if (fd >= 0 && !fstat(fd, &status))
		call.inode = status.st_ino;
	snprintf(call.other, sizeof call.other, "%s", flags & O_TRUNC ? "truncate" : "");
	return end(&call, fd);
}

static mode_t mode_argument(int flags, va_list list)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                                                                     \
	PUBLIC int name(const char *path, int flags, ...)                                                              \
	{                                                                                                              \
		va_list list;                                                                                          \
		va_start(list, flags);                                                                                 \
		mode_t mode = mode_argument(flags, list);                                                              \
		va_end(list);                                                                                          \
		return do_open(AT_FDCWD, path, flags, mode);                                                           \
	}
#define OPENAT(name)                                                                                                   \
	PUBLIC int name(int dirfd, const char *path, int flags, ...)                                                   \
	{                                                                                                              \
		va_list list;                                                                                          \
		va_start(list, flags);                                                                                 \
		mode_t mode = mode_argument(flags, list);                                                              \
		va_end(list);                                                                                          \
		return do_open(dirfd, path, flags, mode);                                                              \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
PUBLIC int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
PUBLIC int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
PUBLIC int __openat_2(int dirfd, const char *path, int flags) { return do_open(dirfd, path, flags, 0); }
PUBLIC int __openat64_2(int dirfd, const char *path, int flags) { return do_open(dirfd, path, flags, 0); }
PUBLIC int creat(const char *path, mode_t mode)
{
	return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
PUBLIC int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* ---- write ---- */

static ssize_t pass_write(int fd, const struct iovec *parts, int count, off_t at)
{
	if (at >= 0)
		return syscall(SYS_pwritev, fd, parts, count, at, 0);
	if (count == 1)
		return syscall(SYS_write, fd, parts[0].iov_base, parts[0].iov_len);
	return syscall(SYS_writev, fd, parts, count);
}

/* at: where it goes, -1 for the file's own position */
static ssize_t do_write(const char *name, int fd, const struct iovec *parts, int count, off_t at)
{
	struct call call;
	if (!about_fd(&call, name, fd))
		return pass_write(fd, parts, count, at);
	struct stat status;
	fstat(fd, &status);
	size_t length = 0;
	for (int i = 0; i < count; i++)
		length += parts[i].iov_len;
	call.data = parts;
	call.data_count = count;
	call.length = length;
	enum verdict verdict = begin(&call, length > 1);
	if (verdict == FAIL)
		return -1;
	int appends = fcntl(fd, F_GETFL) & O_APPEND;
	fstat(fd, &status);
	call.offset = at >= 0 ? at : appends ? status.st_size : lseek(fd, 0, SEEK_CUR);
	if (verdict != DO) {
		char *half = malloc(length);
		size_t filled = 0;
		for (int i = 0; i < count; filled += parts[i++].iov_len)
			memcpy(half + filled, parts[i].iov_base, parts[i].iov_len);
		struct iovec first = {half, length / 2};
		ssize_t done = pass_write(fd, &first, 1, at);
		if (verdict == KILL) {
			kill(0, SIGKILL);
			pause();
		}
		free(half);
		return end(&call, done);
	}
	return end(&call, pass_write(fd, parts, count, at));
}

PUBLIC ssize_t write(int fd, const void *data, size_t size)
{
	struct iovec part = {(void *)data, size};
	return do_write("write", fd, &part, 1, -1);
}
PUBLIC ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	struct iovec part = {(void *)data, size};
	return do_write("pwrite", fd, &part, 1, at);
}
PUBLIC ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }
PUBLIC ssize_t writev(int fd, const struct iovec *parts, int count) { return do_write("writev", fd, parts, count, -1); }
PUBLIC ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	return do_write("pwritev", fd, parts, count, at);
}
PUBLIC ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
	return do_write("pwritev", fd, parts, count, at);
}

/* What the kernel copies is read back for the log. */
static ssize_t copied(struct call *call, int fd, ssize_t result)
{
	if (result <= 0 || !log_path)
		return end(call, result);
	char link[40], *data = malloc(result);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	int again = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
	if (pread(again, data, result, call->offset) != result)
		abort();
	syscall(SYS_close, again);
	struct iovec part = {data, result};
	call->data = &part;
	call->data_count = 1;
	end(call, result);
	free(data);
	return result;
}

PUBLIC ssize_t sendfile(int out, int in, off_t *from, size_t size)
{
	REAL(sendfile);
	struct call call;
	if (!about_fd(&call, "sendfile", out))
		return real(out, in, from, size);
	if (begin(&call, 0) == FAIL)
		return -1;
	call.offset = lseek(out, 0, SEEK_CUR);
	return copied(&call, out, real(out, in, from, size));
}
PUBLIC ssize_t sendfile64(int out, int in, off_t *from, size_t size) { return sendfile(out, in, from, size); }
PUBLIC ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags)
{
	REAL(copy_file_range);
	struct call call;
	if (!about_fd(&call, "copy_file_range", out))
		return real(in, from, out, to, size, flags);
	if (begin(&call, 0) == FAIL)
		return -1;
	call.offset = to ? *to : lseek(out, 0, SEEK_CUR);
	return copied(&call, out, real(in, from, out, to, size, flags));
}
PUBLIC int ftruncate(int fd, off_t size)
{
	REAL(ftruncate);
	struct call call;
	if (!about_fd(&call, "ftruncate", fd))
		return real(fd, size);
	call.length = size;
	if (begin(&call, 0) == FAIL)
		return -1;
	return end(&call, real(fd, size));
}
PUBLIC int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
PUBLIC int truncate(const char *path, off_t size)
{
	REAL(truncate);
	struct call call;
	if (!about_path(&call, "truncate", AT_FDCWD, path))
		return real(path, size);
	call.length = size;
	if (begin(&call, 0) == FAIL)
		return -1;
	return end(&call, real(path, size));
}
PUBLIC int truncate64(const char *path, off_t size) { return truncate(path, size); }
PUBLIC int fallocate(int fd, int mode, off_t at, off_t size)
{
	REAL(fallocate);
	PASS(about_fd(&call, "fallocate", fd), (fd, mode, at, size));
}
PUBLIC int fallocate64(int fd, int mode, off_t at, off_t size) { return fallocate(fd, mode, at, size); }
PUBLIC int posix_fallocate(int fd, off_t at, off_t size) { return fallocate(fd, 0, at, size) ? errno : 0; }
PUBLIC int posix_fallocate64(int fd, off_t at, off_t size) { return posix_fallocate(fd, at, size); }

/* ---- names ---- */

/* A call with two names: the second is what counts when it makes a new name of an old file. */
static int about_two(struct call *call, const char *name, int olddir, const char *old, int newdir, const char *new)
{
	struct call second;
	int below = about_path(call, name, olddir, old), below_too = about_path(&second, name, newdir, new);
	if (!below && !below_too)
		return 0;
	if (!root[0])
		return 0;
	strcpy(call->other, second.path);
	call->replaced = second.inode;
	return 1;
}

static int do_rename(int olddir, const char *old, int newdir, const char *new, unsigned flags)
{
	REAL(renameat2);
	PASS(about_two(&call, "rename", olddir, old, newdir, new), (olddir, old, newdir, new, flags));
}
PUBLIC int rename(const char *old, const char *new) { return do_rename(AT_FDCWD, old, AT_FDCWD, new, 0); }
PUBLIC int renameat(int olddir, const char *old, int newdir, const char *new)
{
	return do_rename(olddir, old, newdir, new, 0);
}
PUBLIC int renameat2(int olddir, const char *old, int newdir, const char *new, unsigned flags)
{
	return do_rename(olddir, old, newdir, new, flags);
}
PUBLIC int linkat(int olddir, const char *old, int newdir, const char *new, int flags)
{
	REAL(linkat);
	PASS(about_two(&call, "link", olddir, old, newdir, new), (olddir, old, newdir, new, flags));
}
PUBLIC int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }
PUBLIC int unlinkat(int dirfd, const char *path, int flags)
{
	REAL(unlinkat);
	PASS(about_path(&call, flags & AT_REMOVEDIR ? "rmdir" : "unlink", dirfd, path), (dirfd, path, flags));
}
PUBLIC int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
PUBLIC int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

/* A call that makes something new: its inode is known afterwards only. */
static int made(struct call *call, int result)
{
	struct stat status;
	if (!result && !lstat(call->path, &status))
		call->inode = status.st_ino;
	return end(call, result);
}
PUBLIC int mkdirat(int dirfd, const char *path, mode_t mode)
{
	REAL(mkdirat);
	struct call call;
	if (!about_path(&call, "mkdir", dirfd, path))
		return real(dirfd, path, mode);
	if (begin(&call, 0) == FAIL)
		return -1;
	return made(&call, real(dirfd, path, mode));
}
PUBLIC int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
PUBLIC int symlinkat(const char *target, int dirfd, const char *path)
{
	REAL(symlinkat);
	struct call call;
	if (!about_path(&call, "symlink", dirfd, path))
		return real(target, dirfd, path);
	snprintf(call.other, sizeof call.other, "%s", target);
	if (begin(&call, 0) == FAIL)
		return -1;
	return made(&call, real(target, dirfd, path));
}
PUBLIC int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }
PUBLIC int mknodat(int dirfd, const char *path, mode_t mode, dev_t device)
{
	REAL(mknodat);
	struct call call;
	if (!about_path(&call, "mknod", dirfd, path))
		return real(dirfd, path, mode, device);
	if (begin(&call, 0) == FAIL)
		return -1;
	return made(&call, real(dirfd, path, mode, device));
}
PUBLIC int mknod(const char *path, mode_t mode, dev_t device) { return mknodat(AT_FDCWD, path, mode, device); }
PUBLIC int mkfifo(const char *path, mode_t mode) { return mknodat(AT_FDCWD, path, S_IFIFO | mode, 0); }

/* ---- attributes ---- */

PUBLIC int fchmod(int fd, mode_t mode)
{
	REAL(fchmod);
	PASS(about_fd(&call, "chmod", fd), (fd, mode));
}
PUBLIC int fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
	REAL(fchmodat);
	PASS(about_path(&call, "chmod", dirfd, path), (dirfd, path, mode, flags));
}
PUBLIC int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }
PUBLIC int fchown(int fd, uid_t user, gid_t group)
{
	REAL(fchown);
	PASS(about_fd(&call, "chown", fd), (fd, user, group));
}
PUBLIC int fchownat(int dirfd, const char *path, uid_t user, gid_t group, int flags)
{
	REAL(fchownat);
	PASS(about_path(&call, "chown", dirfd, path), (dirfd, path, user, group, flags));
}
PUBLIC int chown(const char *path, uid_t user, gid_t group) { return fchownat(AT_FDCWD, path, user, group, 0); }
PUBLIC int lchown(const char *path, uid_t user, gid_t group)
{
	return fchownat(AT_FDCWD, path, user, group, AT_SYMLINK_NOFOLLOW);
}
PUBLIC int futimens(int fd, const struct timespec times[2])
{
	REAL(futimens);
	PASS(about_fd(&call, "utime", fd), (fd, times));
}
PUBLIC int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
	REAL(utimensat);
	PASS(about_path(&call, "utime", dirfd, path), (dirfd, path, times, flags));
}
PUBLIC int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	REAL(fsetxattr);
	PASS(about_fd(&call, "setxattr", fd), (fd, name, value, size, flags));
}
PUBLIC int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	REAL(setxattr);
	PASS(about_path(&call, "setxattr", AT_FDCWD, path), (path, name, value, size, flags));
}
PUBLIC int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	REAL(lsetxattr);
	PASS(about_path(&call, "setxattr", AT_FDCWD, path), (path, name, value, size, flags));
}

/* ---- waiting for the disk ---- */

#define SYNC(name)                                                                                                     \
	PUBLIC int name(int fd)                                                                                        \
	{                                                                                                              \
		REAL(name);                                                                                            \
		struct call call;                                                                                      \
		if (!about_fd(&call, #name, fd))                                                                       \
			return real(fd);                                                                               \
		if (begin(&call, 0) == FAIL)                                                                           \
			return -1;                                                                                     \
		return end(&call, no_sync ? 0 : real(fd));                                                             \
	}
SYNC(fsync)
SYNC(fdatasync)
SYNC(syncfs)
