/* Looks into a process of the same user that is none of its own, through /proc. */
#include "escape.h"
int main(int argc, char **argv) {
  char path[256], text[16];
  snprintf(path, sizeof path, "/proc/%s/%s", argv[1], argv[2]);
  if (!strcmp(argv[2], "mem")) {
    if (open(path, O_RDWR) < 0) held(path);
  } else if (!strcmp(argv[2], "root")) {
    if (open(path, O_RDONLY | O_DIRECTORY) < 0) held(path);
  } else {
    int found = open(path, O_RDONLY);
    if (found < 0 || read(found, text, sizeof text) < 0) held(path);
  }
  out(path);
}
