/* Connects to a socket of the machine that has a name and no file. */
#include "escape.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(argv[1]);
  memcpy(address.sun_path + 1, argv[1], length);
  int found = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(found, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length) < 0)
    held("connect");
  out("connect");
}
