// Datagrams that nobody has received yet: from several senders, short and long ones, over IPv4, IPv6 and IPv4 in IPv6; in sockets
// that are bound, connected since, or have a filter since.
#include "workload.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <sys/socket.h>

#define LONG 20000

enum { BOUND, CONNECTED, SIX, FILTERED, ALL };
static int receivers[ALL], senders[2], senders6[2];
static struct sockaddr_storage names[4];
static struct sockaddr_in6 to6;
static struct sockaddr_in to[ALL];

static socklen_t size(const struct sockaddr_storage *name) { return name->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6); }

static int bound(int family, const char *address, struct sockaddr_storage *name) {
    int made = must(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    memset(name, 0, sizeof *name);
    name->ss_family = family;
    inet_pton(family, address, family == AF_INET ? (void *)&((struct sockaddr_in *)name)->sin_addr : &((struct sockaddr_in6 *)name)->sin6_addr);
    must(bind(made, (void *)name, size(name)));
    must(getsockname(made, (void *)name, &(socklen_t){sizeof *name}));
    return made;
}

static const char *text(int i) {
    static char room[LONG + 1];
    memset(room, 'a' + i, LONG);
    room[i == 2 ? LONG : 1 + i] = 0;
    return room;
}

/// Five, of which the third is long.
static void fill(int r) {
    for (int i = 0; i < 5; i++) {
        const char *bytes = text(i);
        bool is6 = r == SIX && i % 2;
        const void *name = is6 ? (void *)&to6 : (void *)&to[r];
        int sender = is6 ? senders6[i / 2] : senders[r == CONNECTED && i > 2 ? 1 : i % 2];
        ssize_t sent = sendto(sender, bytes, strlen(bytes), 0, name, is6 ? sizeof to6 : sizeof *to);
        expect(sent == (ssize_t)strlen(bytes), "cannot send %d: %s", i, strerror(errno));
    }
}

static void expect_datagram(int r, int i) {
    static char got[LONG + 1];
    struct sockaddr_storage from = {0};
    ssize_t length = recvfrom(receivers[r], got, LONG, MSG_DONTWAIT, (void *)&from, &(socklen_t){sizeof from});
    const char *bytes = text(i);
    expect(length == (ssize_t)strlen(bytes) && !memcmp(got, bytes, length), "receiver %d: datagram %d has %zd bytes: %s", r, i, length, strerror(errno));
    bool is6 = r == SIX && i % 2;
    const struct sockaddr_storage *sender = &names[is6 ? 2 + i / 2 : r == CONNECTED && i > 2 ? 1 : i % 2];
    if (r == SIX && !is6) {
        const struct sockaddr_in *four = (void *)sender;
        const struct sockaddr_in6 *six = (void *)&from;
        expect(IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr32[3] == four->sin_addr.s_addr && six->sin6_port == four->sin_port, "datagram %d over IPv4 is from another one", i);
    } else expect(!memcmp(&from, sender, size(sender)), "receiver %d: datagram %d is from another one", r, i);
}

static void set_up(void) {
    struct sockaddr_storage name;
    senders[0] = bound(AF_INET, "127.0.0.1", &names[0]), senders[1] = bound(AF_INET, "127.0.0.9", &names[1]);
    senders6[0] = bound(AF_INET6, "::1", &names[2]), senders6[1] = bound(AF_INET6, "::1", &names[3]);
    for (int r = 0; r < ALL; r++) {
        receivers[r] = bound(r == SIX ? AF_INET6 : AF_INET, r == SIX ? "::" : r == BOUND ? "127.0.0.1" : "0.0.0.0", &name);
        to[r] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        to[r].sin_port = r == SIX ? ((struct sockaddr_in6 *)&name)->sin6_port : ((struct sockaddr_in *)&name)->sin_port;
    }
    to6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = to[SIX].sin_port};
    for (int r = 0; r < ALL; r++) fill(r);
    must(connect(receivers[CONNECTED], (void *)&names[1], size(&names[1])));
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    must(setsockopt(receivers[FILTERED], SOL_SOCKET, SO_ATTACH_FILTER, &(struct sock_fprog){1, &nothing}, sizeof(struct sock_fprog)));
}

int main(void) {
    begin();
    set_up();
    if (my_faults[0]) give_up(my_faults, __LINE__);
    ready();
    for (;;) {
        await_question();
        // Two questions leave them, so that there are two checkpoints of them; the third takes all.
        for (int r = 0; questions == 3 && r < ALL; r++) {
            char byte;
            for (int i = 0; i < 5; i++) expect_datagram(r, i);
            expect(recv(receivers[r], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "receiver %d has more", r);
        }
        verdict();
    }
}
