// POSIX message queues: messages of several priorities and sizes in order, open in several ways, by nobody, and by a process
// that waits for a message; owner, mode, limits and times.
// capabilities: CAP_CHOWN CAP_FOWNER
#include "workload.h"
#include <mqueue.h>

enum { COUNT_OF_MESSAGES = 6 };

static const struct { unsigned priority; const char *text; } messages[COUNT_OF_MESSAGES] = {
    {32767, "first"}, {7, "second\0and more"}, {7, "third"}, {7, ""}, {2, "fifth"}, {0, "last"},
};
static mqd_t held, reader, to_child, from_child;
static struct timespec written;

static mqd_t make(const char *name, int flags, long most, long size) {
    struct mq_attr limits = {.mq_maxmsg = most, .mq_msgsize = size};
    return must(mq_open(name, flags | O_CREAT | O_EXCL | O_CLOEXEC, 0640, &limits));
}

static size_t size_of(int index) { return index == 1 ? 16 : strlen(messages[index].text); }

static void send_all(mqd_t queue) {
    static const int order[COUNT_OF_MESSAGES] = {4, 1, 5, 2, 0, 3};
    for (int i = 0; i < COUNT_OF_MESSAGES; i++)
        must(mq_send(queue, messages[order[i]].text, size_of(order[i]), messages[order[i]].priority));
}

/// Sends what it gets back, in capital letters.
static void serve(void) {
    char text[16];
    for (;;) {
        unsigned priority;
        ssize_t size = mq_receive(to_child, text, sizeof text, &priority);
        if (size < 0) continue;
        for (int i = 0; i < size; i++) text[i] -= 32;
        mq_send(from_child, text, size, priority + 1);
    }
}

static void check_messages(const char *name) {
    mqd_t queue = mq_open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    char text[64];
    for (int i = 0; i < COUNT_OF_MESSAGES; i++) {
        unsigned priority = 0;
        ssize_t size = mq_receive(queue, text, sizeof text, &priority);
        if (size == (ssize_t)size_of(i) && priority == messages[i].priority && !memcmp(text, messages[i].text, size)) continue;
        expect(false, "%s: message %d has %zd bytes and priority %u", name, i, size, priority);
    }
    expect(mq_receive(queue, text, sizeof text, 0) < 0 && errno == EAGAIN, "%s: there is more", name);
    send_all(queue);
    close(queue);
}

int main(void) {
    begin();
    held = make("/held", O_RDWR | O_NONBLOCK, 8, 64);
    send_all(held);
    reader = must(mq_open("/held", O_RDONLY | O_CLOEXEC));
    mqd_t nobodys = make("/a name\nof \xc3\xa9", O_RDWR, 6, 64);
    send_all(nobodys);
    must(fchown(nobodys, 33, 44));
    must(fchmod(nobodys, 0606));
    close(nobodys);
    must(fchmod(held, 0600));
    to_child = make("/to", O_RDWR, 2, 16);
    from_child = make("/from", O_RDWR, 2, 16);
    pid_t child = must(fork());
    if (!child) serve();
    struct stat status;
    must(fstat(held, &status));
    written = status.st_mtim;
    compared &= ~OFFSETS;
    ready();
    for (;;) {
        await_question();
        expect(!fstat(held, &status) && status.st_mode == 0100600 && status.st_mtim.tv_sec == written.tv_sec
                   && status.st_mtim.tv_nsec == written.tv_nsec,
               "mode %o, written at %ld.%09ld", status.st_mode, (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
        struct mq_attr now;
        expect(!mq_getattr(held, &now) && now.mq_maxmsg == 8 && now.mq_msgsize == 64 && now.mq_curmsgs == COUNT_OF_MESSAGES
                   && now.mq_flags == O_NONBLOCK,
               "%ld of %ld messages of %ld bytes, flags %lo", now.mq_curmsgs, now.mq_maxmsg, now.mq_msgsize, now.mq_flags);
        expect(!mq_getattr(reader, &now) && now.mq_flags == 0 && mq_send(reader, "x", 1, 0) < 0 && errno == EBADF, "the reader");
        check_messages("/held");
        must(fstat(held, &status));
        written = status.st_mtim;
        mqd_t other = mq_open("/a name\nof \xc3\xa9", O_RDONLY | O_CLOEXEC);
        expect(!fstat(other, &status) && status.st_uid == 33 && status.st_gid == 44 && status.st_mode == 0100606,
               "user %d, group %d, mode %o", status.st_uid, status.st_gid, status.st_mode);
        close(other);
        check_messages("/a name\nof \xc3\xa9");
        char text[16] = "";
        unsigned priority;
        struct timespec limit;
        clock_gettime(CLOCK_REALTIME, &limit);
        limit.tv_sec += 5;
        expect(!mq_send(to_child, "hello", 5, 3) && mq_timedreceive(from_child, text, sizeof text, &priority, &limit) == 5
                   && priority == 4 && !memcmp(text, "HELLO", 5),
               "who waited answers `%.5s`", text);
        verdict();
    }
}
