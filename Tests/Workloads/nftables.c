// A firewall of nftables: tables of several families, chains with hooks and without, rules of many expressions with counters
// that have counted, sets, maps that lead to chains, intervals, elements with a lifetime, named objects. It drops what it should.
// capabilities: CAP_NET_ADMIN
#include "rtnetlink.h"
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>

static char batch[1 << 16];
static size_t batch_size;
static int set_number;

static struct message *nft(int type, int flags, int family, const char *table) {
    struct nfgenmsg head = {family, 0, 0};
    struct message *message = start(NFNL_SUBSYS_NFTABLES << 8 | type, flags, &head, sizeof head);
    add_text(message, 1, table);   // the first attribute of all is the table's name
    return message;
}

static void put(const void *message, size_t size) {
    memcpy(batch + batch_size, message, size);
    batch_size += NLMSG_ALIGN(size);
}

static void queue(struct message *message) { put(message, message->header.nlmsg_len); }

static void border(int type) {
    struct { struct nlmsghdr header; struct nfgenmsg head; } message = {{sizeof message, type, NLM_F_REQUEST, 0, 0}, {0, 0, htons(NFNL_SUBSYS_NFTABLES)}};
    put(&message, sizeof message);
}

/// All that was queued at once. The last one asks for an answer.
static void commit(void) {
    char answer[8192];
    struct message *last = nft(NFT_MSG_NEWTABLE, NLM_F_ACK, NFPROTO_INET, "one");
    queue(last);
    border(NFNL_MSG_BATCH_END);
    must(send(netlink(NETLINK_NETFILTER), batch, batch_size, 0));
    ssize_t size = must(recv(netlink(NETLINK_NETFILTER), answer, sizeof answer, 0));
    struct nlmsghdr *header = (void *)answer;
    int error = size >= (ssize_t)NLMSG_LENGTH(4) && header->nlmsg_type == NLMSG_ERROR ? *(int *)NLMSG_DATA(header) : -EIO;
    if (error) errno = -error, give_up("a batch", __LINE__);
    batch_size = 0;
    border(NFNL_MSG_BATCH_BEGIN);
}

static void add_big(struct message *message, int type, unsigned value) { add_number(message, type, htonl(value)); }

static void table(int family, const char *name, unsigned flags) {
    struct message *message = nft(NFT_MSG_NEWTABLE, NLM_F_CREATE, family, name);
    add_big(message, NFTA_TABLE_FLAGS, flags);
    add(message, NFTA_TABLE_USERDATA, "a note", 6);
    queue(message);
}

static void chain(int family, const char *in, const char *name, const char *type, int hook, int priority, int policy) {
    struct message *message = nft(NFT_MSG_NEWCHAIN, NLM_F_CREATE, family, in);
    add_text(message, NFTA_CHAIN_NAME, name);
    if (type) {
        struct rtattr *place = nest(message, NFTA_CHAIN_HOOK);
        add_big(message, NFTA_HOOK_HOOKNUM, hook), add_big(message, NFTA_HOOK_PRIORITY, priority);
        unnest(message, place);
        add_big(message, NFTA_CHAIN_POLICY, policy);
        add_text(message, NFTA_CHAIN_TYPE, type);
    }
    queue(message);
}

static struct message *set(int family, const char *in, const char *name, unsigned flags, int key_type, int key_size) {
    struct message *message = nft(NFT_MSG_NEWSET, NLM_F_CREATE, family, in);
    add_text(message, NFTA_SET_NAME, name);
    add_big(message, NFTA_SET_FLAGS, flags);
    add_big(message, NFTA_SET_KEY_TYPE, key_type), add_big(message, NFTA_SET_KEY_LEN, key_size);
    add_big(message, NFTA_SET_ID, ++set_number);
    return message;
}

