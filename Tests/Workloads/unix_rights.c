// Files under way in unix sockets: between the bytes of a stream, in packets and datagrams; such as a process has open,
// and such as only the socket has; several at once, and a socket with a file in its own queue. What is read before them
// comes without.
#include "workload.h"
#include <sys/eventfd.h>
#include <sys/socket.h>

static int stream[2], packet[2], datagram[2], credentials[2], shared;

static ssize_t send_with(int socket, const char *text, int count, const int *descriptors) {
    char control[CMSG_SPACE(8 * sizeof(int))] = "";
    struct iovec all = {(char *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &all, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
    return sendmsg(socket, &message, 0);
}

/// Sends a file that nobody has open any more then.
static void give(int socket, const char *text, int descriptor) {
    must(send_with(socket, text, 1, &descriptor));
    close(descriptor);
}

/// - Parameter sender: where its credentials are put; null if there are to be none.
static int receive(int socket, size_t limit, const char *text, int count, int *descriptors, struct ucred *sender) {
    char bytes[100] = "", control[200];
    struct iovec all = {bytes, limit};
    struct msghdr message = {.msg_iov = &all, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    expect(length == (ssize_t)strlen(text) && !strcmp(bytes, text), "received '%s', not '%s'", bytes, text);
    int got = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); length >= 0 && header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_type == SCM_CREDENTIALS && sender) memcpy(sender, CMSG_DATA(header), sizeof *sender);
        if (header->cmsg_type != SCM_RIGHTS) continue;
        got = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors, CMSG_DATA(header), got * sizeof(int));
    }
    expect(got == count, "'%s' comes with %d files, not %d", text, got, count);
    return got == count;
}

static int receive_one(int socket, size_t limit, const char *text) {
    int descriptor = -1;
    receive(socket, limit, text, 1, &descriptor, 0);
    return descriptor;
}

static void expect_content(int file, const char *content) {
    char bytes[100] = "";
    expect(file >= 0 && read(file, bytes, 99) == (ssize_t)strlen(content) && !strcmp(bytes, content), "read '%s', not '%s'", bytes, content);
}

/// A file that was received is the one that this process has open, too.
static void expect_shared(int received) {
    uint64_t one = 1, is = 0;
    expect(write(received, &one, 8) == 8 && read(shared, &is, 8) == 8 && is == 4, "the shared file is another one now");
    must(write(shared, &(uint64_t){3}, 8));
}

static void fill(void) {
    // A file at a position, between bytes that come without.
    must(send(stream[0], "begin", 5, 0));
    must(send(stream[0], "ning", 4, 0));
    int file = must(open("/state/file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    must(write(file, "the content", 11));
    must(lseek(file, 4, SEEK_SET));
    give(stream[0], "file", file);
    // One that was unlinked, right behind, then a file that a process has as well.
    int gone = must(open("/state/gone", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    must(write(gone, "unlinked", 8));
    must(unlink("/state/gone"));
    must(lseek(gone, 0, SEEK_SET));
    give(stream[0], "gone", gone);
    must(send(stream[0], "end", 3, 0));
    must(send_with(stream[0], "mine", 1, &shared));

    // A memory file and both ends of a pipe with content.
    int memory = must(memfd_create("memory", MFD_CLOEXEC)), ends[2];
    must(write(memory, "in memory", 9));
    must(lseek(memory, 3, SEEK_SET));
    must(pipe2(ends, O_CLOEXEC));
    must(write(ends[1], "in the pipe", 11));
    int several[] = {memory, ends[0], ends[1], shared};
    must(send(packet[0], "before", 6, 0));
    must(send_with(packet[0], "several", 4, several));
    must(send(packet[0], "after", 5, 0));
    close(memory), close(ends[0]), close(ends[1]);

    // A socket whose own queue has a file, and its other end; an empty message with a file.
    int inner[2], counter = must(eventfd(7, EFD_CLOEXEC));
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, inner));
    give(inner[0], "inner", counter);
    must(send(inner[1], "back", 4, 0));
    give(datagram[0], "socket", inner[1]);
    give(datagram[0], "other end", inner[0]);
    must(send_with(datagram[0], "", 1, &shared));

    give(credentials[0], "signed", must(eventfd(9, EFD_CLOEXEC)));
}

static void check_stream(void) {
    // Read by as many bytes as there are before the file.
    receive(stream[1], 3, "beg", 0, 0, 0);
    receive(stream[1], 6, "inning", 0, 0, 0);
    int file = receive_one(stream[1], 2, "fi");
    receive(stream[1], 2, "le", 0, 0, 0);
    expect_content(file, "content");
    int gone = receive_one(stream[1], 90, "gone");
    expect_content(gone, "unlinked");
    struct stat is;
    expect(!fstat(gone, &is) && is.st_nlink == 0, "the unlinked file has %lu names", (unsigned long)is.st_nlink);
    // Bytes before a file are given with it to who reads them all at once.
    int again = receive_one(stream[1], 90, "endmine");
    expect_shared(again);
    close(file), close(gone), close(again);
}

static void check_packets(void) {
    int got[4];
    receive(packet[1], 90, "before", 0, 0, 0);
    if (receive(packet[1], 90, "several", 4, got, 0)) {
        expect_content(got[0], "memory");
        expect_content(got[1], "in the pipe");
        expect(write(got[2], "again", 5) == 5, "the pipe cannot be written");
        expect_content(got[1], "again");
        expect_shared(got[3]);
        for (int i = 0; i < 4; i++) close(got[i]);
    }
    receive(packet[1], 90, "after", 0, 0, 0);
}

static void expect_counter(int counter, uint64_t value) {
    uint64_t is = 0;
    expect(counter >= 0 && read(counter, &is, 8) == 8 && is == value, "the counter has %lu", (unsigned long)is);
    close(counter);
}

static void check_datagrams(void) {
    int inner = receive_one(datagram[1], 90, "socket"), other = receive_one(datagram[1], 90, "other end");
    expect_counter(receive_one(inner, 90, "inner"), 7);
    receive(other, 90, "back", 0, 0, 0);
    expect(write(inner, "x", 1) == 1, "the socket under way is cut: %s", strerror(errno));
    receive(other, 90, "x", 0, 0, 0);
    close(inner), close(other);
    close(receive_one(datagram[1], 90, ""));
    struct ucred sender = {0};
    int counter = -1;
    receive(credentials[1], 90, "signed", 1, &counter, &sender);
    expect(sender.pid == getpid() && sender.uid == geteuid() && sender.gid == getegid(), "signed by %d, %d:%d", sender.pid, sender.uid, sender.gid);
    expect_counter(counter, 9);
}

int main(void) {
    begin();
    shared = must(eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK));
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packet));
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagram));
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, credentials));
    must(setsockopt(credentials[1], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
    fill();
    ready();
    for (;;) {
        await_question();
        check_stream();
        check_packets();
        check_datagrams();
        fill();
        verdict();
    }
}
