// Addresses, routes, routing rules, neighbours that were added to what the container started with, and of that what was
// taken away. Sockets use them.
// capabilities: CAP_NET_ADMIN
#include "rtnetlink.h"
#include <linux/neighbour.h>
#include <net/if.h>
#include <netinet/in.h>

#define CREATE (NLM_F_CREATE | NLM_F_EXCL)

static struct message *address(int type, const char *text, int length, int scope) {
    bool is6 = strchr(text, ':');
    struct ifaddrmsg head = {is6 ? AF_INET6 : AF_INET, length, 0, scope, 1};
    struct message *message = start(type, type == RTM_NEWADDR ? CREATE : 0, &head, sizeof head);
    add_address(message, IFA_LOCAL, text);
    return message;
}

static struct message *route(int family, int length, int table, int kind) {
    struct rtmsg head = {family, length, 0, 0, 0, RTPROT_STATIC, RT_SCOPE_UNIVERSE, kind, 0};
    struct message *message = start(RTM_NEWROUTE, CREATE, &head, sizeof head);
    add_number(message, RTA_TABLE, table);
    return message;
}

static struct message *rule(int type, int family, int action, int priority, int length) {
    struct fib_rule_hdr head = {.family = family, .src_len = length, .action = action};
    struct message *message = start(type, type == RTM_NEWRULE ? CREATE : 0, &head, sizeof head);
    add_number(message, FRA_PRIORITY, priority);
    return message;
}

static struct message *neighbour(const char *text, int flags) {
    bool is6 = strchr(text, ':');
    struct ndmsg head = {.ndm_family = is6 ? AF_INET6 : AF_INET, .ndm_ifindex = 1, .ndm_state = NUD_PERMANENT, .ndm_flags = flags};
    struct message *message = start(RTM_NEWNEIGH, CREATE, &head, sizeof head);
    add_address(message, NDA_DST, text);
    // On lo all of IPv4 are one neighbour, 0.0.0.0, and nothing arrives that is sent to another hardware address.
    if (!(flags & NTF_PROXY)) add(message, NDA_LLADDR, is6 ? "\2\0\0\0\0\7" : "\0\0\0\0\0\0", 6);
    return message;
}

static void change_interface(void) {
    struct ifinfomsg head = {.ifi_index = 1, .ifi_flags = IFF_PROMISC | IFF_ALLMULTI, .ifi_change = IFF_PROMISC | IFF_ALLMULTI};
    struct message *message = start(RTM_NEWLINK, 0, &head, sizeof head);
    add_number(message, IFLA_MTU, 20000);
    add_number(message, IFLA_TXQLEN, 77);
    add_number(message, IFLA_GROUP, 5);
    add_text(message, IFLA_IFALIAS, "the one that was there");
    done(message);
}

