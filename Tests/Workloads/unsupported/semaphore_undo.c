// A semaphore that is to be put right when the process ends (SEM_UNDO).
// refused: sem_undo
#include "workload.h"
#include <sys/ipc.h>
#include <sys/sem.h>

int main(void) {
    begin();
    int set = must(semget(IPC_PRIVATE, 70, 0600));
    must(semctl(set, 69, SETVAL, 1));
    struct sembuf take = {69, -1, SEM_UNDO};
    must(semop(set, &take, 1));
    note("task %d\n", getpid());
    ready();
    for (;;) {
        await_question();
        expect(semctl(set, 69, GETVAL) == 0 && semctl(set, 68, GETVAL) == 0, "the semaphores have changed");
        pid_t child = fork();
        if (!child) _exit(semctl(set, 69, GETPID) == getppid() ? 0 : 1);
        int status = 1;
        waitpid(child, &status, 0);
        expect(!status, "somebody else has used it");
        verdict();
    }
}
