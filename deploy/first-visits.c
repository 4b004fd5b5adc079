/* Serves one request by a program that reads it from a connection on its fds 0 and 1, over loopback, and tells where the
 * code was that served it: every piece of 16 bytes that the program ran of its own file, in the order of the first visit,
 * one address (in decimal) a line.
 *
 *     first-visits FILE PROGRAM [ARGUMENT...]        request on stdin, answer on stdout, addresses into FILE
 *
 * With `-` for FILE it is only served. For build-release.sh, which has the linker put together what a connection needs
 * (ptrace(2), PTRACE_SINGLESTEP: some seconds for a million instructions). A program that is linked elsewhere than below
 * 64 MiB shows nothing, nor does any on a processor that is not named below. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <elf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE 16
static unsigned char visited[(64 << 20) / PIECE];

static unsigned long place(struct user_regs_struct *registers) {
#if defined __x86_64__
  return registers->rip;
#elif defined __aarch64__
  return registers->pc;
#else
  (void)registers;
  return -1;
#endif
}

/* Both ends of a connection. */
static int connected(int ends[2]) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || ends[0] < 0 || bind(listener, (void *)&address, size) || listen(listener, 1)) return 0;
  if (getsockname(listener, (void *)&address, &size) || connect(ends[0], (void *)&address, size)) return 0;
  ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  close(listener);
  return ends[1] >= 0;
}

/* Notes where the program is at each step, until it ends. */
static int stepped(pid_t child, int status, FILE *out) {
  while (WIFSTOPPED(status)) {
    struct user_regs_struct registers;
    struct iovec room = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, child, (void *)NT_PRSTATUS, &room)) return -1;
    unsigned long at = place(&registers), piece = at / PIECE;
    if (piece < sizeof visited && !visited[piece]) {
      visited[piece] = 1;
      fprintf(out, "%lu\n", at);
    }
    long signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    if (ptrace(PTRACE_SINGLESTEP, child, NULL, (void *)signal)) return -1;
    if (waitpid(child, &status, 0) != child) return -1;
  }
  return status;
}

int main(int count, char **arguments) {
  if (count < 3) return 100;
  FILE *out = strcmp(arguments[1], "-") ? fopen(arguments[1], "we") : NULL;
  static char bytes[1 << 16];
  size_t size = 0;
  ssize_t came;
  while (size < sizeof bytes && (came = read(0, bytes + size, sizeof bytes - size)) > 0) size += came;
  int ends[2];
  if (!connected(ends) || write(ends[0], bytes, size) != (ssize_t)size) return 111;
  pid_t child = fork();
  if (child < 0) return 111;
  if (child == 0) {
    dup2(ends[1], 0);
    dup2(ends[1], 1);
    if (out && ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(111);
    execv(arguments[2], arguments + 2);
    _exit(111);
  }
  close(ends[1]);
  int status;
  if (waitpid(child, &status, 0) != child) return 111;
  if (out) status = stepped(child, status, out);
  while ((came = read(ends[0], bytes, sizeof bytes)) > 0)
    if (write(1, bytes, came) != came) return 111;
  if (out && fclose(out)) return 111;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 111;
}
