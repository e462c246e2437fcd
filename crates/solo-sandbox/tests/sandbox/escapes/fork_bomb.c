/* Starts as many processes as there may be. */
#include "escape.h"
#include <signal.h>
#include <sys/wait.h>
enum { MANY = 64 };
int main(void) {
  pid_t started[MANY];
  int count = 0;
  while (count < MANY && (started[count] = fork()) > 0) count++;
  if (count < MANY && started[count] == 0) {
    pause();
    _exit(0);
  }
  int error = errno;
  for (int at = 0; at < count; at++) kill(started[at], SIGKILL);
  while (wait(NULL) > 0) continue;
  errno = error;
  if (count < MANY) held("fork");
  out("fork");
}
