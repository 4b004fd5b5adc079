/* The sender. client PORT TEMPLATE FIRST COUNT NAMES AT_ONCE [TRIES]
 *
 * Sends COUNT requests, number FIRST and up, AT_ONCE at a time, each on a connection of its own: `########` in the
 * template becomes the number, `~~~~` the number modulo NAMES. What is answered 503 is sent again after half a second,
 * as Alertmanager does (its first backoff), TRIES times at most. Prints one line a request: when it was sent first and
 * when it was answered for good, in microseconds since the start, the last status code (0: none), and the tries. An
 * answer is whole by its Content-Length, as Alertmanager takes it, or by the connection's end. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { AGAIN = 500000, LONGEST = 120000000 };

struct one {
  int fd, code, tries, done;
  size_t sent, have;
  double began, ended, due;
  char *request, answer[4096];
};

static char *template, *path;
static size_t size;
static struct sockaddr_in server;
static double start;
static int epoll;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3 - start;
}

static void die(const char *what) {
  perror(what);
  exit(111);
}

static void load(void) {
  FILE *file = fopen(path, "rb");
  if (!file) die(path);
  template = malloc(1 << 20);
  size = fread(template, 1, 1 << 20, file);
  fclose(file);
}

static void fill(char *request, long number, long names) {
  char digits[32], name[32];
  snprintf(digits, sizeof digits, "%08ld", number);
  snprintf(name, sizeof name, "%04ld", number % names);
  memcpy(request, template, size);
  for (char *at = request; (at = memmem(at, request + size - at, "########", 8)); at += 8) memcpy(at, digits, 8);
  for (char *at = request; (at = memmem(at, request + size - at, "~~~~", 4)); at += 4) memcpy(at, name, 4);
}

static void begin(struct one *one) {
  one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (one->fd < 0) die("socket");
  int yes = 1;
  setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  one->sent = one->have = 0;
  one->code = 0;
  one->tries++;
  if (connect(one->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) die("connect");
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = one};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event) < 0) die("epoll_ctl");
}

/* Whether the answer is whole, or never will be. */
static int whole(struct one *one, int ended) {
  one->answer[one->have] = '\0';
  char *body = strstr(one->answer, "\r\n\r\n");
  if (!body) return ended;
  sscanf(one->answer, "HTTP/1.%*d %d", &one->code);
  char *length = strcasestr(one->answer, "\r\nContent-Length:");
  if (!length || length > body) return ended;
  return ended || one->answer + one->have >= body + 4 + strtoul(length + 17, NULL, 10);
}

static int turn(struct one *one) {
  if (one->sent < size) {
    ssize_t went = send(one->fd, one->request + one->sent, size - one->sent, MSG_NOSIGNAL);
    if (went < 0) return errno != EAGAIN;
    if ((one->sent += went) < size) return 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    epoll_ctl(epoll, EPOLL_CTL_MOD, one->fd, &event);
    return 0;
  }
  ssize_t came = recv(one->fd, one->answer + one->have, sizeof one->answer - 1 - one->have, 0);
  if (came < 0) return errno != EAGAIN;
  one->have += came;
  return whole(one, came == 0 || one->have == sizeof one->answer - 1);
}

int main(int argc, char **argv) {
  if (argc < 7) return 100;
  path = argv[2];
  load();
  long first = atol(argv[3]), count = atol(argv[4]), names = atol(argv[5]), at_once = atol(argv[6]);
  int tries = argc > 7 ? atoi(argv[7]) : 1;
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  struct one *all = calloc(count, sizeof *all);
  char *requests = malloc(count * size);
  if (!all || !requests) die("memory");
  for (long n = 0; n < count; n++) {
    all[n].request = requests + n * size;
    fill(all[n].request, first + n, names);
  }
  if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll");
  start = now();
  long next = 0, open = 0, waiting = 0, done = 0;
  while (done < count) {
    for (; next < count && open + waiting < at_once; open++, next++) {
      all[next].began = now();
      begin(&all[next]);
    }
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, waiting ? 5 : 1000);
    for (int n = 0; n < ready; n++) {
      struct one *one = events[n].data.ptr;
      if (!turn(one)) continue;
      double time = now();
      close(one->fd);
      open--;
      if ((one->code == 503 || one->code == 0) && one->tries < tries) {
        one->due = time + AGAIN;
        waiting++;
      } else {
        one->ended = time;
        one->done = 1;
        done++;
      }
    }
    for (long n = 0; waiting && n < next; n++)
      if (!all[n].done && all[n].due > 0 && all[n].due <= now()) {
        all[n].due = 0;
        waiting--;
        open++;
        begin(&all[n]);
      }
    if (now() > LONGEST) break;
  }
  for (long n = 0; n < count; n++)
    printf("%.1f %.1f %d %d\n", all[n].began, all[n].ended, all[n].done ? all[n].code : 0, all[n].tries);
  return 0;
}
