/* Says what it is built to say; two builds differ in their content. */
#include <stdio.h>

int main(void) { return puts(TEXT) < 0; }
