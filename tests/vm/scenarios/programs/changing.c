#define _GNU_SOURCE
/* Starts the program it is given many times, while another thread keeps changing an argument or the name of a
   variable from an allowed one to the denied one and back. `ran` when the program ever began with the denied
   one and said so by its exit status, as this program does itself when it is asked to look. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char word[] = "delete", variable[] = "LD_PRELOAD=/x";

/* Both letters stand for a while: an emulated processor is interrupted between blocks of instructions alone. */
static void *change(void *letter)
{
	for (;;) {
		*(volatile char *)letter ^= 'd' ^ 'e';
		for (volatile int n = 0; n < 100; n++)
			;
	}
	return letter;
}

int main(int argc, char **argv)
{
	int argument = argc == 3 && !strcmp(argv[1], "argument");
	char *words[] = { "tool", argument ? (char *)word : "look", "namespace", NULL };
	char *variables[] = { argument ? NULL : (char *)variable, NULL };
	int ran = 0, status;
	pthread_t thread;

	if (argc == 3 && !strcmp(argv[1], "look"))
		return getenv("LD_PRELOAD") ? 42 : 0;
	if (argc != 3 || (!argument && strcmp(argv[1], "variable")))
		return puts("usage: changing argument|variable PROGRAM") < 0;
	pthread_create(&thread, NULL, change, (void *)(argument ? &word[0] : &variable[1]));
	for (int i = 0; i < 100; i++) {
		/* vfork: the memory stays shared with the thread that changes it. */
		pid_t pid = vfork();
		if (pid == 0) {
			close(1);
			close(2);
			execve(argv[2], words, variables);
			_exit(1);
		}
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 42)
			ran++;
	}
	puts(ran ? "ran" : "refused");
	return 0;
}
