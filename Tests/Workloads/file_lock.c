// Locks of every kind that a file can have, in memory too: of an open file (flock), of a process (POSIX), of ranges by open file (OFD);
// shared ones, ranges side by side, one held by a child, and a waiter that must get its lock only when it is let go.
// checkpoint: --file-locks
#include "workload.h"
#include <sys/file.h>

static int whole, ranges, ofd, shared, twin, memory;
static atomic_int *has_waited;

static struct flock range(short type, off_t start, off_t length) { return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length}; }

static short conflict(int file, int command, short type, off_t start, off_t length) {
    struct flock lock = range(type, start, length);
    return fcntl(file, command, &lock) ? -1 : lock.l_type;
}

static int opened(const char *path) { return must(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)); }

static void enter_child(void) {
    struct flock lock = range(F_WRLCK, 1000, 10);
    must(fcntl(ranges, F_SETLK, &lock));
}

static void check_child(void) {
    int other = open("/state/whole", O_RDWR | O_CLOEXEC);
    expect(flock(other, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the flock is gone");
    close(other);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    other = open(path, O_RDWR | O_CLOEXEC);
    expect(flock(other, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the flock of a memory file is gone");
    close(other);
    expect(!flock(twin, LOCK_EX | LOCK_NB), "the flock does not belong to the shared open file");
    other = open("/state/shared", O_RDWR | O_CLOEXEC);
    expect(!flock(other, LOCK_SH | LOCK_NB), "a shared flock shuts out others");
    flock(other, LOCK_UN);
    expect(flock(other, LOCK_EX | LOCK_NB) == -1, "the shared flock is gone");
    close(other);
    expect(conflict(ranges, F_GETLK, F_WRLCK, 100, 1) == F_WRLCK, "the parent's write lock is gone");
    expect(conflict(ranges, F_GETLK, F_RDLCK, 200, 50) == F_UNLCK, "the parent's read lock shuts out readers");
    expect(conflict(ranges, F_GETLK, F_WRLCK, 249, 1) == F_RDLCK, "the parent's read lock is gone");
    expect(conflict(ranges, F_GETLK, F_WRLCK, 250, 750) == F_UNLCK, "the parent's locks have grown");
    expect(conflict(ranges, F_GETLK, F_WRLCK, 1L << 40, 1) == F_WRLCK, "the lock to the end is gone");
    expect(conflict(ofd, F_OFD_GETLK, F_WRLCK, 7, 1) == F_UNLCK, "the open file's lock shuts out its owner");
    struct flock lock = range(F_WRLCK, 0, 0);
    other = open("/state/ofd", O_RDWR | O_CLOEXEC);
    expect(!fcntl(other, F_OFD_GETLK, &lock) && lock.l_type == F_WRLCK && lock.l_start == 7 && lock.l_len == 3 && lock.l_pid == -1,
           "the open file's lock is %d from %ld, %ld long", lock.l_type, (long)lock.l_start, (long)lock.l_len);
    close(other);
    expect(!atomic_load(has_waited), "the waiter got a lock that is held");
}

static void *wait_for_lock(void *unused) {
    int other = open("/state/whole", O_RDWR | O_CLOEXEC);
    flock(other, LOCK_EX);
    atomic_store(has_waited, 1);
    return unused;
}

int main(void) {
    begin();
    has_waited = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    whole = opened("/state/whole"), ranges = opened("/state/ranges"), ofd = opened("/state/ofd"), shared = opened("/state/shared");
    twin = must(dup(whole));
    must(flock(whole, LOCK_EX));
    memory = must(memfd_create("locked", MFD_CLOEXEC));
    must(flock(memory, LOCK_EX));
    must(flock(shared, LOCK_SH));
    struct flock locks[] = {range(F_WRLCK, 0, 200), range(F_RDLCK, 200, 50), range(F_WRLCK, 1L << 20, 0)}, own = range(F_WRLCK, 7, 3);
    for (size_t i = 0; i < COUNT(locks); i++) must(fcntl(ranges, F_SETLK, &locks[i]));
    must(fcntl(ofd, F_OFD_SETLK, &own));
    hire(enter_child, check_child);
    start_thread(wait_for_lock, 0);
    pause_ms(20);
    ready();
    for (;;) {
        await_question();
        expect(conflict(ranges, F_GETLK, F_RDLCK, 1000, 10) == F_WRLCK, "the child's lock is gone");
        expect(conflict(ranges, F_GETLK, F_WRLCK, 1010, 100) == F_UNLCK, "the child's lock has grown");
        verdict();
    }
}
