/* Attaches to shared memory of the machine that everybody may use. */
#include "escape.h"
#include <sys/ipc.h>
#include <sys/shm.h>
int main(int argc, char **argv) {
  if (shmget(atoi(argv[1]), 0, 0) < 0) held("shmget");
  out("shmget");
}
