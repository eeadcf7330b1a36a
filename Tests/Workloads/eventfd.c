// Event counters: values, modes, one descriptor shared by two processes, and a reader that waits.
#include "workload.h"
#include <sys/eventfd.h>

static int plain, semaphore, nonblocking, empty, full;
static atomic_int *woken;

static void *wait_for_event(void *unused) {
    for (;;) {
        uint64_t value = 0;
        ssize_t n = read(empty, &value, 8);
        expect(n == 8 && value == 9, "a waiting reader got %zd bytes, value %lu: %s", n, value, strerror(errno));
        atomic_fetch_add(woken, 1);
    }
    return unused;
}

static void become_reader(void) {
    start_thread(wait_for_event, 0);
}

static void expect_value(int event, const char *name, uint64_t value) {
    uint64_t is = 0;
    ssize_t n = read(event, &is, 8);
    expect(n == 8 && is == value, "%s: read %zd bytes, value %lu", name, n, is);
}

int main(void) {
    begin();
    plain = must(eventfd(5, 0));
    semaphore = must(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
    nonblocking = must(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    empty = must(eventfd(0, 0));
    full = must(eventfd(0, EFD_NONBLOCK));
    uint64_t most = 0xfffffffffffffffe, nine = 9, one = 1;
    must(write(full, &most, 8));
    woken = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hire(become_reader, 0);
    ready();
    for (;;) {
        await_question();
        uint64_t value;
        expect_value(plain, "plain", 5);
        for (int i = 0; i < 3; i++) expect_value(semaphore, "semaphore", 1);
        expect(read(semaphore, &value, 8) == -1 && errno == EAGAIN, "the semaphore holds more than three");
        expect(read(nonblocking, &value, 8) == -1 && errno == EAGAIN, "an empty counter has a value");
        expect(write(full, &one, 8) == -1 && errno == EAGAIN, "a full counter takes more");
        expect_value(full, "full", most);
        int before = atomic_load(woken);
        must(write(empty, &nine, 8));
        expect(within(5, atomic_load(woken) == before + 1), "the waiting reader in the child is not woken");
        value = 5, must(write(plain, &value, 8));
        value = 3, must(write(semaphore, &value, 8));
        must(write(full, &most, 8));
        verdict();
    }
}
