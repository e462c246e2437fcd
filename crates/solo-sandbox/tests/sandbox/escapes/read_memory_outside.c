/* Stops a process of the same user that is none of its own, as a debugger does. */
#include "escape.h"
#include <sys/ptrace.h>
int main(int argc, char **argv) {
  if (ptrace(PTRACE_SEIZE, atoi(argv[1]), 0, 0) < 0) held("ptrace");
  out("ptrace");
}
