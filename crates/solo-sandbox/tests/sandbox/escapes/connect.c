/* Connects to an address and a port. By TCP somebody must answer there; by UDP, which sends nothing, there
 * only must be a way to it. */
#include "escape.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
  int kind = strcmp(argv[1], "tcp") ? SOCK_DGRAM : SOCK_STREAM;
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(argv[3]))};
  int done;
  /* At once: the alarm ends it in a way that is no answer. */
  alarm(5);
  if (inet_pton(AF_INET, argv[2], &four.sin_addr) == 1)
    done = connect(socket(AF_INET, kind, 0), (void *)&four, sizeof four);
  else if (inet_pton(AF_INET6, argv[2], &six.sin6_addr) == 1)
    done = connect(socket(AF_INET6, kind, 0), (void *)&six, sizeof six);
  else
    mistake("inet_pton");
  if (done < 0) held("connect");
  out("connect");
}
