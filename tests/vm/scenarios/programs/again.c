#define _GNU_SOURCE
/* Deletes itself while it runs and runs itself again through /proc/self/exe. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc > 1) {
		puts("ran");
		return 0;
	}
	if (unlink(argv[0]) != 0)
		return 2;
	execl("/proc/self/exe", argv[0], "again", (char *)0);
	puts(strerrorname_np(errno));
	return 0;
}
