/* Becomes root of a namespace of its own: the first step of most ways out. */
#include "escape.h"
#include <sched.h>
int main(void) {
  if (unshare(CLONE_NEWUSER) < 0) held("unshare");
  out("unshare");
}
