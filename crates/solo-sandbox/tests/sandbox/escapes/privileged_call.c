/* Asks for what only root may do to the machine, with arguments that do nothing. */
#include "escape.h"
#include <sys/reboot.h>
int main(int argc, char **argv) {
  const char *way = argv[1];
  static char nothing[64];
  long done = -1;
  if (!strcmp(way, "init_module"))
    done = syscall(SYS_init_module, nothing, sizeof nothing, "");
  else if (!strcmp(way, "finit_module"))
    done = syscall(SYS_finit_module, open(argv[0], O_RDONLY), "", 0);
  else if (!strcmp(way, "delete_module"))
    done = syscall(SYS_delete_module, "solo-none", O_NONBLOCK);
  else if (!strcmp(way, "reboot"))
    done = syscall(SYS_reboot, 1, 2, 3, 0);
  else if (!strcmp(way, "sethostname"))
    done = syscall(SYS_sethostname, "escaped", 7);
  else
    mistake(way);
  /* It was looked at, and no module, no command of its. */
  if (done < 0 && (errno == ENOEXEC || errno == EINVAL || errno == ENOENT || errno == EBADF ||
                   errno == EKEYREJECTED))
    out(way);
  judge(way, done);
}
