// Configures the network by netlink, and tells everything that is configured, as lines of text that can be compared: what
// time and packets change is left out.
#pragma once
#include "workload.h"
#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#pragma GCC diagnostic ignored "-Wunused-function"

struct message {
    struct nlmsghdr header;
    char body[16000];
};

/// A message with its fixed part.
static struct message *start(int type, int flags, const void *head, size_t size) {
    static struct message message;
    memset(&message, 0, sizeof message);
    message.header = (struct nlmsghdr){NLMSG_LENGTH(size), type, NLM_F_REQUEST | flags, 0, 0};
    memcpy(message.body, head, size);
    return &message;
}

static void add(struct message *message, int type, const void *value, size_t size) {
    struct rtattr *place = (void *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));
    *place = (struct rtattr){RTA_LENGTH(size), type};
    if (size) memcpy(RTA_DATA(place), value, size);
    message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(place->rta_len);
}

static void add_number(struct message *message, int type, unsigned value) { add(message, type, &value, 4); }
static void add_byte(struct message *message, int type, unsigned char value) { add(message, type, &value, 1); }
static void add_text(struct message *message, int type, const char *text) { add(message, type, text, strlen(text) + 1); }

static void add_address(struct message *message, int type, const char *text) {
    char bytes[16];
    bool is6 = strchr(text, ':');
    if (inet_pton(is6 ? AF_INET6 : AF_INET, text, bytes) != 1) give_up(text, __LINE__);
    add(message, type, bytes, is6 ? 16 : 4);
}

static struct rtattr *nest(struct message *message, int type) {
    struct rtattr *place = (void *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));
    add(message, type | NLA_F_NESTED, 0, 0);
    return place;
}

static void unnest(struct message *message, struct rtattr *place) {
    place->rta_len = (char *)message + message->header.nlmsg_len - (char *)place;
}

static int sockets[32];

static int netlink(int protocol) {
    if (!sockets[protocol]) sockets[protocol] = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    return sockets[protocol];
}

/// One of nftables cannot be checkpointed.
static void hang_up(int protocol) {
    if (sockets[protocol]) close(sockets[protocol]);
    sockets[protocol] = 0;
}

/// Sends it, and returns what the kernel says: 0 or −errno.
static int tell(struct message *message) {
    char answer[8192];
    message->header.nlmsg_flags |= NLM_F_ACK;
    must(send(netlink(NETLINK_ROUTE), message, message->header.nlmsg_len, 0));
    ssize_t size = must(recv(netlink(NETLINK_ROUTE), answer, sizeof answer, 0));
    struct nlmsghdr *header = (void *)answer;
    if (size < (ssize_t)NLMSG_LENGTH(4) || header->nlmsg_type != NLMSG_ERROR) give_up("an answer", __LINE__);
    return *(int *)NLMSG_DATA(header);
}

