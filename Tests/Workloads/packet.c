// Packet sockets: new, bound to an interface or to none, with options, memberships and a fanout group. Frames still go where they went.
// capabilities: CAP_NET_RAW
#include "workload.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#define PROTO 0x88b5
#define OTHER 0x88b6

enum { NEW, ANYWHERE, ON_LO, COOKED, SILENT, RICH, MEMBER, TWIN, OTHER_TWIN, ALL };
static const struct kind { int type, proto, bound; } kinds[ALL] = {
    [NEW] = {SOCK_RAW, 0, 0}, [ANYWHERE] = {SOCK_RAW, PROTO, 0}, [ON_LO] = {SOCK_RAW, PROTO, 1}, [COOKED] = {SOCK_DGRAM, PROTO, 1},
    [SILENT] = {SOCK_DGRAM, 0, 1}, [RICH] = {SOCK_RAW, PROTO, 1}, [MEMBER] = {SOCK_RAW, 0, 0}, [TWIN] = {SOCK_RAW, OTHER, 1},
    [OTHER_TWIN] = {SOCK_RAW, OTHER, 1},
};
static const struct option { int level, name, value; } options[] = {
    {SOL_PACKET, PACKET_VERSION, TPACKET_V2}, {SOL_PACKET, PACKET_RESERVE, 32}, {SOL_PACKET, PACKET_COPY_THRESH, 700},
    {SOL_PACKET, PACKET_AUXDATA, 1}, {SOL_PACKET, PACKET_ORIGDEV, 1}, {SOL_PACKET, PACKET_VNET_HDR, 1}, {SOL_PACKET, PACKET_LOSS, 1},
    {SOL_PACKET, PACKET_TIMESTAMP, 64}, {SOL_PACKET, PACKET_QDISC_BYPASS, 1}, {SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, 1},
    {SOL_SOCKET, SO_RCVBUF, 40000}, {SOL_SOCKET, SO_TIMESTAMPNS, 1},
};
static int sockets[ALL], values[COUNT(options)], lo, fanout;
static struct sockaddr_ll names[ALL];

static int option(int socket, int level, int name) {
    int is = -1;
    getsockopt(socket, level, name, &is, &(socklen_t){sizeof is});
    return is;
}

/// Waits for one if it is expected, and says how many there are.
static int frames(int i, bool expected) {
    char room[200];
    int count = 0;
    struct pollfd wait = {sockets[i], POLLIN, 0};
    if (expected) poll(&wait, 1, 2000);
    while (recv(sockets[i], room, sizeof room, MSG_DONTWAIT) >= 0) count++;
    return count;
}

static void send_frame(int socket, int proto) {
    char frame[64] = {0};
    frame[12] = (char)(proto >> 8), frame[13] = (char)proto;
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = lo, .sll_protocol = htons(proto), .sll_halen = 6};
    expect(sendto(socket, frame, sizeof frame, 0, (void *)&to, sizeof to) == sizeof frame, "cannot send: %s", strerror(errno));
}

/// Whether lo listens to the group of the member, and to everything.
static void expect_memberships(void) {
    char line[200];
    int users = 0;
    FILE *file = fopen("/proc/net/dev_mcast", "r");
    while (file && fgets(line, sizeof line, file)) if (strstr(line, "01005e010107")) sscanf(line, "%*d %*s %d", &users);
    if (file) fclose(file);
    expect(users == 1, "the group has %d users", users);
    unsigned flags = 0;
    file = fopen("/sys/class/net/lo/flags", "r");
    if (file && fscanf(file, "%x", &flags) != 1) flags = 0;
    if (file) fclose(file);
    expect(flags & IFF_PROMISC, "lo has flags %x", flags);
}

static void member(int type, const char *address) {
    struct packet_mreq request = {.mr_ifindex = lo, .mr_type = type, .mr_alen = address ? 6 : 0};
    if (address) memcpy(request.mr_address, address, 6);
    must(setsockopt(sockets[MEMBER], SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request));
}

static void set_up(void) {
    lo = must((int)if_nametoindex("lo"));
    for (int i = 0; i < ALL; i++) {
        sockets[i] = must(socket(AF_PACKET, kinds[i].type | SOCK_CLOEXEC, kinds[i].bound ? 0 : htons(kinds[i].proto)));
        struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(kinds[i].proto), .sll_ifindex = lo};
        if (i == RICH)
            for (size_t o = 0; o < COUNT(options); o++) {
                int before = option(sockets[i], options[o].level, options[o].name);
                must(setsockopt(sockets[i], options[o].level, options[o].name, &options[o].value, sizeof(int)));
                values[o] = option(sockets[i], options[o].level, options[o].name);
                // Of COPY_THRESH older kernels (6.1) tell nothing.
                if (before == values[o] && before != -1) give_up("an option", __LINE__ + (int)o);
            }
        if (kinds[i].bound) must(bind(sockets[i], (void *)&name, sizeof name));
    }
    member(PACKET_MR_MULTICAST, "\x01\x00\x5e\x01\x01\x07");
    member(PACKET_MR_PROMISC, 0);
    member(PACKET_MR_PROMISC, 0);
    for (int i = TWIN; i <= OTHER_TWIN; i++)
        must(setsockopt(sockets[i], SOL_PACKET, PACKET_FANOUT, &(int){5 | PACKET_FANOUT_LB << 16}, sizeof(int)));
    fanout = option(sockets[TWIN], SOL_PACKET, PACKET_FANOUT);
    for (int i = 0; i < ALL; i++) getsockname(sockets[i], (void *)&names[i], &(socklen_t){sizeof names[i]});
}

static void check(void) {
    for (int i = 0; i < ALL; i++) {
        struct sockaddr_ll name = {0};
        getsockname(sockets[i], (void *)&name, &(socklen_t){sizeof name});
        expect(!memcmp(&name, &names[i], sizeof name), "socket %d was bound to %d for %x, is to %d for %x", i, names[i].sll_ifindex,
               names[i].sll_protocol, name.sll_ifindex, name.sll_protocol);
        expect(option(sockets[i], SOL_SOCKET, SO_TYPE) == kinds[i].type, "socket %d is of another type", i);
        expect(option(sockets[i], SOL_PACKET, PACKET_FANOUT) == (i < TWIN ? 0 : fanout), "socket %d is in another fanout group", i);
    }
    for (size_t o = 0; o < COUNT(options); o++) {
        int is = option(sockets[RICH], options[o].level, options[o].name);
        expect(is == values[o], "option %d/%d was %d, is %d", options[o].level, options[o].name, values[o], is);
    }
    expect(!option(sockets[ON_LO], SOL_PACKET, PACKET_AUXDATA), "another socket's option");
    expect_memberships();
    send_frame(sockets[NEW], PROTO);
    for (int i = 0; i < ALL; i++) {
        bool receives = kinds[i].proto == PROTO;
        int got = frames(i, receives);
        expect(got == receives, "socket %d got %d frames", i, got);
    }
    for (int i = 0; i < 4; i++) send_frame(sockets[NEW], OTHER);
    int first = frames(TWIN, true), second = frames(OTHER_TWIN, true);
    expect(first == 2 && second == 2, "of four frames the twins got %d and %d", first, second);
    expect(!frames(ON_LO, false), "a frame of another protocol");
}

int main(void) {
    begin();
    set_up();
    check();
    if (my_faults[0]) give_up(my_faults, __LINE__);
    serve_checks(check);
}
