// A System V segment, a semaphore set and a message queue with a message.
// refused: system v
#include "workload.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

int main(void) {
    begin();
    int segment = must(shmget(IPC_PRIVATE, PAGE, 0600)), set = must(semget(IPC_PRIVATE, 2, 0600));
    int queue = must(msgget(IPC_PRIVATE, 0600));
    struct { long type; char text[8]; } message = {7, "waiting"};
    must(msgsnd(queue, &message, sizeof message.text, 0));
    must(semctl(set, 1, SETVAL, 5));
    note("task %d\n", getpid());
    ready();
    for (;;) {
        await_question();
        struct shmid_ds held;
        struct msqid_ds waiting;
        expect(shmctl(segment, IPC_STAT, &held) == 0 && held.shm_segsz == PAGE, "the segment is gone");
        expect(semctl(set, 1, GETVAL) == 5, "the semaphore is not 5");
        expect(msgctl(queue, IPC_STAT, &waiting) == 0 && waiting.msg_qnum == 1, "the message is gone");
        verdict();
    }
}
