/* Code that runs as soon as it is loaded. */
#include <unistd.h>

#ifdef AUDIT
unsigned int la_version(unsigned int version)
{
	write(1, "library ran\n", 12);
	return version;
}
#else
__attribute__((constructor)) static void loaded(void)
{
	write(1, "library ran\n", 12);
}
#endif
