// System V semaphores: values, a key, an owner, a process that waits, and SEM_UNDO of which nothing is left to undo, in a
// program of several threads.
#include "workload.h"
#include <sys/ipc.h>
#include <sys/sem.h>

enum { KEY = 0x5e3a };

static int many, meeting;
static struct semid_ds known_state;

static void change(int set, int number, int by, int flags) {
    struct sembuf step = {number, by, flags};
    while (semop(set, &step, 1) && errno == EINTR) {}
}

/// Waits for the first semaphore, and then answers by the second.
static void serve(void) {
    for (;;) {
        change(meeting, 0, -1, 0);
        change(meeting, 1, 1, 0);
    }
}

static void *idle(void *nothing) {
    for (;;) pause();
    return nothing;
}

int main(void) {
    begin();
    for (int i = 0; i < 3; i++) must(semctl(must(semget(IPC_PRIVATE, 1, 0600)), 0, IPC_RMID));
    many = must(semget(KEY, 200, IPC_CREAT | IPC_EXCL | 0640));
    for (int i = 0; i < 200; i++) must(semctl(many, i, SETVAL, i * 164));
    must(semctl(many, 199, SETVAL, 32767));
    must(semctl(many, 0, IPC_STAT, &known_state));
    known_state.sem_perm.uid = 33;
    known_state.sem_perm.gid = 44;
    must(semctl(many, 0, IPC_SET, &known_state));
    meeting = must(semget(IPC_PRIVATE, 3, 0600));
    change(meeting, 2, 5, SEM_UNDO);
    change(meeting, 2, -5, SEM_UNDO);
    start_thread(idle, 0);
    pid_t server = must(fork());
    if (!server) serve();
    ready();
    for (;;) {
        await_question();
        struct semid_ds found;
        expect(!semctl(many, 0, IPC_STAT, &found) && found.sem_perm.__key == KEY && found.sem_perm.uid == 33
                   && found.sem_perm.gid == 44 && found.sem_perm.cuid == known_state.sem_perm.cuid
                   && found.sem_perm.cgid == known_state.sem_perm.cgid && found.sem_perm.mode == 0640 && found.sem_nsems == 200,
               "the set: key %x, user %d, group %d, mode %o", found.sem_perm.__key, found.sem_perm.uid, found.sem_perm.gid,
               found.sem_perm.mode);
        expect(semget(KEY, 0, 0) == many, "the key leads to %d, not %d", semget(KEY, 0, 0), many);
        for (int i = 0; i < 200; i++) {
            int value = semctl(many, i, GETVAL), right = i == 199 ? 32767 : i * 164;
            if (value == right) continue;
            expect(false, "semaphore %d is %d", i, value);
            break;
        }
        expect(semctl(meeting, 2, GETVAL) == 0, "something was undone");
        expect(within(5, semctl(meeting, 0, GETNCNT) == 1), "%d wait", semctl(meeting, 0, GETNCNT));
        change(meeting, 0, 1, 0);
        struct sembuf taken = {1, -1, 0};
        struct timespec limit = {5, 0};
        expect(!semtimedop(meeting, &taken, 1, &limit), "who waited does not answer: %s", strerror(errno));
        verdict();
    }
}
