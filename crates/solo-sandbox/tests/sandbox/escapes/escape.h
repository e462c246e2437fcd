/* What every attempt has in common. It ends with HELD if the system refused it, with OUT if it got what it
 * wanted, and with LACKING if there is no such thing on this machine; anything else is a mistake of the
 * attempt. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { HELD = 10, OUT = 11, LACKING = 12, MISTAKE = 99 };

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

/* Ends as having looked for what is not there. */
static inline void lacking(const char *what) {
  printf("%s: not here: %s\n", what, strerror(errno));
  exit(LACKING);
}

/* Ends as wrong itself. */
static inline void mistake(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(MISTAKE);
}

/* Ends by what a call returned that a filter answers with EPERM, and a kernel without it with ENOSYS. */
static inline void judge(const char *what, long result) {
  if (result >= 0) out(what);
  if (errno == ENOSYS || errno == EAFNOSUPPORT || errno == ENODEV || errno == EPROTONOSUPPORT ||
      errno == ESOCKTNOSUPPORT)
    lacking(what);
  held(what);
}
