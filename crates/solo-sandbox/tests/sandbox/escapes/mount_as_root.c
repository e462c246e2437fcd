/* Changes what is mounted, in each of the ways there are. */
#include "escape.h"
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
int main(int argc, char **argv) {
  const char *way = argv[1];
  if (!strcmp(way, "mount")) judge(way, mount("none", "/tmp", "tmpfs", 0, ""));
  if (!strcmp(way, "bind")) judge(way, mount("/usr", "/tmp", NULL, MS_BIND, NULL));
  if (!strcmp(way, "remount"))
    judge(way, mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
  if (!strcmp(way, "umount")) judge(way, umount2("/tmp", MNT_DETACH));
  if (!strcmp(way, "pivot_root")) {
    mkdir("/tmp/root", 0700);
    /* Needs a mount of its own there; who may not change roots is told so before. */
    long done = syscall(SYS_pivot_root, "/dev/shm", "/dev/shm");
    judge(way, done);
  }
  if (!strcmp(way, "move_mount")) {
    int context = syscall(SYS_fsopen, "tmpfs", 0);
    if (context < 0) judge("fsopen", context);
    if (syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) < 0)
      held("fsconfig");
    int made = syscall(SYS_fsmount, context, 0, 0);
    if (made < 0) held("fsmount");
    judge(way, syscall(SYS_move_mount, made, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH));
  }
  if (!strcmp(way, "open_tree")) {
    int tree = syscall(SYS_open_tree, AT_FDCWD, "/usr", OPEN_TREE_CLONE);
    if (tree < 0) judge(way, tree);
    judge("move_mount", syscall(SYS_move_mount, tree, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH));
  }
  mistake(way);
}
