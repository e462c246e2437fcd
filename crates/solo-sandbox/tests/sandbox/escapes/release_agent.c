/* Has the kernel run a command as root: the release agent of a hierarchy of control groups. */
#include "escape.h"
#include <glob.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* Writes what is there already, which is refused as anything else would be. */
static int rewrite(const char *path) {
  char agent[4096];
  int file = open(path, O_RDWR);
  if (file < 0) return -1;
  ssize_t length = read(file, agent, sizeof agent);
  return length < 0 || write(file, length ? agent : "\n", length ? length : 1) < 0 ? -1 : 0;
}

/* The first hierarchy of version 1 that this process is in. */
static int hierarchy(char *options) {
  FILE *own = fopen("/proc/self/cgroup", "r");
  char line[4096];
  while (own && fgets(line, sizeof line, own)) {
    char *from = strchr(line, ':') + 1, *to = strchr(from, ':');
    *to = 0;
    if (!*from) continue;
    snprintf(options, 256, "%s%s", *from == 'n' ? "none," : "", from);
    return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (!strcmp(argv[1], "mount")) {
    char options[256] = "none,name=solo-test";
    int there = hierarchy(options);
    mkdir("/tmp/groups", 0700);
    int mounted = mount("none", "/tmp/groups", "cgroup", 0, options);
    if (mounted < 0 && (errno == ENODEV || (!there && errno != EPERM && errno != EACCES)))
      lacking("mount");
    if (mounted < 0) held("mount");
    if (rewrite("/tmp/groups/release_agent") == 0) out("release_agent");
    /* Who is in no group at all has this file at the top; this process is further below. */
    if (errno == ENOENT) lacking("release_agent");
    held("release_agent");
  }
  glob_t found;
  if (glob("/sys/fs/cgroup/*/release_agent", 0, NULL, &found) != 0) {
    if (access("/sys/fs/cgroup", R_OK) == 0) lacking("release_agent");
    held("release_agent");
  }
  for (size_t at = 0; at < found.gl_pathc; at++)
    if (rewrite(found.gl_pathv[at]) == 0) out(found.gl_pathv[at]);
  held("release_agent");
}
