/* Opens files in turn, over and over: `again COUNT PATH...`, or a thousand a second until SIGTERM where COUNT is 0;
 * `again COUNT -N PATH` opens those whose names are PATH and a number below N: arguments are in each event. Says how many opens it tried and how many of them were refused. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t over;

static void end(int signal) {
    (void)signal;
    over = 1;
}

int main(int argc, char **argv) {
    long count = atol(argv[1]), tried = 0, refused = 0;
    char path[4096];
    long names = argv[2][0] == '-' ? atol(argv[2] + 1) : 0;
    signal(SIGTERM, end);
    while (!over && (count == 0 || tried < count)) {
        if (names)
            snprintf(path, sizeof path, "%s%ld", argv[3], tried % names);
        int fd = open(names ? path : argv[2 + tried % (argc - 2)], O_RDONLY);
        tried++;
        if (fd >= 0)
            close(fd);
        else if (errno == EACCES)
            refused++;
        else
            return 1;
        if (count == 0)
            usleep(1000);
    }
    printf("%ld tried, %ld refused\n", tried, refused);
    return 0;
}
