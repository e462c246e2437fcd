/* Makes more files than there may be, all of them empty. */
#include "escape.h"
#include <sys/stat.h>
enum { MANY = 6000 };
static int make(const char *way, const char *path) {
  if (!strcmp(way, "directory")) return mkdir(path, 0700);
  if (!strcmp(way, "link")) return symlink("nowhere", path);
  int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  return file < 0 ? -1 : close(file);
}
int main(int argc, char **argv) {
  char directory[64], path[128];
  snprintf(directory, sizeof directory, "%s/fillXXXXXX", argv[2]);
  if (!mkdtemp(directory)) held("mkdtemp");
  int count = 0, error;
  for (; count < MANY; count++) {
    snprintf(path, sizeof path, "%s/%d", directory, count);
    if (make(argv[1], path) < 0) break;
  }
  error = errno;
  for (int at = 0; at < count; at++) {
    snprintf(path, sizeof path, "%s/%d", directory, at);
    remove(path);
  }
  rmdir(directory);
  errno = error;
  if (count < MANY && errno != ENOSPC) mistake("create");
  if (count < MANY) held("create");
  out("create");
}