static void add_addresses(void) {
    struct message *message;
    message = address(RTM_NEWADDR, "127.0.0.2", 8, RT_SCOPE_HOST);   // a second one of its network
    add_text(message, IFA_LABEL, "lo:two");
    done(message);
    message = address(RTM_NEWADDR, "10.9.8.7", 24, RT_SCOPE_LINK);
    add_address(message, IFA_BROADCAST, "10.9.8.255");
    add_number(message, IFA_RT_PRIORITY, 300);
    done(message);
    message = address(RTM_NEWADDR, "10.1.1.1", 32, RT_SCOPE_UNIVERSE);
    add_address(message, IFA_ADDRESS, "10.1.1.2");   // the other end's
    add_number(message, IFA_FLAGS, IFA_F_NOPREFIXROUTE);
    done(message);
    message = address(RTM_NEWADDR, "10.1.2.1", 24, RT_SCOPE_UNIVERSE);
    add(message, IFA_CACHEINFO, &(struct ifa_cacheinfo){5000, 9000, 0, 0}, sizeof(struct ifa_cacheinfo));
    done(message);
    done(address(RTM_NEWADDR, "fd00::5", 64, RT_SCOPE_UNIVERSE));
    message = address(RTM_NEWADDR, "fd00::6", 64, RT_SCOPE_UNIVERSE);
    add_number(message, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
    done(message);
    message = address(RTM_NEWADDR, "fd01::6", 64, RT_SCOPE_UNIVERSE);
    add(message, IFA_CACHEINFO, &(struct ifa_cacheinfo){0, 9000, 0, 0}, sizeof(struct ifa_cacheinfo));   // not for new connections
    done(message);
}

static void add_routes(void) {
    struct message *message = route(AF_INET, 16, 254, RTN_UNICAST);
    ((struct rtmsg *)message->body)->rtm_scope = RT_SCOPE_LINK;
    add_address(message, RTA_DST, "10.50.0.0");
    add_number(message, RTA_OIF, 1);
    struct rtattr *metrics = nest(message, RTA_METRICS);
    add_number(message, RTAX_LOCK, 1 << RTAX_MTU);
    add_number(message, RTAX_MTU, 1234);
    add_number(message, RTAX_ADVMSS, 1000);
    add_text(message, RTAX_CC_ALGO, "reno");
    unnest(message, metrics);
    done(message);
    // Its gateway is behind the one above, which comes later in the kernel's list.
    message = route(AF_INET, 16, 254, RTN_UNICAST);
    add_address(message, RTA_DST, "10.20.0.0");
    add_address(message, RTA_GATEWAY, "10.50.0.9");
    add_number(message, RTA_PRIORITY, 7);
    add_address(message, RTA_PREFSRC, "10.9.8.7");
    done(message);
    message = route(AF_INET, 0, 100, RTN_UNICAST);
    struct { struct rtnexthop hop; struct rtattr attribute; struct in_addr gateway; } ways[2] = {
        {{sizeof ways[0], RTNH_F_ONLINK, 4, 1}, {8, RTA_GATEWAY}, {htonl(0x0a370001)}}, {{sizeof ways[0], RTNH_F_ONLINK, 0, 1}, {8, RTA_GATEWAY}, {htonl(0x0a370002)}}};
    add(message, RTA_MULTIPATH, ways, sizeof ways);
    done(message);
    static const int kinds[] = {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char text[20];
        snprintf(text, sizeof text, "10.60.%zu.0", i);
        message = route(AF_INET, 24, 1000 + i, kinds[i]);
        add_address(message, RTA_DST, text);
        done(message);
        snprintf(text, sizeof text, "fd60:%zu::", i);
        message = route(AF_INET6, 64, 1000 + i, kinds[i]);
        add_address(message, RTA_DST, text);
        done(message);
    }
    message = route(AF_INET6, 48, 254, RTN_UNICAST);
    add_address(message, RTA_DST, "fd70::");
    add_number(message, RTA_OIF, 1);
    add_number(message, RTA_PRIORITY, 50);
    add_byte(message, RTA_PREF, 1);   // ICMPV6_ROUTER_PREF_HIGH
    done(message);
    message = route(AF_INET, 32, 255, RTN_LOCAL);
    ((struct rtmsg *)message->body)->rtm_scope = RT_SCOPE_HOST;
    add_address(message, RTA_DST, "10.77.7.7");
    add_number(message, RTA_OIF, 1);
    done(message);
}

static bool everybody_has_an_id(void) {
    char line[64] = "";
    FILE *map = fopen("/proc/self/uid_map", "r");
    if (!map || !fgets(line, sizeof line, map)) give_up("uid_map", __LINE__);
    fclose(map);
    return strstr(line, "4294967295");
}

static void add_rules(void) {
    struct message *message = rule(RTM_NEWRULE, AF_INET, FR_ACT_TO_TBL, 100, 16);
    add_address(message, FRA_SRC, "10.1.0.0");
    add_number(message, FRA_TABLE, 100);
    add_number(message, FRA_FWMARK, 0x30), add_number(message, FRA_FWMASK, 0xf0);
    add_text(message, FRA_IIFNAME, "lo");
    done(message);
    message = rule(RTM_NEWRULE, AF_INET, FR_ACT_GOTO, 90, 0);
    add_number(message, FRA_GOTO, 32766);
    // Which is refused in a user namespace.
    if (everybody_has_an_id()) add(message, FRA_UID_RANGE, (unsigned[]){1000, 2000}, 8);
    add_byte(message, FRA_IP_PROTO, IPPROTO_TCP);
    add(message, FRA_DPORT_RANGE, (unsigned short[]){80, 90}, 4);
    done(message);
    message = rule(RTM_NEWRULE, AF_INET, FR_ACT_TO_TBL, 200, 0);
    ((struct fib_rule_hdr *)message->body)->flags = FIB_RULE_INVERT;
    add_number(message, FRA_TABLE, 254);
    add_number(message, FRA_SUPPRESS_PREFIXLEN, 0);
    add_text(message, FRA_OIFNAME, "nowhere");   // there is none of that name
    done(message);
    message = rule(RTM_NEWRULE, AF_INET6, FR_ACT_BLACKHOLE, 300, 32);
    add_address(message, FRA_SRC, "fd44::");
    done(message);
}

static void take_away(void) {
    // Of the start.
    struct message *message = rule(RTM_DELRULE, AF_INET, FR_ACT_TO_TBL, 32767, 0);
    add_number(message, FRA_TABLE, 253);
    done(message);
    // Made by the kernel with an address that came later.
    struct rtmsg head = {AF_INET, 32, 0, 0, 255, RTPROT_KERNEL, RT_SCOPE_LINK, RTN_BROADCAST, 0};
    message = start(RTM_DELROUTE, 0, &head, sizeof head);
    add_address(message, RTA_DST, "10.9.8.255");
    done(message);
    // And of the start.
    head.rtm_flags = 0;
    message = start(RTM_DELROUTE, 0, &head, sizeof head);
    add_address(message, RTA_DST, "127.255.255.255");
    done(message);
}

/// Seconds for which an address is valid.
static unsigned lifetime(const char *text) {
    static char buffer[1 << 16];
    bool is6 = strchr(text, ':');
    char bytes[16];
    inet_pton(is6 ? AF_INET6 : AF_INET, text, bytes);
    struct { struct nlmsghdr header; struct ifaddrmsg head; } request = {{sizeof request, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 0, 0}, {.ifa_family = AF_UNSPEC}};
    must(send(netlink(NETLINK_ROUTE), &request, sizeof request, 0));
    unsigned valid = 0;
    for (;;) {
        ssize_t size = must(recv(netlink(NETLINK_ROUTE), buffer, sizeof buffer, 0));
        for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
            if (m->nlmsg_type == NLMSG_DONE) return valid;
            struct ifaddrmsg *head = NLMSG_DATA(m);
            long left = IFA_PAYLOAD(m);
            bool is = false;
            for (struct rtattr *a = IFA_RTA(head); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
                if (a->rta_type == IFA_ADDRESS && RTA_PAYLOAD(a) == (is6 ? 16 : 4)) is = !memcmp(RTA_DATA(a), bytes, is6 ? 16 : 4);
                if (a->rta_type == IFA_CACHEINFO && is) valid = ((struct ifa_cacheinfo *)RTA_DATA(a))->ifa_valid;
            }
        }
    }
}

