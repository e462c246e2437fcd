/* What a program can try on the init of its sandbox. Prints what succeeded. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void opens(const char *path)
{
	if (open(path, O_RDONLY) >= 0)
		printf("opened %s\n", path);
}

static void connects(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	if (connect(s, (struct sockaddr *)&address, sizeof address) == 0)
		printf("connected to %s\n", path);
}

int main(int count, char **words)
{
	DIR *own = opendir("/proc/self/fd");
	struct dirent *entry;
	while (own != NULL && (entry = readdir(own)) != NULL)
		if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) > 2 &&
		    strtol(entry->d_name, NULL, 10) != dirfd(own))
			printf("inherited %s\n", entry->d_name);
	for (int s = 1; s < 65; s++) {
		siginfo_t forged;
		kill(1, s);
		memset(&forged, 0, sizeof forged);
		forged.si_signo = s;
		forged.si_code = SI_QUEUE;
		for (unsigned long guess = 0; guess < 64; guess++) {
			forged.si_addr = (void *)(0x7ffffffff000 - guess * 4096);
			syscall(SYS_rt_sigqueueinfo, 1, s, &forged);
		}
	}
	for (int i = 0; i < 20000; i++)
		kill(1, SIGCHLD);
	if (ptrace(PTRACE_ATTACH, 1, 0, 0) == 0)
		puts("traced");
	if (syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 0, 0) >= 0)
		puts("took a descriptor");
	opens("/proc/1/mem");
	opens("/proc/1/environ");
	opens("/proc/1/maps");
	opens("/proc/1/exe");
	opens("/proc/1/fd/0");
	opens("/proc/1/fd/3");
	opens("/proc/1/root/etc/hostname");
	for (int i = 1; i < count; i++) {
		char root[4096];
		opens(words[i]);
		connects(words[i]);
		snprintf(root, sizeof root, "/proc/1/root%s", words[i]);
		connects(root);
	}
	puts("done");
	return 0;
}
