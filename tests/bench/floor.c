/* The floor: the least that a program spawned once a connection can do and still have run the handler. It reads the
 * framed request (Content-Length), starts the handler by vfork(2), which is cheaper than fork(2), waits, answers. No judgement, no lock, no
 * record, no log, no parsing but for the one word that tells the alerts apart. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

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
  char *arguments[] = {argv[1], "edge", "Bench", word, NULL};
  int status;
  pid_t handler = vfork();
  if (handler == 0) {
    execve(argv[1], arguments, environ);
    _exit(127);
  }
  if (handler < 0 || waitpid(handler, &status, 0) < 0) return 1;
  static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  static const char bad[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  const char *answer = status ? bad : good;
  return write(1, answer, strlen(answer)) < 0;
}
