/* Fills the memory of the machine through a file system in memory. */
#include "escape.h"
int main(void) {
  static char block[1 << 20];
  int file = open("/tmp/fill", O_WRONLY | O_CREAT, 0600);
  if (file < 0) held("create");
  for (int written = 0; written < 32; written++)
    if (write(file, block, sizeof block) < (ssize_t)sizeof block) {
      unlink("/tmp/fill");
      held("write");
    }
  unlink("/tmp/fill");
  out("write");
}
