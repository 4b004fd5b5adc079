/* The handler of every rival: notes that it ran, one write(2), and exits 0. Its third argument tells the alerts apart. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char line[128];
  size_t length = argc > 3 ? strlen(argv[3]) : 0;
  if (length > sizeof line - 1) length = sizeof line - 1;
  memcpy(line, argc > 3 ? argv[3] : "", length);
  line[length++] = '\n';
  int file = open(RAN, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  return file < 0 || write(file, line, length) != (ssize_t)length;
}
