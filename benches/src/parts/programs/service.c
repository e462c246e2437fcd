/* A program that says when it is ready, and ends when it is killed. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	int one;

	if (write(1, "x", 1) != 1)
		return 1;
	if (path && strlen(path) < sizeof to.sun_path) {
		strcpy(to.sun_path, path);
		if (to.sun_path[0] == '@')
			to.sun_path[0] = 0;
		one = socket(AF_UNIX, SOCK_DGRAM, 0);
		sendto(one, "READY=1", 7, 0, (struct sockaddr *)&to,
		       offsetof(struct sockaddr_un, sun_path) + strlen(path));
		close(one);
		for (;;)
			pause();
	}
	return 0;
}
