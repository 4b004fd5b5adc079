/* The floor: the least that a program spawned once a connection can do and still have run the handler. It reads the
 * framed request (Content-Length), starts the handler by vfork(2), which is cheaper than fork(2), waits, answers. No
 * judgement, no lock, no record, no log, no parsing but for the one word that tells the alerts apart.
 *
 * With -DCALLS it makes the calls of three files besides, which calls.py writes: before.h, behind.h, late.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#ifdef CALLS
static int fd[1024];
static char bytes[32768], number[64];
static const char zeros[32768];
static struct stat about;

/* This path with the request's number for its `%`. */
static const char *numbered(const char *path) {
  static char room[2][4096];
  static int turn;
  char *name = room[turn ^= 1], *end = name;
  for (; *path; path++) end = *path == '%' ? stpcpy(end, number) : (*end = *path, end + 1);
  *end = '\0';
  return name;
}
#endif

int main(int argc, char **argv) {
  static char request[1 << 16];
  size_t have = 0, whole = sizeof request - 1;
  char *body = NULL;
  while (have < whole) {
    ssize_t more = read(0, request + have, sizeof request - 1 - have);
    if (more <= 0) return 1;
    have += more;
    if (!body && (body = memmem(request, have, "\r\n\r\n", 4))) {
      body += 4;
      char *length = strcasestr(request, "\r\nContent-Length:");
      if (!length || length > body) return 1;
      whole = body - request + strtoul(length + 17, NULL, 10);
      if (whole > sizeof request - 1) return 1;
    }
  }
  char *word = strstr(body, "\"fingerprint\":\"");
  if (argc < 2 || !word) return 1;
  word += 15;
  char *end = strchr(word, '"');
  if (!end) return 1;
  *end = '\0';
#ifdef CALLS
  strncpy(number, word, sizeof number - 1);
#include "before.h"
#endif
  char *arguments[] = {argv[1], "edge", "Bench", word, NULL};
  int status;
  pid_t handler = vfork();
  if (handler == 0) {
    execve(argv[1], arguments, environ);
    _exit(127);
  }
  if (handler < 0 || waitpid(handler, &status, 0) < 0) return 1;
#ifdef CALLS
#include "behind.h"
#endif
  static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  static const char bad[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  const char *answer = status ? bad : good;
  int failed = write(1, answer, strlen(answer)) < 0;
#ifdef CALLS
  shutdown(1, SHUT_WR);
#include "late.h"
#endif
  return failed;
}
