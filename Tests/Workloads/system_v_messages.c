// System V message queues: messages of several types and sizes in order, a key, an owner, another limit, and a process that
// waits for a type.
#include "workload.h"
#include <sys/ipc.h>
#include <sys/msg.h>

enum { KEY = 0x3e55a6e, COUNT_OF_MESSAGES = 7 };

struct message {
    long type;
    char text[2000];
};

static const struct { long type; size_t size; } messages[COUNT_OF_MESSAGES] = {
    {3, 5}, {1, 0}, {3, 2000}, {2, 8}, {1L << 40, 9}, {1, 1}, {3, 7},
};
static int queue, meeting, empty;
static struct msqid_ds known_state;

static void fill(struct message *message, int index) {
    message->type = messages[index].type;
    memset(message->text, 'a' + index, messages[index].size);
}

/// Waits for messages of type 5, and sends them back as type 6.
static void serve(void) {
    struct message message;
    for (;;) {
        ssize_t size = msgrcv(meeting, &message, sizeof message.text, 5, 0);
        if (size < 0) continue;
        message.type = 6;
        msgsnd(meeting, &message, size, 0);
    }
}

static void check_message(int index) {
    struct message right, found;
    fill(&right, index);
    ssize_t size = msgrcv(queue, &found, sizeof found.text, index, MSG_COPY | IPC_NOWAIT);
    expect(size == (ssize_t)messages[index].size && found.type == right.type && !memcmp(found.text, right.text, size),
           "message %d: type %ld, %zd bytes", index, found.type, size);
}

int main(void) {
    begin();
    for (int i = 0; i < 3; i++) must(msgctl(must(msgget(IPC_PRIVATE, 0600)), IPC_RMID, 0));
    queue = must(msgget(KEY, IPC_CREAT | IPC_EXCL | 0640));
    for (int i = 0; i < COUNT_OF_MESSAGES; i++) {
        struct message message;
        fill(&message, i);
        must(msgsnd(queue, &message, messages[i].size, IPC_NOWAIT));
    }
    must(msgctl(queue, IPC_STAT, &known_state));
    known_state.msg_qbytes = 2100;
    known_state.msg_perm.uid = 33;
    known_state.msg_perm.gid = 44;
    must(msgctl(queue, IPC_SET, &known_state));
    meeting = must(msgget(IPC_PRIVATE, 0600));
    empty = must(msgget(IPC_PRIVATE, 0600));
    pid_t server = must(fork());
    if (!server) serve();
    ready();
    for (;;) {
        await_question();
        struct msqid_ds found;
        struct message message = {5, "hello"};
        expect(!msgctl(queue, IPC_STAT, &found) && found.msg_perm.__key == KEY && found.msg_perm.uid == 33
                   && found.msg_perm.gid == 44 && found.msg_perm.cuid == known_state.msg_perm.cuid
                   && found.msg_perm.cgid == known_state.msg_perm.cgid && found.msg_perm.mode == 0640
                   && found.msg_qbytes == 2100 && found.msg_qnum == COUNT_OF_MESSAGES,
               "the queue: key %x, user %d, group %d, mode %o, %lu bytes at most, %lu messages", found.msg_perm.__key,
               found.msg_perm.uid, found.msg_perm.gid, found.msg_perm.mode, found.msg_qbytes, found.msg_qnum);
        expect(msgget(KEY, 0) == queue, "the key leads to %d, not %d", msgget(KEY, 0), queue);
        for (int i = 0; i < COUNT_OF_MESSAGES; i++) check_message(i);
        expect(msgsnd(queue, &message, 100, IPC_NOWAIT) && errno == EAGAIN, "the full queue takes more");
        expect(!msgctl(empty, IPC_STAT, &found) && found.msg_qnum == 0, "%lu messages in the empty one", found.msg_qnum);
        expect(!msgsnd(meeting, &message, 6, IPC_NOWAIT), "cannot send: %s", strerror(errno));
        ssize_t size = -1;
        expect(within(5, (size = msgrcv(meeting, &message, sizeof message.text, 6, IPC_NOWAIT)) >= 0), "no answer");
        expect(size == 6 && !strcmp(message.text, "hello"), "%zd bytes: `%s`", size, message.text);
        verdict();
    }
}
