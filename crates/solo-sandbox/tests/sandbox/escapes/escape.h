/* What every attempt has in common. It ends with HELD if the system refused it and with OUT if it got
 * what it wanted; anything else is a mistake of the attempt. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { HELD = 10, OUT = 11 };

/* Ends as refused, saying by what. */
static inline void held(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(HELD);
}

/* Ends as having got out. */
static inline void out(const char *what) {
  printf("%s: done\n", what);
  exit(OUT);
}