#define done(message)                                                                                                  \
    do {                                                                                                               \
        int error = tell(message);                                                                                     \
        if (error) errno = -error, give_up(#message, __LINE__);                                                        \
    } while (0)

// ---- what is configured ----

static char **lines;
static size_t line_count;

static void note_line(const char *line) {
    lines = realloc(lines, (line_count + 1) * sizeof *lines);
    lines[line_count++] = strdup(line);
}

/// `left out` ends with −1. Attributes in `opened` are lists of others, written one by one; in `opened` of those, the same.
static char *write_attributes(char *out, const char *at, long size, const int *left_out, const int (*inner)[12]) {
    for (const struct rtattr *a = (const void *)at; RTA_OK(a, size); a = RTA_NEXT(a, size)) {
        int type = a->rta_type & NLA_TYPE_MASK;
        bool skip = false;
        for (const int *l = left_out; *l >= 0; l++) skip |= *l == type;
        if (skip) continue;
        bool opened = false;
        for (const int (*i)[12] = inner; i && (*i)[0]; i++)
            if ((*i)[0] == type) {
                opened = true;
                out += sprintf(out, " %d={", type);
                // What is told of a kind is two lists deep: IFLA_INFO_DATA and IFLA_INFO_SLAVE_DATA.
                static const int data[][12] = {{IFLA_INFO_DATA, 16, 17, 18, 19, 47, 48, -1}, {IFLA_INFO_SLAVE_DATA, 21, 22, 23, -1}, {0}};
                out = write_attributes(out, RTA_DATA(a), RTA_PAYLOAD(a), &(*i)[1], type == IFLA_LINKINFO ? data : 0);
                out += sprintf(out, "}");
            }
        if (opened) continue;
        out += sprintf(out, " %d=", type);
        for (size_t b = 0; b < RTA_PAYLOAD(a); b++) out += sprintf(out, "%02x", ((unsigned char *)RTA_DATA(a))[b]);
    }
    return out;
}

struct listing {
    const char *name;
    int type, head, family;
    int place;              // where in the head something is set for the request
    int value;
    int left_out[16];       // attributes
    int (*is_left_out)(const unsigned char *head);
};

static int is_own(const unsigned char *head) { return !(((const struct ndmsg *)head)->ndm_state & NUD_PERMANENT); }
static int is_cached(const unsigned char *head) { return ((const struct rtmsg *)head)->rtm_flags & RTM_F_CLONED; }
/// A hardware address of an interface itself, which the kernel enters.
static int is_self(const unsigned char *head) {
    return ((const struct ndmsg *)head)->ndm_flags & NTF_SELF || ((const struct ndmsg *)head)->ndm_state & NUD_PERMANENT;
}

static const struct listing listings[] = {
    {"interface", RTM_GETLINK, 16, 0, 0, 0, {IFLA_STATS, IFLA_STATS64, IFLA_AF_SPEC, IFLA_CARRIER_CHANGES, 47, 48, -1}, 0},
    {"address", RTM_GETADDR, 8, 0, 0, 0, {IFA_CACHEINFO, -1}, 0},
    {"route", RTM_GETROUTE, 12, 0, 0, 0, {RTA_CACHEINFO, -1}, is_cached},
    {"rule", RTM_GETRULE, 12, 0, 0, 0, {-1}, 0},
    {"neighbour", RTM_GETNEIGH, 12, 0, 0, 0, {NDA_CACHEINFO, NDA_PROBES, -1}, is_own},
    {"proxy", RTM_GETNEIGH, 12, 0, 10, NTF_PROXY, {NDA_CACHEINFO, NDA_PROBES, -1}, 0},
    {"forwarding", RTM_GETNEIGH, 12, AF_BRIDGE, 0, 0, {NDA_CACHEINFO, -1}, is_self},
    {"discipline", RTM_GETQDISC, 20, 0, 0, 0, {TCA_STATS, TCA_STATS2, -1}, 0},
};

static void list(const struct listing *what) {
    static const int link[][12] = {{IFLA_LINKINFO, 3, -1}, {0}};
    static char buffer[1 << 16], text[1 << 17];
    struct { struct nlmsghdr header; unsigned char head[20]; } request = {{NLMSG_LENGTH(what->head), what->type, NLM_F_REQUEST | NLM_F_DUMP, 0, 0}, {what->family}};
    if (what->place) request.head[what->place] = what->value;
    must(send(netlink(NETLINK_ROUTE), &request, request.header.nlmsg_len, 0));
    for (;;) {
        ssize_t size = must(recv(netlink(NETLINK_ROUTE), buffer, sizeof buffer, 0));
        for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
            if (m->nlmsg_type == NLMSG_DONE) return;
            if (m->nlmsg_type == NLMSG_ERROR) give_up(what->name, __LINE__);
            unsigned char *head = NLMSG_DATA(m);
            if (what->is_left_out && what->is_left_out(head)) continue;
            if (what->type == RTM_GETQDISC && !((struct tcmsg *)head)->tcm_handle) continue;
            char *out = text + sprintf(text, "%s ", what->name);
            for (int b = 0; b < what->head; b++) out += sprintf(out, "%02x", head[b]);
            write_attributes(out, (char *)head + NLMSG_ALIGN(what->head), m->nlmsg_len - NLMSG_SPACE(what->head), what->left_out,
                             what->type == RTM_GETLINK ? link : 0);
            note_line(text);
        }
    }
}

static int compare_lines(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void look_around(void) {
    for (size_t i = 0; i < line_count; i++) free(lines[i]);
    line_count = 0;
    for (size_t i = 0; i < COUNT(listings); i++) list(&listings[i]);
    qsort(lines, line_count, sizeof *lines, compare_lines);
}

static char **remembered;
static size_t remembered_count;

/// Nil, or the first line that is only here or there.
static const char *different(void) {
    look_around();
    for (size_t i = 0; i < line_count || i < remembered_count; i++)
        if (i >= remembered_count || (i < line_count && strcmp(lines[i], remembered[i]))) return lines[i];
        else if (i >= line_count) return remembered[i];
    return 0;
}

/// Link-local addresses of IPv6 with which the kernel is done.
static int link_local_count(void) {
    int count = 0;
    look_around();
    for (size_t i = 0; i < line_count; i++) count += !strncmp(lines[i], "address 0a4080fd", 16);
    return count;
}

/// - Parameter links: how many interfaces get an address from the kernel, which takes it seconds.
static void remember(int links) {
    if (!within(30, link_local_count() == links)) give_up("link-local addresses", __LINE__);
    pause_ms(1500);
    look_around();
    remembered = lines, remembered_count = line_count;
    lines = 0, line_count = 0;
}

static void expect_the_same(void) {
    if (within(5, !different())) return;
    const char *line = different();
    if (!line) return;
    const char *was = "nothing";
    for (size_t i = 0; i < remembered_count; i++) if (strncmp(remembered[i], line, 24) == 0 && strcmp(remembered[i], line)) was = remembered[i];
    expect(false, "%zu objects, were %zu: %.1200s", line_count, remembered_count, line);
    append("/state/network", line), append("/state/network", "\nwas "), append("/state/network", was), append("/state/network", "\n");
}
