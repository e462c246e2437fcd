/* Mounts something where it is root. */
#include "escape.h"
#include <sched.h>
#include <sys/mount.h>
int main(void) {
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) held("unshare");
  if (mount("none", "/tmp", "tmpfs", 0, "") < 0) held("mount");
  out("mount");
}