int main(void) {
    begin();
    change_interface();
    add_addresses();
    add_routes();
    add_rules();
    done(neighbour("10.4.4.4", 0));
    done(neighbour("fd00::4", NTF_ROUTER));
    done(neighbour("10.4.4.5", NTF_PROXY));
    done(neighbour("fd00::44", NTF_PROXY));
    take_away();
    int listener = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (void *)&(struct sockaddr_in){AF_INET, htons(4444), {htonl(0x0a090807)}, {0}}, sizeof(struct sockaddr_in)));
    must(listen(listener, 5));
    int receiver = must(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(5555)};
    inet_pton(AF_INET6, "fd00::5", &own.sin6_addr);
    if (!within(5, !bind(receiver, (void *)&own, sizeof own))) give_up("bind", __LINE__);   // while the kernel looks for others with the address
    remember(0);
    ready();
    for (;;) {
        await_question();
        expect_the_same();
        expect(lifetime("10.1.2.1") > 8000 && lifetime("10.1.2.1") <= 9000, "an address is valid for %u s", lifetime("10.1.2.1"));
        expect(lifetime("fd01::6") > 8000 && lifetime("fd01::6") <= 9000, "an address is valid for %u s", lifetime("fd01::6"));
        int caller = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        expect(!connect(caller, (void *)&(struct sockaddr_in){AF_INET, htons(4444), {htonl(0x0a090807)}, {0}}, sizeof(struct sockaddr_in)), "connect: %s", strerror(errno));
        close(caller);
        caller = accept4(listener, 0, 0, SOCK_CLOEXEC);
        close(caller);
        char byte = 0;
        expect(sendto(receiver, "x", 1, 0, (void *)&own, sizeof own) == 1 && recv(receiver, &byte, 1, 0) == 1, "a datagram: %s", strerror(errno));
        verdict();
    }
}
