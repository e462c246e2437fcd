/* Reads a file by a directory of the machine that somebody forgot to close. */
#include "escape.h"
int main(int argc, char **argv) {
  char text[16];
  for (int number = 3; number < 1024; number++) {
    int found = openat(number, argv[1], O_RDONLY);
    if (found >= 0 && read(found, text, sizeof text) > 0) out("openat");
  }
  held("openat");
}