/// Its one element, more or less: `verdict` leads to a chain.
static void element(int family, const char *in, const char *name, const void *key, size_t size, unsigned flags, const char *verdict, unsigned seconds) {
    struct message *message = nft(NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, in);
    add_text(message, NFTA_SET_ELEM_LIST_SET, name);
    struct rtattr *list = nest(message, NFTA_SET_ELEM_LIST_ELEMENTS), *one = nest(message, NFTA_LIST_ELEM), *place = nest(message, NFTA_SET_ELEM_KEY);
    add(message, NFTA_DATA_VALUE, key, size);
    unnest(message, place);
    if (flags) add_big(message, NFTA_SET_ELEM_FLAGS, flags);
    if (seconds) {
        unsigned long long milliseconds = __builtin_bswap64(seconds * 1000ULL);
        add(message, NFTA_SET_ELEM_TIMEOUT, &milliseconds, 8);
    }
    if (verdict) {
        struct rtattr *data = nest(message, NFTA_SET_ELEM_DATA), *code = nest(message, NFTA_DATA_VERDICT);
        add_big(message, NFTA_VERDICT_CODE, NFT_JUMP);
        add_text(message, NFTA_VERDICT_CHAIN, verdict);
        unnest(message, code), unnest(message, data);
    }
    unnest(message, one), unnest(message, list);
    queue(message);
}

// ---- rules ----

static struct message *rule_message;
static struct rtattr *expressions, *expression, *inner;

static void rule(int family, const char *in, const char *chain_name) {
    rule_message = nft(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, in);
    add_text(rule_message, NFTA_RULE_CHAIN, chain_name);
    add(rule_message, NFTA_RULE_USERDATA, "why", 3);
    expressions = nest(rule_message, NFTA_RULE_EXPRESSIONS);
}

static struct message *open_expression(const char *name) {
    expression = nest(rule_message, NFTA_LIST_ELEM);
    add_text(rule_message, NFTA_EXPR_NAME, name);
    inner = nest(rule_message, NFTA_EXPR_DATA);
    return rule_message;
}

static void close_expression(void) { unnest(rule_message, inner), unnest(rule_message, expression); }
static void end_rule(void) { unnest(rule_message, expressions), queue(rule_message); }

static void payload(int base, int offset, int size) {
    struct message *m = open_expression("payload");
    add_big(m, NFTA_PAYLOAD_DREG, NFT_REG32_00), add_big(m, NFTA_PAYLOAD_BASE, base), add_big(m, NFTA_PAYLOAD_OFFSET, offset), add_big(m, NFTA_PAYLOAD_LEN, size);
    close_expression();
}

static void meta(int key) {
    struct message *m = open_expression("meta");
    add_big(m, NFTA_META_DREG, NFT_REG32_00), add_big(m, NFTA_META_KEY, key);
    close_expression();
}

static void equal(const void *value, size_t size) {
    struct message *m = open_expression("cmp");
    add_big(m, NFTA_CMP_SREG, NFT_REG32_00), add_big(m, NFTA_CMP_OP, NFT_CMP_EQ);
    struct rtattr *data = nest(m, NFTA_CMP_DATA);
    add(m, NFTA_DATA_VALUE, value, size);
    unnest(m, data);
    close_expression();
}

