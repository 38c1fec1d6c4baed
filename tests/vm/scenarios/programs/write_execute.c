#define _GNU_SOURCE
/* Makes code of memory in the way that its argument names, and runs it: it returns 42. Ends with that, or with
   the errno of what was refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };

/* A page of code that it may change. */
__attribute__((aligned(4096), noinline)) static int own(void)
{
	return 41;
}
__attribute__((aligned(4096), used)) static void behind(void) {}

static int run(void *memory)
{
	return ((int (*)(void))memory)();
}

static void *map(int protection, int fd)
{
	void *memory = mmap(NULL, 4096, protection, MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (memory == MAP_FAILED)
		exit(errno);
	return memory;
}

static void protect(void *memory, int protection)
{
	if (mprotect(memory, 4096, protection) != 0)
		exit(errno);
}

static void *written(int fd)
{
	return memcpy(map(PROT_READ | PROT_WRITE, fd), code, sizeof code);
}

static int on_the_stack(void)
{
	unsigned char room[2 * 4096];
	void *page = (void *)(((uintptr_t)room + 4095) & ~(uintptr_t)4095);
	memcpy(page, code, sizeof code);
	protect(page, PROT_READ | PROT_WRITE | PROT_EXEC);
	return run(page);
}

int main(int argc, char **argv)
{
	const char *name = argv[argc - 1];
	void *memory;

	if (!strcmp(name, "mapped-so")) {
		memory = memcpy(map(PROT_READ | PROT_WRITE | PROT_EXEC, -1), code, sizeof code);
	} else if (!strcmp(name, "written-then-executable")) {
		memory = written(-1);
		protect(memory, PROT_READ | PROT_EXEC);
	} else if (!strcmp(name, "both-at-once")) {
		memory = written(-1);
		protect(memory, PROT_READ | PROT_WRITE | PROT_EXEC);
	} else if (!strcmp(name, "stack")) {
		return on_the_stack();
	} else if (!strcmp(name, "changed-pages-of-a-file")) {
		memory = written(open(argv[0], O_RDONLY));
		protect(memory, PROT_READ | PROT_EXEC);
	} else if (!strcmp(name, "own-code")) {
		protect((void *)own, PROT_READ | PROT_WRITE | PROT_EXEC);
		memory = memcpy((void *)own, code, sizeof code);
	} else {
		memory = written(-1);
		for (int i = 0; i < 1000; i++) {
			protect(memory, PROT_READ | PROT_EXEC);
			protect(memory, PROT_READ | PROT_WRITE);
		}
		protect(memory, PROT_READ | PROT_EXEC);
	}
	return run(memory);
}
