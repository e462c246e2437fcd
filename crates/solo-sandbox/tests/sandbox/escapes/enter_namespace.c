/* Enters the namespaces of a process outside. */
#include "escape.h"
#include <sched.h>
int main(int argc, char **argv) {
  int process = syscall(SYS_pidfd_open, atoi(argv[1]), 0);
  if (process < 0) judge("pidfd_open", process);
  judge("setns", setns(process, CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET));
}
