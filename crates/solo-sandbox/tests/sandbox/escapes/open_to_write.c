/* Opens a file of the kernel to write it, and does not. */
#include "escape.h"
int main(int argc, char **argv) {
  if (open(argv[1], O_WRONLY) >= 0) out("open");
  /* Seen by who sees the machine's own /proc. */
  if (errno == ENOENT && access("/proc/sys", F_OK) == 0) lacking("open");
  held("open");
}
