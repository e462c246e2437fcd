/* Becomes root of a namespace of its own: the first step of most ways out. */
#include "escape.h"
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
int main(int argc, char **argv) {
  const char *way = argv[1];
  if (!strcmp(way, "unshare")) judge(way, unshare(CLONE_NEWUSER));
  long pid = -1;
  if (!strcmp(way, "clone")) {
    pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  } else if (!strcmp(way, "clone3")) {
    struct clone_args how = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    pid = syscall(SYS_clone3, &how, sizeof how);
    /* A filter cannot look at what it points to, so it says that there is no such call. */
    if (pid < 0) held(way);
  } else {
    mistake(way);
  }
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid(pid, NULL, 0);
  judge(way, pid);
}
