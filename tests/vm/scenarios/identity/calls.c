#define _GNU_SOURCE
/* Banned system calls, by each entry of the kernel, and other ways to what they do. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PERSONALITY32 = 136, QUERY = 0xffffffff, X32 = 0x40000000, PROCESS_KEYRING = -2 };

static void say(const char *name, int error)
{
	printf("= %s %s\n", name, error ? strerrorname_np(error) : "ok");
	fflush(stdout);
}

static void result(const char *name, long value)
{
	say(name, value < 0 ? errno : 0);
}

static long int80(long number, long a)
{
	long value;

	__asm__ volatile("int $0x80" : "=a"(value) : "a"(number), "b"(a) : "memory", "r8", "r9", "r10", "r11");
	return (int)value;
}

/* What a call that changes the caller says, from a child. */
static int in_child(long (*call)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(call() < 0 ? errno : 0);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED;
}

static long unshare_user(void)
{
	return syscall(SYS_unshare, CLONE_NEWUSER);
}

static long clone_user(void)
{
	long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (child == 0)
		_exit(0);
	if (child > 0)
		waitpid(child, NULL, 0);
	return child;
}

int main(void)
{
	static char secret[8] = "secret";
	char copy[8];
	struct iovec local = { copy, sizeof(copy) }, remote = { secret, sizeof(secret) };
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	result("add-key", syscall(SYS_add_key, "user", "aegis-test", "x", 1L, (long)PROCESS_KEYRING));
	result("personality", syscall(SYS_personality, (long)QUERY));
	long status = int80(PERSONALITY32, (int)QUERY);
	say("personality-32", status < 0 ? (int)-status : 0);
	result("personality-x32", syscall(X32 | SYS_personality, (long)QUERY));
	say("unshare-user", in_child(unshare_user));
	say("clone-user", in_child(clone_user));
	result("read-own-child", process_vm_readv(child, &local, 1, &remote, 1, 0));
	result("trace-own-child", ptrace(PTRACE_SEIZE, child, 0, 0));
	result("allowed-getpid", syscall(SYS_getpid));
	kill(child, SIGKILL);
	result("allowed-own-child-ended", waitpid(child, NULL, 0));
	return 0;
}
