/*
 * crashfs - between a program and its files: writes down in order what it does to them, and lets operations fail.
 *
 *   cc -O2 -Wall -shared -fPIC -o crashfs.so crashfs.c
 *   CRASHFS_ROOT=DIR CRASHFS_LOG=FILE LD_PRELOAD=./crashfs.so PROGRAM
 *
 * Only what lies below DIR counts, which must be there; everything else passes through untouched. What is seen are calls
 * of the C library, as Rust's std makes them; a program that maps files or calls the kernel by itself is not understood
 * (the tests hold the log against the files that are there in the end, and so would notice).
 *
 * CRASHFS_LOG gets a line for each operation that succeeded, followed by the data of a write:
 *   MONO_NS OP INODE NUMBER LENGTH <tab> PATH <tab> PATH2 <newline> LENGTH bytes
 * paths are relative to DIR; OP and NUMBER are
 *   create                  a new, empty file
 *   write      offset       LENGTH bytes
 *   truncate   new size
 *   fsync                   of a file or a folder; fdatasync likewise
 *   rename                  PATH to PATH2, over what is there
 *   link                    PATH has the new name PATH2
 *   mkdir, rmdir, unlink
 *   ack                     PATH is what was written to standard error, with CRASHFS_ACK in it
 *   fault      errno        PATH is the operation that failed by CRASHFS_FAULT, PATH2 its path
 * Nothing is really made durable: fsync is written down only, which is as fast as a test wants it.
 *
 * CRASHFS_FAULT=N:KIND[:sticky]: the N-th operation, from 1 on, fails; sticky: so do all after it. KIND is
 *   enospc, eio, erofs      the error
 *   short                   the first write from the N-th operation on writes half of its bytes, the next operation on
 *                           that file fails for want of space
 *   kill                    the program is killed before the operation
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))
#define LINE (2 * PATH_MAX + 128)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static const char *ack_marker;
static int log_fd = -1;

static struct {
  long at; /* 0: none */
  int error;
  int is_short, is_kill, sticky;
  ino_t cut; /* the file of which half a write was written */
} fault;
static long operations;

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) {
    static const char text[] = "crashfs: a function of the C library is missing\n";
    if (write(2, text, sizeof text - 1)) abort();
    abort();
  }
  return found;
}

__attribute__((constructor)) static void start(void) {
  const char *dir = getenv("CRASHFS_ROOT"), *log = getenv("CRASHFS_LOG"), *want = getenv("CRASHFS_FAULT");
  ack_marker = getenv("CRASHFS_ACK");
  if (!dir || !log || !realpath(dir, root)) return;
  log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  root_length = log_fd < 0 ? 0 : strlen(root);
  char kind[16] = "", sticky[16] = "";
  if (!want || sscanf(want, "%ld:%15[a-z]:%15[a-z]", &fault.at, kind, sticky) < 2) return;
  fault.sticky = !strcmp(sticky, "sticky");
  fault.is_short = !strcmp(kind, "short");
  fault.is_kill = !strcmp(kind, "kill");
  fault.error = !strcmp(kind, "eio") ? EIO : !strcmp(kind, "erofs") ? EROFS : ENOSPC;
}

/* The path relative to the root when it is below it. `path` is absolute. */
static const char *below(const char *path) {
  if (!root_length || strncmp(path, root, root_length) || (path[root_length] && path[root_length] != '/')) return NULL;
  return path[root_length] ? path + root_length + 1 : ".";
}

static const char *fd_path(int fd, char *buffer) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = root_length ? readlink(link, buffer, PATH_MAX - 1) : -1;
  if (length < 0) return NULL;
  buffer[length] = 0;
  return buffer;
}

/* The same of a path as it is given to the *at functions; NULL when it does not count. */
static const char *named(int dir, const char *path, char *buffer) {
  if (!root_length || !path) return NULL;
  char base[PATH_MAX] = "";
  if (path[0] != '/') {
    if (dir == AT_FDCWD ? !getcwd(base, sizeof base) : !fd_path(dir, base)) return NULL;
  }
  if (snprintf(buffer, PATH_MAX, "%s%s%s", base, *base ? "/" : "", path) >= PATH_MAX) return NULL;
  for (size_t end = strlen(buffer); end > 1 && buffer[end - 1] == '/';) buffer[--end] = 0;
  return below(buffer);
}

static const char *opened(int fd, char *buffer, struct stat *about) {
  const char *path = fd < 0 ? NULL : fd_path(fd, buffer);
  const char *name = path ? below(path) : NULL;
  return name && !fstat(fd, about) ? name : NULL;
}

static int is_there(int dir, const char *path, struct stat *about) { return !fstatat(dir, path, about, AT_SYMLINK_NOFOLLOW); }

