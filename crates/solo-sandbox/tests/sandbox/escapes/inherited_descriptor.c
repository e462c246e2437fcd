/* Uses a descriptor that somebody forgot to close. */
#include "escape.h"
#include <dirent.h>
int main(void) {
  for (int number = 3; number < 1024; number++)
    if (fcntl(number, F_GETFD) >= 0) out("fcntl");
  errno = EBADF;
  held("fcntl");
}
