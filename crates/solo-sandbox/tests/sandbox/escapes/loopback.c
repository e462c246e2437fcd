/* Connects to a service on the machine's loopback. */
#include "escape.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  int found = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(found, (void *)&address, sizeof address) < 0) held("connect");
  out("connect");
}
