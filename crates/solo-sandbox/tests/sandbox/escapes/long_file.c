/* Writes a file that is longer than it may be. */
#include "escape.h"
#include <signal.h>
int main(int argc, char **argv) {
  static char block[1 << 20];
  signal(SIGXFSZ, SIG_IGN);
  int file = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0) mistake("create");
  int count = 0, error = 0;
  for (; count < 4; count++)
    if (write(file, block, sizeof block) < (ssize_t)sizeof block) {
      error = errno;
      break;
    }
  unlink(argv[1]);
  errno = error;
  if (count < 4) held("write");
  out("write");
}
