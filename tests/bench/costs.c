/* What the kernel's calls cost on this machine, the best of several rounds: so that a listing of calls can be priced,
 * which strace(1) itself makes twenty times as slow. costs FOLDER: of the file system of this folder. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static char waste[1 << 17];

#define PRICE(name, times, ...)                           \
  do {                                                    \
    double best = 1e18;                                   \
    for (int round = 0; round < 15; round++) {            \
      double began = now();                               \
      for (int n = 0; n < (times); n++) { __VA_ARGS__; }  \
      double each = (now() - began) / (times);            \
      if (each < best) best = each;                       \
    }                                                     \
    printf("%s\t%.3f\n", name, best);                     \
  } while (0)

static void whole(const char *path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  /* As Rust's std reads a file that has no size: 32 bytes, and twice as much each time. */
  for (int want = 32; read(file, waste, want) > 0; want *= 2) {}
  close(file);
}

static void touched(int pages) {
  char *got = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int page = 0; page < pages; page++) got[page * 4096] = 1;
  munmap(got, pages * 4096);
}

int main(int argc, char **argv) {
  if (argc < 2) return 100;
  char *folder = argv[1], record[4096], fresh[4096], linked[4096];
  snprintf(record, sizeof record, "%s/.costs", folder);
  snprintf(fresh, sizeof fresh, "%s/.costs-new", folder);
  snprintf(linked, sizeof linked, "%s/.costs-link", folder);
  struct stat stat;
  int file = open(record, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || write(file, waste, 16384) != 16384 || fsync(file)) return 111;
  /* A neighbour, so that a page table is not made and freed with every mapping. */
  char *neighbour = mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  neighbour[0] = 1;
  neighbour[(1 << 16) - 1] = 1;
  PRICE("call", 2000, getppid());
  PRICE("lstat", 1000, lstat(record, &stat));
  PRICE("readlink", 1000, if (readlink(record, waste, 4096) >= 0) return 1);
  PRICE("mkdir", 1000, mkdir(folder, 0700));
  PRICE("open", 1000, close(open(record, O_RDONLY | O_CLOEXEC)));
  PRICE("fstat", 1000, fstat(file, &stat));
  PRICE("flock", 500, flock(file, LOCK_EX | LOCK_NB));
  PRICE("read", 1000, if (pread(file, waste, 64, 0) < 0) return 1);
  PRICE("read 16K", 500, if (pread(file, waste, 16384, 0) < 0) return 1);
  PRICE("write", 500, if (pwrite(file, waste, 400, 0) < 0) return 1);
  PRICE("ftruncate", 500, ftruncate(file, 0); if (pwrite(file, waste, 255, 0) < 0) return 1);
  if (pwrite(file, waste, 16384, 0) != 16384) return 1;
  fsync(file);
  PRICE("fdatasync", 40, if (pwrite(file, waste, 400, 0) < 0) return 1; fdatasync(file));
  PRICE("create", 40, {
    int made = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (write(made, waste, 16384) < 0) return 1;
    fsync(made);
    if (link(fresh, linked)) return 1;
    int place = open(folder, O_RDONLY | O_CLOEXEC);
    fsync(place);
    close(place);
    close(made);
    unlink(fresh);
    unlink(linked);
  });
  PRICE("mapping", 500, touched(1));
  PRICE("fault", 100, touched(16));
  PRICE("status", 200, whole("/proc/self/status"));
  PRICE("stat", 200, whole("/proc/self/stat"));
  PRICE("passwd", 200, whole("/etc/passwd"));
  PRICE("list", 200, DIR *place = opendir("/proc/self/fd"); while (readdir(place)) {} closedir(place));
  PRICE("memfd", 200, int made = memfd_create("a", MFD_CLOEXEC); if (write(made, waste, 1200) < 0) return 1; close(made));
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  PRICE("null", 1000, if (write(null, waste, 170) < 0) return 1);
  PRICE("poll", 1000, struct pollfd one = {null, POLLOUT, 0}; poll(&one, 1, 0));
  if (argc > 2) {
    char *handler[] = {argv[2], NULL}, *nothing[] = {NULL};
    PRICE("handler", 100, pid_t child; posix_spawn(&child, argv[2], 0, 0, handler, nothing); waitpid(child, 0, 0));
  }
  unlink(record);
  return 0;
}