/* Whether a name could be made: its folder is there, and it is not. */
static int is_free(int dir, const char *path, char *buffer) {
  struct stat about;
  if (is_there(dir, path, &about)) return 0;
  char *slash = strrchr(buffer, '/');
  *slash = 0;
  int parent = is_there(AT_FDCWD, buffer, &about);
  *slash = '/';
  return parent;
}

static void note(const char *op, ino_t inode, long long number, size_t length, const char *path, const char *path2) {
  char line[LINE];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int n = snprintf(line, sizeof line, "%lld %s %llu %lld %zu\t%s\t%s\n", now.tv_sec * 1000000000LL + now.tv_nsec, op,
                   (unsigned long long)inode, number, length, path, path2);
  if (REAL(write)(log_fd, line, n) != n) abort();
}

/* Whether the next operation is to fail: then errno says how. */
static int fails(const char *op, const char *path, ino_t inode) {
  operations++;
  int due = fault.at && (operations == fault.at || (fault.sticky && operations > fault.at));
  int rest = fault.cut && fault.cut == inode;
  if (fault.is_short) due = rest || (fault.sticky && fault.cut);
  if (!due) return 0;
  if (rest && !fault.sticky) fault.cut = fault.at = 0;
  note("fault", inode, fault.error, 0, op, path);
  if (fault.is_kill) raise(SIGKILL);
  errno = fault.error;
  return 1;
}

/* How many bytes of a write are written. */
static size_t shortened(const char *path, size_t length, ino_t inode) {
  if (!fault.is_short || !fault.at || operations < fault.at || fault.cut || length < 2) return length;
  fault.cut = inode;
  note("fault", inode, 0, 0, "short write", path);
  return length / 2;
}

