#define _GNU_SOURCE
/* Starts itself many times, while another thread keeps changing the name of a variable from an allowed one to
   the denied one and back. `ran` when the program ever began with the denied one. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char variable[] = "LD_PRELOAD=/x";

/* Both names stand for a while: an emulated processor is interrupted between blocks of instructions alone. */
static void *change(void *unused)
{
	for (;;) {
		variable[1] ^= 'D' ^ 'E';
		for (volatile int n = 0; n < 100; n++)
			;
	}
	return unused;
}

int main(int argc, char **argv)
{
	char *words[] = { argv[0], "look", NULL };
	char *variables[] = { (char *)variable, NULL };
	int ran = 0, status;
	pthread_t thread;

	if (argc == 2)
		return getenv("LD_PRELOAD") ? 42 : 0;
	pthread_create(&thread, NULL, change, NULL);
	for (int i = 0; i < 100; i++) {
		/* vfork: the memory stays shared with the thread that changes it. */
		pid_t pid = vfork();
		if (pid == 0) {
			close(2);
			execve(argv[0], words, variables);
			_exit(1);
		}
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 42)
			ran++;
	}
	puts(ran ? "ran" : "refused");
	return 0;
}
