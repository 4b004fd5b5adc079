/* A program without a spawner: started by vfork with a socket pair as fds 0 and 1, one request each, as often as told.
 *
 *     once TEMPLATE FIRST COUNT NAMES PROGRAM [ARGUMENT...]        TEMPLATE `-`: nothing is sent, output is /dev/null
 *
 * Prints one line a start: microseconds until the answer was whole (without a template: until the program had ended),
 * user and system microseconds, minor page faults and the largest resident set in KiB, of the program and what it
 * waited for, and its exit status. A parent as small as this one does not show in ru_maxrss (getrusage(2): what a
 * process held before execve counts). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static double micros(struct timeval time) { return time.tv_sec * 1e6 + time.tv_usec; }

int main(int argc, char **argv) {
  if (argc < 6) return 100;
  static char template[1 << 16], request[1 << 16], answer[1 << 16];
  int talks = strcmp(argv[1], "-") != 0;
  size_t size = 0;
  if (talks) {
    FILE *file = fopen(argv[1], "rb");
    if (!file) return 111;
    size = fread(template, 1, sizeof template, file);
    fclose(file);
  }
  long first = atol(argv[2]), count = atol(argv[3]), names = atol(argv[4]);
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (long number = first; number < first + count; number++) {
    int pair[2] = {null, null};
    memcpy(request, template, size);
    char digits[32];
    snprintf(digits, sizeof digits, "%08ld", number);
    for (char *at = request; (at = memmem(at, request + size - at, "########", 8)); at += 8) memcpy(at, digits, 8);
    snprintf(digits, sizeof digits, "%04ld", number % names);
    for (char *at = request; (at = memmem(at, request + size - at, "~~~~", 4)); at += 4) memcpy(at, digits, 4);
    if (talks && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return 111;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    posix_spawn_file_actions_adddup2(&actions, null, 2);
    double began = now(), ended;
    if (talks && write(pair[0], request, size) != (ssize_t)size) return 111;
    pid_t child;
    if (posix_spawn(&child, argv[5], &actions, NULL, argv + 5, environ)) return 111;
    if (talks) {
      close(pair[1]);
      size_t have = 0;
      ssize_t came;
      ended = 0;
      while (have < sizeof answer - 1 && (came = read(pair[0], answer + have, sizeof answer - 1 - have)) > 0) {
        have += came;
        ended = now();
      }
      close(pair[0]);
    }
    int status;
    struct rusage used;
    wait4(child, &status, 0, &used);
    if (!talks) ended = now();
    posix_spawn_file_actions_destroy(&actions);
    printf("%.1f %.0f %.0f %ld %ld %d\n", ended - began, micros(used.ru_utime), micros(used.ru_stime), used.ru_minflt,
           used.ru_maxrss, status);
  }
  return 0;
}