static void lookup(const char *name, bool is_map) {
    struct message *m = open_expression("lookup");
    add_text(m, NFTA_LOOKUP_SET, name);
    add_big(m, NFTA_LOOKUP_SREG, NFT_REG32_00);
    if (is_map) add_big(m, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
    close_expression();
}

static void verdict_of(int code, const char *to) {
    struct message *m = open_expression("immediate");
    add_big(m, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    struct rtattr *data = nest(m, NFTA_IMMEDIATE_DATA), *place = nest(m, NFTA_DATA_VERDICT);
    add_big(m, NFTA_VERDICT_CODE, code);
    if (to) add_text(m, NFTA_VERDICT_CHAIN, to);
    unnest(m, place), unnest(m, data);
    close_expression();
}

static void counter(void) { open_expression("counter"), close_expression(); }

static void make_inet(void) {
    static const unsigned char udp = IPPROTO_UDP;
    table(NFPROTO_INET, "one", 0);
    chain(NFPROTO_INET, "one", "in", "filter", NF_INET_LOCAL_IN, -5, NF_ACCEPT);
    chain(NFPROTO_INET, "one", "dropped", 0, 0, 0, 0);
    chain(NFPROTO_INET, "one", "counted", 0, 0, 0, 0);
    // Of named objects: a counter, and a quota.
    struct message *message = nft(NFT_MSG_NEWOBJ, NLM_F_CREATE, NFPROTO_INET, "one");
    add_text(message, NFTA_OBJ_NAME, "seen"), add_big(message, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
    unnest(message, nest(message, NFTA_OBJ_DATA));
    queue(message);
    message = nft(NFT_MSG_NEWOBJ, NLM_F_CREATE, NFPROTO_INET, "one");
    add_text(message, NFTA_OBJ_NAME, "little"), add_big(message, NFTA_OBJ_TYPE, NFT_OBJECT_QUOTA);
    struct rtattr *data = nest(message, NFTA_OBJ_DATA);
    unsigned long long bytes = __builtin_bswap64(1000000);
    add(message, NFTA_QUOTA_BYTES, &bytes, 8), add_big(message, NFTA_QUOTA_FLAGS, 0);
    unnest(message, data);
    queue(message);
    // A map of ports to chains; one without a name belongs to its rule.
    message = set(NFPROTO_INET, "one", "where", NFT_SET_MAP, 13, 2);
    add_big(message, NFTA_SET_DATA_TYPE, 0xffffff00), add_big(message, NFTA_SET_DATA_LEN, 16);
    queue(message);
    element(NFPROTO_INET, "one", "where", (unsigned char[]){7000 >> 8, 7000 & 255}, 2, 0, "dropped", 0);
    element(NFPROTO_INET, "one", "where", (unsigned char[]){7001 >> 8, 7001 & 255}, 2, 0, "counted", 0);
    queue(set(NFPROTO_INET, "one", "__set%d", NFT_SET_ANONYMOUS | NFT_SET_CONSTANT, 13, 2));
    int anonymous = set_number;
    message = nft(NFT_MSG_NEWSETELEM, NLM_F_CREATE, NFPROTO_INET, "one");
    add_text(message, NFTA_SET_ELEM_LIST_SET, "__set%d"), add_big(message, NFTA_SET_ELEM_LIST_SET_ID, anonymous);
    struct rtattr *list = nest(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (int port = 7100; port < 7103; port++) {
        struct rtattr *one = nest(message, NFTA_LIST_ELEM), *key = nest(message, NFTA_SET_ELEM_KEY);
        add(message, NFTA_DATA_VALUE, (unsigned char[]){port >> 8, port & 255}, 2);
        unnest(message, key), unnest(message, one);
    }
    unnest(message, list);
    queue(message);

    rule(NFPROTO_INET, "one", "in");
    meta(NFT_META_L4PROTO), equal(&udp, 1), payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), lookup("where", true);
    end_rule();
    rule(NFPROTO_INET, "one", "in");
    meta(NFT_META_L4PROTO), equal(&udp, 1), payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
    struct message *m = open_expression("lookup");
    add_text(m, NFTA_LOOKUP_SET, "__set%d"), add_big(m, NFTA_LOOKUP_SET_ID, anonymous), add_big(m, NFTA_LOOKUP_SREG, NFT_REG32_00);
    close_expression();
    counter(), verdict_of(NF_DROP, 0);
    end_rule();
    rule(NFPROTO_INET, "one", "dropped");
    counter(), verdict_of(NF_DROP, 0);
    end_rule();
    rule(NFPROTO_INET, "one", "counted");
    m = open_expression("objref");
    add_big(m, NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER), add_text(m, NFTA_OBJREF_IMM_NAME, "seen");
    close_expression();
    m = open_expression("limit");
    unsigned long long rate = __builtin_bswap64(100), second = __builtin_bswap64(1);
    add(m, NFTA_LIMIT_RATE, &rate, 8), add(m, NFTA_LIMIT_UNIT, &second, 8), add_big(m, NFTA_LIMIT_BURST, 50);
    close_expression();
    counter();
    end_rule();
}

static void make_ip(void) {
    table(NFPROTO_IPV4, "two", 0);
    chain(NFPROTO_IPV4, "two", "out", "filter", NF_INET_LOCAL_OUT, 10, NF_ACCEPT);
    // Intervals that touch: 10.0.0.0 to 10.0.0.9, to 10.0.0.19; and one apart.
    queue(set(NFPROTO_IPV4, "two", "ranges", NFT_SET_INTERVAL, 7, 4));
    static const unsigned char borders[][5] = {{10, 0, 0, 0, 0}, {10, 0, 0, 10, 1}, {10, 0, 0, 10, 0}, {10, 0, 0, 20, 1}, {10, 9, 0, 0, 0}, {10, 9, 1, 0, 1}};
    for (size_t i = 0; i < COUNT(borders); i++) element(NFPROTO_IPV4, "two", "ranges", borders[i], 4, borders[i][4], 0, 0);
    queue(set(NFPROTO_IPV4, "two", "guests", NFT_SET_TIMEOUT, 7, 4));
    element(NFPROTO_IPV4, "two", "guests", "\12\5\5\5", 4, 0, 0, 8000);
    rule(NFPROTO_IPV4, "two", "out");
    payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4), lookup("ranges", false), counter(), verdict_of(NF_DROP, 0);
    end_rule();
    rule(NFPROTO_IPV4, "two", "out");
    payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4), lookup("guests", false), counter(), verdict_of(NF_DROP, 0);
    end_rule();
    rule(NFPROTO_IPV4, "two", "out");
    meta(NFT_META_OIF), equal(&(unsigned){77}, 4), verdict_of(NF_DROP, 0);
    end_rule();
    table(NFPROTO_IPV6, "asleep", NFT_TABLE_F_DORMANT);
    chain(NFPROTO_IPV6, "asleep", "in", "filter", NF_INET_LOCAL_IN, 0, NF_DROP);
    table(NFPROTO_IPV4, "translated", 0);
    chain(NFPROTO_IPV4, "translated", "after", "nat", NF_INET_POST_ROUTING, 100, NF_ACCEPT);
    rule(NFPROTO_IPV4, "translated", "after");
    meta(NFT_META_OIFNAME), equal("nowhere\0\0\0\0\0\0\0\0", 16), open_expression("masq"), close_expression();
    end_rule();
}

// ---- what is there ----


/// Attributes of nftables, all of whose lists are written one by one.
static char *write_nft(char *out, const char *at, long size) {
    for (const struct rtattr *a = (const void *)at; RTA_OK(a, size); a = RTA_NEXT(a, size)) {
        int type = a->rta_type & NLA_TYPE_MASK;
        const unsigned char *bytes = RTA_DATA(a);
        out += sprintf(out, " %d=", type);
        if (a->rta_type & NLA_F_NESTED) {
            out += sprintf(out, "{");
            out = write_nft(out, RTA_DATA(a), RTA_PAYLOAD(a));
            out += sprintf(out, "}");
        } else for (size_t b = 0; b < RTA_PAYLOAD(a); b++) out += sprintf(out, "%02x", bytes[b]);
    }
    return out;
}

/// Takes `TYPE=…` out of the text, at its top level.
static void leave_out(char *text, int type) {
    char word[16];
    snprintf(word, sizeof word, " %d=", type);
    char *at = strstr(text, word);
    if (!at) return;
    int depth = 0;
    char *end = at + 1;
    while (*end && (depth || *end != ' ')) depth += (*end == '{') - (*end == '}'), end++;
    memmove(at, end, strlen(end) + 1);
}

static void list_nft(int type, const int *left_out, int family, const char *in, const char *name) {
    static char buffer[1 << 16], text[1 << 18];
    struct message *request = nft(type, NLM_F_DUMP, family, in ? in : "");
    if (!in) request->header.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg));
    if (name) add_text(request, 2, name);
    must(send(netlink(NETLINK_NETFILTER), request, request->header.nlmsg_len, 0));
    for (;;) {
        ssize_t size = must(recv(netlink(NETLINK_NETFILTER), buffer, sizeof buffer, 0));
        for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
            if (m->nlmsg_type == NLMSG_DONE) return;
            if (m->nlmsg_type == NLMSG_ERROR) errno = -*(int *)NLMSG_DATA(m), give_up("a list of nftables", __LINE__);
            unsigned char *head = NLMSG_DATA(m);
            char *attributes = text + sprintf(text, "nft %d of %d:", type, head[0]);
            if (name) {   // a line for each element: they have no order
                long left = m->nlmsg_len - NLMSG_SPACE(sizeof(struct nfgenmsg));
                for (struct rtattr *a = (void *)((char *)head + sizeof(struct nfgenmsg)); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
                    if ((a->rta_type & NLA_TYPE_MASK) != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
                    long size = RTA_PAYLOAD(a);
                    for (struct rtattr *e = RTA_DATA(a); RTA_OK(e, size); e = RTA_NEXT(e, size)) {
                        write_nft(attributes + sprintf(attributes, " of %s", name), RTA_DATA(e), RTA_PAYLOAD(e));
                        note_line(text);
                    }
                }
                continue;
            }
            write_nft(attributes, (char *)head + NLMSG_ALIGN(sizeof(struct nfgenmsg)), m->nlmsg_len - NLMSG_SPACE(sizeof(struct nfgenmsg)));
            for (const int *l = left_out; *l; l++) leave_out(attributes, *l);
            note_line(text);
        }
    }
}

