/* Runs a program that belongs to root and is marked to run as its owner. */
#include "escape.h"
int main(int argc, char **argv) {
  if (argc > 2) {
    if (geteuid() == atoi(argv[2])) {
      errno = EPERM;
      held("setuid");
    }
    out("setuid");
  }
  char own[16];
  snprintf(own, sizeof own, "%d", geteuid());
  char *arguments[] = {argv[1], argv[1], own, NULL};
  execv(argv[1], arguments);
  held("exec");
}
