/* Ends a process of the same user that is none of its own. */
#include "escape.h"
#include <signal.h>
int main(int argc, char **argv) {
  if (kill(atoi(argv[1]), SIGKILL) < 0) held("kill");
  out("kill");
}