static void look_at_firewall(void) {
    for (size_t i = 0; i < line_count; i++) free(lines[i]);
    line_count = 0;
    list_nft(NFT_MSG_GETTABLE, (int[]){NFTA_TABLE_HANDLE, NFTA_TABLE_USE, 0}, 0, 0, 0);
    list_nft(NFT_MSG_GETCHAIN, (int[]){NFTA_CHAIN_HANDLE, NFTA_CHAIN_USE, 0}, 0, 0, 0);
    list_nft(NFT_MSG_GETRULE, (int[]){NFTA_RULE_HANDLE, NFTA_RULE_POSITION, 0}, 0, 0, 0);
    list_nft(NFT_MSG_GETSET, (int[]){NFTA_SET_HANDLE, NFTA_SET_ID, 0}, 0, 0, 0);
    list_nft(NFT_MSG_GETOBJ, (int[]){NFTA_OBJ_HANDLE, NFTA_OBJ_USE, 0}, 0, 0, 0);
    list_nft(NFT_MSG_GETSETELEM, (int[]){0}, NFPROTO_INET, "one", "where");
    list_nft(NFT_MSG_GETSETELEM, (int[]){0}, NFPROTO_INET, "one", "__set0");
    list_nft(NFT_MSG_GETSETELEM, (int[]){0}, NFPROTO_IPV4, "two", "ranges");
    qsort(lines, line_count, sizeof *lines, compare_lines);
}

