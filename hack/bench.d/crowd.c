// crowd PROCESSES THREADS MAPPINGS DESCRIPTORS
//
// So many processes with so many threads each, which wait; the first thread of the first process watches the clocks (watch.h).
// It has so many more mappings of one page, every second of them written to, and descriptors, each of an open file of its own.
#include "watch.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

static uint32_t *pages;
static long processes, threads, mappings, descriptors;

static void *wait_for_ever(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void make_threads(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, wait_for_ever, 0)) exit(1);
    }
}

static int is_whole(void) {
    for (long i = 0; i < mappings; i += 2)
        if (pages[i * 1024] != i + 1) return 0;
    for (long i = 0; i < descriptors; i++)
        if (fcntl(3 + i, F_GETFD) < 0) return 0;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    processes = atol(argv[1]), threads = atol(argv[2]), mappings = atol(argv[3]), descriptors = atol(argv[4]);
    sigset_t question;
    sigemptyset(&question);
    sigaddset(&question, SIGUSR1);
    sigprocmask(SIG_BLOCK, &question, 0); // The watching thread's alone.
    for (long i = 1; i < processes; i++) {
        if (fork()) continue;
        make_threads();
        wait_for_ever(0);
    }
    make_threads();
    if (mappings > 0) {
        pages = mmap(0, mappings * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) return 1;
    }
    for (long i = 0; i < mappings; i++) {
        if (i % 2 == 0) pages[i * 1024] = i + 1;
        else if (mprotect(pages + i * 1024, 4096, PROT_READ)) return 1;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (long i = 0; i < descriptors; i++)
        if (open(argv[0], O_RDONLY) != 3 + i) return 1;
    sigprocmask(SIG_UNBLOCK, &question, 0);
    return watch(is_whole);
}
