// UTS namespaces of processes inside: one of a child, one that two processes share, of whom the second has joined it, and
// a descriptor that leads to it. Names, and who is in which, stay as they are; the container's own names do, too.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "namespaces.h"
#include <sys/utsname.h>

static struct seat *lonely, *maker, *guest;
static int place;

static void expect_names(const char *host, const char *domain) {
    struct utsname names;
    uname(&names);
    expect(!strcmp(names.nodename, host) && !strcmp(names.domainname, domain), "is called %s.%s instead of %s.%s",
           names.nodename, names.domainname, host, domain);
    expect(namespace_of(getpid(), "uts") == namespace_of(gettid(), "uts"), "a thread is elsewhere");
}

static void leave_alone(void) {
    must(unshare(CLONE_NEWUTS));
    must(sethostname("lonely", 6));
    must(setdomainname("", 0));
}

static void check_lonely(void) {
    expect_names("lonely", "");
}

static void leave(void) {
    must(unshare(CLONE_NEWUTS));
    must(sethostname("shared", 6));
    must(setdomainname("by.two", 6));
}

static void join(void) {
    char path[60];
    snprintf(path, sizeof path, "/proc/%d/ns/uts", maker->pid);
    place = must(open(path, O_RDONLY));   // it keeps this
    must(setns(place, CLONE_NEWUTS));
}

static void check_shared(void) {
    expect_names("shared", "by.two");
}

static void check_guest(void) {
    struct stat found;
    check_shared();
    expect(!fstat(place, &found) && found.st_ino == namespace_of(getpid(), "uts"), "the descriptor leads elsewhere");
    expect(!setns(place, CLONE_NEWUTS), "cannot join it: %s", strerror(errno));
}

static void check(void) {
    ino_t found[4] = {namespace_of(getpid(), "uts")};
    struct seat *seats[] = {lonely, maker, guest};
    for (int i = 0; i < 3; i++) {
        found[i + 1] = namespace_of(seats[i]->pid, "uts");
        expect(found[i + 1] && found[i + 1] != found[0], "process %d is in the container's", seats[i]->pid);
    }
    expect(found[1] != found[2], "two namespaces have become one");
    expect(found[2] == found[3], "one namespace has become two");
    expect_names("outer", "outside");
}

int main(void) {
    begin();
    must(sethostname("outer", 5));
    must(setdomainname("outside", 7));
    lonely = hire(leave_alone, check_lonely);
    maker = hire(leave, check_shared);
    guest = hire(join, check_guest);
    serve_checks(check);
}
