/* Twenty grandchildren in sessions of their own, who ignore what can be ignored. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int ready[2];
	char byte;
	if (pipe(ready) != 0)
		return 1;
	for (int i = 0; i < 20; i++) {
		if (fork() == 0) {
			setsid();
			if (fork() == 0) {
				for (int s = 1; s < 32; s++)
					signal(s, SIG_IGN);
				if (write(ready[1], "x", 1) != 1)
					return 1;
				for (;;)
					pause();
			}
			_exit(0);
		}
		wait(NULL);
		if (read(ready[0], &byte, 1) != 1)
			return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