static int open_at(int dir, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = named(dir, path, buffer);
  if (!name || !(flags & (O_CREAT | O_TRUNC))) return REAL(openat)(dir, path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat about;
  int was = is_there(dir, path, &about), fd = -1;
  int changes = was ? (flags & O_TRUNC) != 0 : (flags & O_CREAT) && is_free(dir, path, buffer);
  if (!changes || !fails("open", name, was ? about.st_ino : 0)) fd = REAL(openat)(dir, path, flags, mode);
  if (fd >= 0 && changes && !fstat(fd, &about)) note(was ? "truncate" : "create", about.st_ino, 0, 0, name, "");
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

#define OPEN(name, has_dir)                                        \
  int name {                                                       \
    mode_t mode = 0;                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                           \
      va_list list;                                                \
      va_start(list, flags);                                       \
      mode = va_arg(list, mode_t);                                 \
      va_end(list);                                                \
    }                                                              \
    return open_at(has_dir ? dir : AT_FDCWD, path, flags, mode);   \
  }
enum { dir = AT_FDCWD };
OPEN(open(const char *path, int flags, ...), 0)
OPEN(open64(const char *path, int flags, ...), 0)
OPEN(openat(int dir, const char *path, int flags, ...), 1)
OPEN(openat64(int dir, const char *path, int flags, ...), 1)
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

static ssize_t write_at(int fd, const void *data, size_t length, off_t offset) {
  char buffer[PATH_MAX];
  struct stat about;
  const char *name = opened(fd, buffer, &about);
  int positioned = offset >= 0;
  if (!name) return positioned ? REAL(pwrite)(fd, data, length, offset) : REAL(write)(fd, data, length);
  pthread_mutex_lock(&lock);
  ssize_t written = -1;
  if (!fails("write", name, about.st_ino)) {
    if (!positioned) offset = fcntl(fd, F_GETFL) & O_APPEND ? about.st_size : lseek(fd, 0, SEEK_CUR);
    length = shortened(name, length, about.st_ino);
    written = positioned ? REAL(pwrite)(fd, data, length, offset) : REAL(write)(fd, data, length);
  }
  int error = errno;
  if (written > 0) {
    note("write", about.st_ino, offset, written, name, "");
    if (REAL(write)(log_fd, data, written) != written) abort();
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

ssize_t write(int fd, const void *data, size_t length) {
  ssize_t written = write_at(fd, data, length, -1);
  if (fd == 2 && written > 0 && root_length && ack_marker && memmem(data, written, ack_marker, strlen(ack_marker))) {
    char text[PATH_MAX];
    snprintf(text, sizeof text, "%.*s", (int)written, (const char *)data);
    for (char *c = text; *c; c++)
      if (*c == '\n' || *c == '\t') *c = ' ';
    int error = errno;
    pthread_mutex_lock(&lock);
    note("ack", 0, 0, 0, text, "");
    pthread_mutex_unlock(&lock);
    errno = error;
  }
  return written;
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
  char buffer[PATH_MAX];
  struct stat about;
  if (!opened(fd, buffer, &about)) return REAL(writev)(fd, parts, count);
  for (int i = 0; i < count; i++) /* a short write is allowed */
    if (parts[i].iov_len) return write(fd, parts[i].iov_base, parts[i].iov_len);
  return 0;
}

static int sync_fd(int fd, int (*otherwise)(int)) {
  char buffer[PATH_MAX];
  struct stat about;
  const char *name = opened(fd, buffer, &about);
  if (!name) return otherwise(fd);
  pthread_mutex_lock(&lock);
  int result = fails("fsync", name, about.st_ino) ? -1 : 0, error = errno;
  if (!result) note("fsync", about.st_ino, 0, 0, name, "");
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int fsync(int fd) { return sync_fd(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_fd(fd, REAL(fdatasync)); }

/* Changes the size by one of the C library's functions. */
#define RESIZE(signature, op, call)                                               \
  int signature {                                                                 \
    char buffer[PATH_MAX];                                                        \
    struct stat about;                                                            \
    const char *name = opened(fd, buffer, &about);                                \
    if (!name) return call;                                                       \
    pthread_mutex_lock(&lock);                                                    \
    int result = fails(op, name, about.st_ino) ? -1 : call, error = errno;        \
    if (!result && !fstat(fd, &about)) note("truncate", about.st_ino, about.st_size, 0, name, ""); \
    pthread_mutex_unlock(&lock);                                                  \
    errno = error;                                                                \
    return result;                                                                \
  }
RESIZE(ftruncate(int fd, off_t size), "truncate", REAL(ftruncate)(fd, size))
RESIZE(ftruncate64(int fd, off_t size), "truncate", REAL(ftruncate)(fd, size))
RESIZE(fallocate(int fd, int mode, off_t from, off_t length), "allocate", REAL(fallocate)(fd, mode, from, length))
RESIZE(fallocate64(int fd, int mode, off_t from, off_t length), "allocate", REAL(fallocate)(fd, mode, from, length))

/* std copies by read and write instead. */
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t length, unsigned flags) {
  char buffer[PATH_MAX];
  struct stat about;
  if (!opened(to, buffer, &about)) return REAL(copy_file_range)(from, at, to, to_at, length, flags);
  errno = EXDEV;
  return -1;
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t length) {
  char buffer[PATH_MAX];
  struct stat about;
  if (!opened(to, buffer, &about)) return ((ssize_t(*)(int, int, off64_t *, size_t))real("sendfile64"))(to, from, at, length);
  errno = EINVAL;
  return -1;
}

static int make_dir(int dir, const char *path, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = named(dir, path, buffer);
  if (!name) return REAL(mkdirat)(dir, path, mode);
  pthread_mutex_lock(&lock);
  struct stat about;
  int changes = is_free(dir, path, buffer);
  int result = changes && fails("mkdir", name, 0) ? -1 : REAL(mkdirat)(dir, path, mode), error = errno;
  if (!result && is_there(dir, path, &about)) note("mkdir", about.st_ino, 0, 0, name, "");
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int mkdirat(int dir, const char *path, mode_t mode) { return make_dir(dir, path, mode); }
int mkdir(const char *path, mode_t mode) { return make_dir(AT_FDCWD, path, mode); }

static int take_away(int dir, const char *path, int flags) {
  char buffer[PATH_MAX];
  const char *name = named(dir, path, buffer), *op = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
  struct stat about;
  if (!name || !is_there(dir, path, &about)) return REAL(unlinkat)(dir, path, flags);
  pthread_mutex_lock(&lock);
  int result = fails(op, name, about.st_ino) ? -1 : REAL(unlinkat)(dir, path, flags), error = errno;
  if (!result) note(op, about.st_ino, 0, 0, name, "");
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int unlinkat(int dir, const char *path, int flags) { return take_away(dir, path, flags); }
int unlink(const char *path) { return take_away(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return take_away(AT_FDCWD, path, AT_REMOVEDIR); }

static int move(const char *op, int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  char buffer[PATH_MAX], buffer2[PATH_MAX];
  const char *name = named(from_dir, from, buffer), *name2 = named(to_dir, to, buffer2);
  struct stat about;
  int is_link = !strcmp(op, "link");
  int counts = name && name2 && is_there(from_dir, from, &about);
  if ((name == NULL) != (name2 == NULL) || (counts && !is_link && flags & RENAME_EXCHANGE)) abort(); /* not understood */
  if (!counts) return is_link ? REAL(linkat)(from_dir, from, to_dir, to, flags) : REAL(renameat2)(from_dir, from, to_dir, to, flags);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (!fails(op, name, about.st_ino))
    result = is_link ? REAL(linkat)(from_dir, from, to_dir, to, flags) : REAL(renameat2)(from_dir, from, to_dir, to, flags);
  int error = errno;
  if (!result) note(op, about.st_ino, 0, 0, name, name2);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int rename(const char *from, const char *to) { return move("rename", AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return move("rename", from_dir, from, to_dir, to, 0); }
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  return move("rename", from_dir, from, to_dir, to, flags);
}
int link(const char *from, const char *to) { return move("link", AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
  return move("link", from_dir, from, to_dir, to, flags);
}
