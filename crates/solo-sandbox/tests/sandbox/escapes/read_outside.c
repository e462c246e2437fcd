/* Reads a file of the machine that everybody may read. */
#include "escape.h"
int main(int argc, char **argv) {
  char text[64];
  int file = open(argv[1], O_RDONLY);
  if (file < 0 || read(file, text, sizeof text) <= 0) held("read");
  out("read");
}
