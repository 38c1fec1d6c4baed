/* Opens a file while another process, outside, renames it and its folder between a place that may be read and one
 * that may not.
 *
 * The two share a count of turns. It is odd exactly while both have their denied names: raised after the second
 * has got it, and before the first loses it. An open that succeeds between two readings of the same odd count
 * began and ended while the name was denied. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* At most so many opens, of which so many are refused: each refusal leaves a record. */
enum { OPENS = 100000, REFUSALS = 2000 };

struct shared {
    _Atomic unsigned turn;
    _Atomic int over;
};

static char at[5][512];
enum { FILE_ALLOWED, FILE_DENIED, FOLDER_ALLOWED, FOLDER_DENIED, TURN };

static struct shared *share(void)
{
    int fd = open(at[TURN], O_RDWR);
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return shared == MAP_FAILED ? NULL : shared;
}

/* Renames until it is told to stop; by itself after five minutes. */
static int renames(struct shared *shared)
{
    time_t end = time(NULL) + 300;
    for (unsigned wait = 0; !atomic_load(&shared->over) && time(NULL) < end; wait = (wait + 1) % 64) {
        if (rename(at[FILE_ALLOWED], at[FILE_DENIED]) || rename(at[FOLDER_ALLOWED], at[FOLDER_DENIED]))
            return 1;
        atomic_fetch_add(&shared->turn, 1);
        usleep(wait);
        atomic_fetch_add(&shared->turn, 1);
        if (rename(at[FILE_DENIED], at[FILE_ALLOWED]) || rename(at[FOLDER_DENIED], at[FOLDER_ALLOWED]))
            return 1;
        /* Longer than it was denied: each refusal leaves a record. */
        usleep(wait * 40);
    }
    return 0;
}

/* Whether opening succeeded; nothing but success, a refusal, and a name that is not there now may come of it. */
static int opens(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        close(fd);
        return 1;
    }
    if (errno != EACCES && errno != ENOENT)
        printf("= open-failed %s\n", strerror(errno));
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "work/file", "vault/file", "work/folder", "vault/folder", "work/turn" };
    if (argc != 3)
        return 2;
    for (int i = 0; i < 5; i++)
        snprintf(at[i], sizeof at[i], "%s/%s", argv[1], names[i]);
    struct shared *shared = share();
    if (!shared)
        return 3;
    if (!strcmp(argv[2], "rename"))
        return renames(shared);

    char below[600], held[2][64];
    snprintf(below, sizeof below, "%s/file", at[FOLDER_ALLOWED]);
    /* By descriptor the same file is opened whatever its name is just now. */
    snprintf(held[0], sizeof held[0], "/proc/self/fd/%d", open(at[FILE_ALLOWED], O_PATH));
    snprintf(held[1], sizeof held[1], "/proc/self/fd/%d", open(below, O_PATH));
    const char *const path[] = { held[0], held[1], at[FILE_DENIED] };
    unsigned long wrong[3] = { 0 }, refused = 0, allowed = 0;
    printf("@step rename\n");
    fflush(stdout);
    char answer[16];
    if (!fgets(answer, sizeof answer, stdin) || strcmp(answer, "go\n"))
        return 4;
    /* Where the first turn is late, opens before it would show nothing. */
    while (!atomic_load(&shared->turn))
        usleep(1000);
    for (int i = 0; i < OPENS && refused < REFUSALS; i++) {
        int which = i % 3;
        unsigned before = atomic_load(&shared->turn);
        int opened = opens(path[which]);
        unsigned after = atomic_load(&shared->turn);
        int denied = before == after && before % 2;
        wrong[which] += denied && opened;
        refused += denied && !opened;
        allowed += before == after && before % 2 == 0 && opened;
    }
    atomic_store(&shared->over, 1);
    printf("= file-open-while-denied %s\n", wrong[0] ? "seen" : "never");
    printf("= below-a-folder-while-denied %s\n", wrong[1] ? "seen" : "never");
    printf("= by-name-while-denied %s\n", wrong[2] ? "seen" : "never");
    printf("= refused %s\n", refused > 100 ? "often" : refused ? "seldom" : "never");
    printf("= allowed-while-allowed %s\n", allowed > 100 ? "often" : allowed ? "seldom" : "never");
    return 0;
}
