/* Takes more memory than it may. A child does, so that there is somebody left to tell of its end. */
#include "escape.h"
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
enum { BYTES = 96 << 20, PIPES = 2000 };
int main(int argc, char **argv) {
  const char *way = argv[1];
  pid_t child = fork();
  if (child < 0) mistake("fork");
  if (child == 0) {
    char *memory = MAP_FAILED;
    if (!strcmp(way, "anonymous")) {
      memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    } else if (!strcmp(way, "unnamed file")) {
      int file = memfd_create("memory", 0);
      if (ftruncate(file, BYTES) == 0)
        memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    } else if (!strcmp(way, "segment")) {
      int segment = shmget(IPC_PRIVATE, BYTES, 0600);
      memory = shmat(segment, NULL, 0);
      shmctl(segment, IPC_RMID, NULL);
    }
    if (memory == MAP_FAILED) _exit(MISTAKE);
    for (size_t at = 0; at < BYTES; at += 4096) memory[at] = 1;
    _exit(OUT);
  }
  int status;
  if (waitpid(child, &status, 0) < 0) mistake("wait");
  if (WIFSIGNALED(status)) {
    errno = ENOMEM;
    held(way);
  }
  if (WEXITSTATUS(status) == OUT) out(way);
  mistake(way);
}
