/* Makes a file in a directory of the machine that everybody may write. */
#include "escape.h"
int main(int argc, char **argv) {
  if (chdir(argv[1]) < 0) held("chdir");
  if (open("escaped", O_WRONLY | O_CREAT, 0666) < 0) held("create");
  out("create");
}
