/* A program, or the interpreter of a script: says that it ran. */
#include <stdio.h>

int main(void) { return puts("program ran") < 0; }
