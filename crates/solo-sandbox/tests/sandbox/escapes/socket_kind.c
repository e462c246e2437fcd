/* Makes a socket of a kind that is not for programs. */
#include "escape.h"
#include <netinet/in.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
  const char *way = argv[1];
  int found = -1;
  if (!strcmp(way, "icmp")) found = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  else if (!strcmp(way, "ip")) found = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  else if (!strcmp(way, "icmp6")) found = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
  else if (!strcmp(way, "packet")) found = socket(AF_PACKET, SOCK_RAW, 0);
  else if (!strcmp(way, "crypto")) found = socket(AF_ALG, SOCK_SEQPACKET, 0);
  else if (!strcmp(way, "machine")) found = socket(AF_VSOCK, SOCK_STREAM, 0);
  else mistake(way);
  judge(way, found);
}
