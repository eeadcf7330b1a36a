// Datagrams that wait in bound sockets, by path and by an abstract name: each with its borders, its sender's name and
// credentials and a file, from senders without a name, with one, that connected, and that are closed by now.
#include "workload.h"
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char *const boxes[] = {"/state/box", "@box"};
static int box[2], living, writer;

static socklen_t name_of(const char *text, struct sockaddr_un *name) {
    *name = (struct sockaddr_un){AF_UNIX, ""};
    strcpy(name->sun_path, text);
    if (*text == '@') name->sun_path[0] = 0;
    return offsetof(struct sockaddr_un, sun_path) + strlen(text) + (*text != '@');
}

static int bind_to(const char *text) {
    struct sockaddr_un name;
    socklen_t length = name_of(text, &name);
    int made = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(bind(made, (struct sockaddr *)&name, length));
    return made;
}

static void post(int sender, const char *text, int to) {
    struct sockaddr_un name;
    socklen_t length = name_of(boxes[to], &name);
    must(sendto(sender, text, strlen(text), 0, (struct sockaddr *)&name, length));
}

static void post_file(int sender, const char *text, int to) {
    struct sockaddr_un name;
    socklen_t length = name_of(boxes[to], &name);
    char control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec all = {(char *)text, strlen(text)};
    struct msghdr message = {&name, length, &all, 1, control, sizeof control, 0};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    int file = must(eventfd(5, EFD_CLOEXEC));
    memcpy(CMSG_DATA(header), &file, sizeof file);
    must(sendmsg(sender, &message, 0));
    close(file);
}

static void expect_letter(int from, const char *text, const char *sender, bool has_file) {
    char bytes[100] = "", control[200];
    struct sockaddr_un is = {0}, wanted;
    struct iovec all = {bytes, 99};
    struct msghdr message = {&is, sizeof is, &all, 1, control, sizeof control, 0};
    ssize_t length = recvmsg(box[from], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    expect(length == (ssize_t)strlen(text) && !strcmp(bytes, text), "received '%s', not '%s'", bytes, text);
    if (length < 0) return;
    socklen_t wanted_length = sender ? name_of(sender, &wanted) : 0;
    expect(message.msg_namelen == wanted_length && (!sender || !memcmp(&is, &wanted, wanted_length)),
           "'%s' is from '%s', %d", text, is.sun_path, message.msg_namelen);
    bool is_signed = false;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred *who = (struct ucred *)CMSG_DATA(header);
            is_signed = who->pid == getpid() && who->uid == geteuid();
        } else if (header->cmsg_type == SCM_RIGHTS && has_file) {
            uint64_t count = 0;
            int file = *(int *)CMSG_DATA(header);
            expect(read(file, &count, 8) == 8 && count == 5, "'%s': its file has %lu", text, (unsigned long)count);
            close(file);
            has_file = false;
        }
    }
    expect(is_signed, "'%s' is not signed", text);
    expect(!has_file, "'%s' comes without its file", text);
}

static void fill(int to) {
    int unnamed = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    post(unnamed, "from nobody", to);
    close(unnamed);
    unlink("/state/closed");
    int closed = bind_to("/state/closed");
    post(closed, "farewell", to);
    close(closed);
    int hidden = bind_to("@gone");
    post_file(hidden, "with a file", to);
    close(hidden);
    post(living, "alive", to);
    post(living, "", to);
    post(living, "twice", to);
    if (!to) must(send(writer, "connected", 9, 0));
}

static void check(int from) {
    expect_letter(from, "from nobody", 0, false);
    expect_letter(from, "farewell", "/state/closed", false);
    expect_letter(from, "with a file", "@gone", true);
    expect_letter(from, "alive", "/state/living", false);
    expect_letter(from, "", "/state/living", false);
    expect_letter(from, "twice", "/state/living", false);
    if (!from) expect_letter(from, "connected", 0, false);
    char byte;
    expect(recv(box[from], &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "one letter too many");
}

int main(void) {
    begin();
    living = bind_to("/state/living");
    for (int i = 0; i < 2; i++) {
        box[i] = bind_to(boxes[i]);
        must(setsockopt(box[i], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
    }
    struct sockaddr_un name;
    socklen_t length = name_of(boxes[0], &name);
    writer = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(connect(writer, (struct sockaddr *)&name, length));
    fill(0), fill(1);
    ready();
    for (;;) {
        await_question();
        check(0), check(1);
        fill(0), fill(1);
        verdict();
    }
}
