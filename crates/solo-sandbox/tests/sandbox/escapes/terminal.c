/* Types into the terminal that it was given, as whoever sits there would. */
#include "escape.h"
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
int main(int argc, char **argv) {
  if (!strcmp(argv[1], "hold")) {
    /* Outside: makes a terminal, tells its name, and keeps it until nobody asks for it. */
    int side = posix_openpt(O_RDWR | O_NOCTTY);
    if (side < 0 || grantpt(side) < 0 || unlockpt(side) < 0) mistake("openpt");
    puts(ptsname(side));
    fflush(stdout);
    char byte;
    return read(0, &byte, 1) == 0 ? 0 : MISTAKE;
  }
  if (!isatty(0)) mistake("isatty");
  pid_t child = fork();
  if (child == 0) {
    /* The terminal's own session may; it takes the terminal for one of its own. */
    setsid();
    ioctl(0, TIOCSCTTY, 0);
    if (!strcmp(argv[1], "type")) {
      int typed = ioctl(0, TIOCSTI, "\n");
      /* A kernel that nobody may do this to. */
      if (typed < 0 && errno == EIO) lacking("TIOCSTI");
      if (typed < 0) held("TIOCSTI");
      out("TIOCSTI");
    }
    int discipline = N_TTY;
    if (ioctl(0, TIOCSETD, &discipline) < 0) held("TIOCSETD");
    out("TIOCSETD");
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status)) mistake("fork");
  return WEXITSTATUS(status);
}
