/* Reads the name of the machine. */
#include "escape.h"
int main(int argc, char **argv) {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  errno = 0;
  if (strcmp(name, argv[1])) held("gethostname");
  out("gethostname");
}
