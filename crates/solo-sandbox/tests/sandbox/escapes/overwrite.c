/* Opens the file of a descriptor to write it, and does not. */
#include "escape.h"
int main(int argc, char **argv) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%s", argv[1]);
  if (open(path, O_WRONLY) < 0) held("open");
  out("open");
}
