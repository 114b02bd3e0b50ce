// SPDX-License-Identifier: Apache-2.0
// Prints the peak resident memory in KiB of a program and of everything it waited for.
//
//   cc -O2 -static meter.c -o meter; meter PROGRAM [ARGUMENT...]
//
// Why not from the bench itself: the kernel counts the memory of whoever calls exec into the peak of the program that
// is started, so whoever measures must be smaller than what he measures. `meter` alone takes about half a megabyte.
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
	pid_t pid;
	int status;
	struct rusage used;
	if (argc < 2)
		return 2;
	int error = posix_spawnp(&pid, argv[1], 0, 0, argv + 1, environ);
	if (error) {
		fprintf(stderr, "meter: %s: %s\n", argv[1], strerror(error));
		return 127;
	}
	while (wait4(pid, &status, 0, &used) < 0)
		if (errno != EINTR)
			return 1;
	printf("%ld\n", used.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
