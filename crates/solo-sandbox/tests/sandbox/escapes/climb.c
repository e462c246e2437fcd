/* Looks for a file of the machine above its own root. */
#include "escape.h"
#include <sys/stat.h>

static char path[8192];

static void try(const char *before, const char *file) {
  snprintf(path, sizeof path, "%s%s", before, file);
  int found = open(path, O_RDONLY);
  char text[16];
  if (found >= 0 && read(found, text, sizeof text) > 0) out(path);
}

int main(int argc, char **argv) {
  const char *way = argv[1], *file = argv[2];
  if (!strcmp(way, "dots")) {
    try("/../../../../../../../..", file);
    try("/proc/self/cwd/../../../../..", file);
    try("/dev/shm/../../../../../..", file);
  } else if (!strcmp(way, "self")) {
    try("/proc/self/root", file);
    try("/proc/thread-self/root", file);
    try("/proc/1/root", file);
    try("/proc/1/cwd/..", file);
  } else if (!strcmp(way, "descriptor")) {
    /* A descriptor of the root, and up from it. */
    int root = open("/", O_PATH | O_DIRECTORY);
    for (int up = 0; up < 16; up++) {
      int above = openat(root, "..", O_PATH | O_DIRECTORY);
      if (above < 0) held("openat");
      close(root);
      root = above;
    }
    int found = openat(root, file + 1, O_RDONLY);
    char text[16];
    if (found >= 0 && read(found, text, sizeof text) > 0) out("openat");
  } else if (!strcmp(way, "chroot")) {
    /* The old one: a root below, a working directory above it. Who may not do this reads as it is. */
    mkdir("/tmp/root", 0700);
    if (chroot("/tmp/root") == 0) {
      for (int up = 0; up < 16; up++)
        if (chdir("..") < 0) break;
      if (chroot(".") < 0) held("chroot");
    }
    rmdir("/tmp/root");
    try("", file);
  } else {
    mistake(way);
  }
  held(way);
}
