/* Gets hold of a process of the same user that is none of its own, as a debugger does. */
#include "escape.h"
#include <sys/ptrace.h>
#include <sys/uio.h>
int main(int argc, char **argv) {
  pid_t pid = atoi(argv[1]);
  const char *way = argv[2];
  if (!strcmp(way, "seize")) {
    judge(way, ptrace(PTRACE_SEIZE, pid, 0, 0));
  } else if (!strcmp(way, "read")) {
    /* Where its memory is does not matter: who may not read is told so first. */
    char byte;
    struct iovec to = {&byte, 1}, from = {(void *)4096, 1};
    long done = syscall(SYS_process_vm_readv, pid, &to, 1, &from, 1, 0);
    if (done < 0 && errno == EFAULT) out(way);
    judge(way, done);
  } else if (!strcmp(way, "descriptor")) {
    int process = syscall(SYS_pidfd_open, pid, 0);
    if (process < 0) judge("pidfd_open", process);
    judge(way, syscall(SYS_pidfd_getfd, process, 0, 0));
  }
  mistake(way);
}
