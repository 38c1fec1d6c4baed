#define _GNU_SOURCE
/* Starts the program it is given many times, while another thread keeps changing an argument from an allowed
   word to the denied one and back. `ran` when the program ever saw the denied one. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char word[8] = "delete";

/* Both words stand for a while: an emulated processor is interrupted between blocks of instructions alone. */
static void *change(void *unused)
{
	for (;;) {
		word[0] ^= 'd' ^ 'e';
		for (volatile int n = 0; n < 100; n++)
			;
	}
	return unused;
}

int main(int argc, char **argv)
{
	char *words[] = { "tool", (char *)word, "namespace", NULL };
	char *none[] = { NULL };
	int ran = 0, status;
	pthread_t thread;

	if (argc != 2)
		return puts("usage: changing PROGRAM") < 0;
	pthread_create(&thread, NULL, change, NULL);
	for (int i = 0; i < 100; i++) {
		/* vfork: the memory stays shared with the thread that changes it. */
		pid_t pid = vfork();
		if (pid == 0) {
			close(1);
			execve(argv[1], words, none);
			_exit(1);
		}
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 42)
			ran++;
	}
	puts(ran ? "ran" : "refused");
	return 0;
}
