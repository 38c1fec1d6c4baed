#define _GNU_SOURCE
/* The kernel's 32-bit entry, used from a 64-bit program: arguments lie below 4 GiB. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { OPEN32 = 5, UNLINK32 = 10, IOCTL32 = 54, SOCKET32 = 359, CONNECT32 = 362 };

static long int80(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static void say(const char *name, long result)
{
	printf("= %s %s\n", name, result < 0 ? strerrorname_np((int)-result) : "ok");
}

int main(int argc, char **argv)
{
	static const unsigned char address[16] = { 2, 0, 0x1b, 0x59, 127, 0, 0, 1 };
	char *low = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (argc != 2 || low == MAP_FAILED)
		return 2;
	snprintf(low, 4096, "%s/vault/key", argv[1]);
	say("open", int80(OPEN32, (long)low, 0, 0));
	memcpy(low + 4096, address, sizeof(address));
	long s = int80(SOCKET32, 2, 1, 0);
	say("connect", s < 0 ? s : int80(CONNECT32, s, (long)(low + 4096), sizeof(address)));
	s = int80(SOCKET32, 1, 1, 0);
	*(int *)(low + 4096) = 1;
	say("descriptor-owner", s < 0 ? s : int80(IOCTL32, s, 0x8901 /* FIOSETOWN */, (long)(low + 4096)));
	say("unlink", int80(UNLINK32, (long)low, 0, 0));
	snprintf(low, 4096, "%s/in/note", argv[1]);
	say("allowed-open", int80(OPEN32, (long)low, 0, 0));
	return 0;
}
