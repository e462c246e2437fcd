/* Makes a device, the harmless one, where it may write, and opens it. */
#include "escape.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>
int main(int argc, char **argv) {
  if (mknod(argv[1], S_IFCHR | 0666, makedev(1, 3)) < 0) held("mknod");
  int found = open(argv[1], O_WRONLY);
  int error = errno;
  unlink(argv[1]);
  errno = error;
  if (found < 0) held("open");
  out("open");
}
