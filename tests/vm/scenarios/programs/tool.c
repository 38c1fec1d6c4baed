/* Says that it ran; exits with 42 when its arguments are the denied ones. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	int deleting = 0;

	puts("tool ran");
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "delete") == 0)
			deleting = 1;
		else if (deleting && strcmp(argv[i], "namespace") == 0)
			return 42;
	}
	return 0;
}