/// For how many seconds the guest is still welcome.
static unsigned guest_stays(void) {
    size_t before = line_count;
    list_nft(NFT_MSG_GETSETELEM, (int[]){0}, NFPROTO_IPV4, "two", "guests");
    unsigned long long milliseconds = 0;
    char *at = line_count > before ? strstr(lines[before], " 5=") : 0;
    if (at) sscanf(at, " 5=%16llx", &milliseconds);
    while (line_count > before) free(lines[--line_count]);
    return milliseconds / 1000;
}

static bool arrives(int port) {
    int receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in there = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    char byte;
    bool came = !bind(receiver, (void *)&there, sizeof there) && sendto(receiver, "x", 1, 0, (void *)&there, sizeof there) == 1
        && within(1, recv(receiver, &byte, 1, MSG_DONTWAIT) == 1);
    close(receiver);
    return came;
}

static bool is_sent(const char *to) {
    int sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in there = {AF_INET, htons(9), {0}, {0}};
    inet_pton(AF_INET, to, &there.sin_addr);
    bool went = sendto(sender, "x", 1, 0, (void *)&there, sizeof there) == 1 || errno != EPERM;
    close(sender);
    return went;
}

int main(void) {
    begin();
    // So that all that is sent comes to the firewall.
    struct rtmsg head = {AF_INET, 0, 0, 0, 254, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST, 0};
    struct message *route = start(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    add_number(route, RTA_OIF, 1);
    done(route);
    border(NFNL_MSG_BATCH_BEGIN);
    make_inet();
    commit();
    make_ip();
    commit();
    for (int i = 0; i < 3; i++) arrives(7001), arrives(7000);
    look_at_firewall();
    if (line_count < 20) give_up("the list", __LINE__);
    remembered = lines, remembered_count = line_count;
    lines = 0, line_count = 0;
    hang_up(NETLINK_NETFILTER);
    ready();
    for (;;) {
        await_question();
        look_at_firewall();
        expect(line_count == remembered_count, "%zu objects, were %zu", line_count, remembered_count);
        for (size_t i = 0; i < line_count && i < remembered_count; i++)
            expect(!strcmp(lines[i], remembered[i]), "is %.400s, was %.400s", lines[i], remembered[i]);
        unsigned left = guest_stays();
        expect(left > 7000 && left < 8000, "the guest stays for %u s", left);
        // It still does what it did.
        expect(!arrives(7000) && !arrives(7101), "what is to be dropped arrives");
        expect(arrives(7002), "what is to arrive does not");
        expect(!is_sent("10.0.0.5") && !is_sent("10.0.0.15") && !is_sent("10.9.0.5") && !is_sent("10.5.5.5"), "what is to be dropped is sent");
        // Now with what was counted just then.
        look_at_firewall();
        for (size_t i = 0; i < remembered_count; i++) free(remembered[i]);
        remembered = lines, remembered_count = line_count;
        lines = 0, line_count = 0;
        hang_up(NETLINK_NETFILTER);
        verdict();
    }
}
