// Interfaces that were made inside: a bridge with its settings and two ports, a pair whose ends are both here, and one on top of
// another; with addresses, routes, neighbours, forwarding entries. Traffic goes through them.
// capabilities: CAP_NET_ADMIN CAP_NET_RAW
#include "rtnetlink.h"
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>

#define CREATE (NLM_F_CREATE | NLM_F_EXCL)

static struct message *link_message(int flags, int index, unsigned set, unsigned change) {
    struct ifinfomsg head = {.ifi_index = index, .ifi_flags = set, .ifi_change = change};
    return start(RTM_NEWLINK, flags, &head, sizeof head);
}

static void make(const char *name, const char *kind, int index, int lower) {
    struct message *message = link_message(CREATE, index, 0, 0);
    add_text(message, IFLA_IFNAME, name);
    if (lower) add_number(message, IFLA_LINK, lower);
    struct rtattr *information = nest(message, IFLA_LINKINFO);
    add_text(message, IFLA_INFO_KIND, kind);
    struct rtattr *data = nest(message, IFLA_INFO_DATA);
    if (!strcmp(kind, "macvlan")) add_number(message, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
    unnest(message, data);
    unnest(message, information);
    done(message);
}

static void make_pair(const char *name, int index, const char *other, int other_index) {
    struct message *message = link_message(CREATE, index, 0, 0);
    add_text(message, IFLA_IFNAME, name);
    struct rtattr *information = nest(message, IFLA_LINKINFO);
    add_text(message, IFLA_INFO_KIND, "veth");
    struct rtattr *data = nest(message, IFLA_INFO_DATA), *peer = nest(message, VETH_INFO_PEER);
    struct ifinfomsg head = {.ifi_index = other_index};
    memcpy((char *)message + message->header.nlmsg_len, &head, sizeof head);
    message->header.nlmsg_len += sizeof head;
    add_text(message, IFLA_IFNAME, other);
    unnest(message, peer), unnest(message, data), unnest(message, information);
    done(message);
}

static void set_bridge(int index) {
    struct message *message = link_message(0, index, 0, 0);
    add_text(message, IFLA_IFALIAS, "a bridge of ours");
    add_number(message, IFLA_GROUP, 9);
    struct rtattr *information = nest(message, IFLA_LINKINFO);
    add_text(message, IFLA_INFO_KIND, "bridge");
    struct rtattr *data = nest(message, IFLA_INFO_DATA);
    add_number(message, IFLA_BR_FORWARD_DELAY, 400);
    add_number(message, IFLA_BR_HELLO_TIME, 300);
    add_number(message, IFLA_BR_AGEING_TIME, 12300);
    add(message, IFLA_BR_PRIORITY, &(unsigned short){4096}, 2);
    add_byte(message, IFLA_BR_MCAST_SNOOPING, 0);
    unnest(message, data), unnest(message, information);
    done(message);
}

static void set_port(int index, int bridge, bool is_special) {
    struct message *message = link_message(0, index, 0, 0);
    add_number(message, IFLA_MASTER, bridge);
    done(message);
    if (!is_special) return;
    message = link_message(0, index, 0, 0);
    struct rtattr *information = nest(message, IFLA_LINKINFO);
    add_text(message, IFLA_INFO_SLAVE_KIND, "bridge");
    struct rtattr *data = nest(message, IFLA_INFO_SLAVE_DATA);
    add_number(message, IFLA_BRPORT_COST, 55);
    add_byte(message, IFLA_BRPORT_MODE, 1);
    add_byte(message, IFLA_BRPORT_ISOLATED, 1);
    unnest(message, data), unnest(message, information);
    done(message);
}

static void bring_up(int index, unsigned more, int mtu) {
    struct message *message = link_message(0, index, IFF_UP | more, IFF_UP | more);
    if (mtu) add_number(message, IFLA_MTU, mtu);
    done(message);
}

static void add_ip(int index, const char *text, int length) {
    bool is6 = strchr(text, ':');
    struct ifaddrmsg head = {is6 ? AF_INET6 : AF_INET, length, 0, RT_SCOPE_UNIVERSE, index};
    struct message *message = start(RTM_NEWADDR, CREATE, &head, sizeof head);
    add_address(message, IFA_LOCAL, text);
    done(message);
}

static void add_neighbour(int family, int index, const char *address, const char *hardware, int state, int flags) {
    struct ndmsg head = {.ndm_family = family, .ndm_ifindex = index, .ndm_state = state, .ndm_flags = flags};
    struct message *message = start(RTM_NEWNEIGH, CREATE, &head, sizeof head);
    if (address) add_address(message, NDA_DST, address);
    add(message, NDA_LLADDR, hardware, 6);
    done(message);
}

/// A datagram from one of our addresses to another.
static void expect_traffic(const char *from, const char *to) {
    int receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {AF_INET, 0, {0}, {0}}, there = {AF_INET, htons(7777), {0}, {0}};
    inet_pton(AF_INET, from, &here.sin_addr), inet_pton(AF_INET, to, &there.sin_addr);
    expect(!bind(receiver, (void *)&there, sizeof there), "bind to %s: %s", to, strerror(errno));
    expect(!bind(sender, (void *)&here, sizeof here), "bind to %s: %s", from, strerror(errno));
    expect(sendto(sender, "x", 1, 0, (void *)&there, sizeof there) == 1, "send to %s: %s", to, strerror(errno));
    char byte = 0;
    expect(within(2, recv(receiver, &byte, 1, MSG_DONTWAIT) == 1), "nothing comes to %s", to);
    close(receiver), close(sender);
}

int main(void) {
    begin();
    make("br0", "bridge", 50, 0);
    make_pair("left", 61, "right", 60);
    make_pair("port", 71, "far", 72);
    make("quiet", "ifb", 80, 0);
    make("upper", "macvlan", 40, 72);   // its number comes before that of what it is made of
    set_bridge(50);
    set_port(61, 50, false);
    set_port(71, 50, true);
    bring_up(60, 0, 1400), bring_up(61, IFF_PROMISC, 1400), bring_up(71, 0, 0), bring_up(72, 0, 0), bring_up(50, 0, 1300);
    bring_up(40, IFF_ALLMULTI, 0);
    add_ip(50, "10.7.0.1", 24), add_ip(60, "10.7.1.2", 24), add_ip(72, "10.7.2.3", 24), add_ip(40, "10.7.3.4", 24);
    add_ip(50, "fd07::1", 64);
    add_neighbour(AF_INET, 50, "10.7.0.99", "\2\0\0\0\0\x63", NUD_PERMANENT, 0);
    add_neighbour(AF_BRIDGE, 71, 0, "\2\0\0\0\0\x64", NUD_NOARP, NTF_MASTER);
    struct rtmsg head = {AF_INET, 16, 0, 0, 254, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0};
    struct message *message = start(RTM_NEWROUTE, CREATE, &head, sizeof head);
    add_address(message, RTA_DST, "10.88.0.0");
    add_address(message, RTA_GATEWAY, "10.7.0.254");
    done(message);
    int listener = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (void *)&(struct sockaddr_in){AF_INET, htons(4444), {htonl(0x0a070001)}, {0}}, sizeof(struct sockaddr_in)));
    must(listen(listener, 5));
    remember(6);
    ready();
    for (;;) {
        await_question();
        expect_the_same();
        expect(if_nametoindex("br0") == 50 && if_nametoindex("left") == 61 && if_nametoindex("upper") == 40, "other numbers");
        expect_traffic("10.7.0.1", "10.7.1.2");
        expect_traffic("10.7.2.3", "10.7.0.1");
        verdict();
    }
}
