/* Opens a path whose text another thread exchanges with another one; prints which contents it ever read. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char path[512];
static const char *texts[2];
static atomic_int over;

static void *flips(void *unused)
{
    for (unsigned turn = 0; !atomic_load(&over); turn++)
        strcpy(path, texts[turn % 2]);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t flipper;
    char content[64];
    int seen[2] = { 0 }, refused = 0;
    if (argc != 3 || strlen(argv[1]) >= sizeof path || strlen(argv[2]) >= sizeof path)
        return 2;
    texts[0] = argv[1];
    texts[1] = argv[2];
    strcpy(path, texts[0]);
    if (pthread_create(&flipper, NULL, flips, NULL))
        return 3;
    for (time_t end = time(NULL) + 20; time(NULL) < end && !(seen[0] && seen[1]) && (refused < 20 || !seen[0]);) {
        /* Half of one text and half of the other is a name that nothing has. */
        int fd = open(path, O_RDONLY);
        if (fd < 0) {
            refused += errno == EACCES;
            continue;
        }
        ssize_t length = read(fd, content, sizeof content);
        close(fd);
        if (length > 0)
            seen[content[0] == 'n' ? 0 : 1] = 1;
    }
    atomic_store(&over, 1);
    pthread_join(flipper, NULL);
    printf("%s\n", seen[0] && seen[1] ? "key,note" : seen[0] ? "note" : seen[1] ? "key" : "nothing");
    return 0;
}
