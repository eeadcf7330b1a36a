// Whom audit holds responsible (/proc/PID/loginuid), set inside where nobody has logged in: of a process, a thread, a child.
#include "workload.h"

static char login[16];

static const char *read_own(void) {
    static _Thread_local char text[16];
    memset(text, 0, sizeof text);
    int file = open("/proc/thread-self/loginuid", O_RDONLY | O_CLOEXEC);
    if (file < 0) return "none";   // a kernel without audit
    expect(read(file, text, sizeof text - 1) > 0, "loginuid cannot be read: %s", strerror(errno));
    close(file);
    return text;
}

static void check(void) {
    expect(!strcmp(read_own(), login), "loginuid is %s, not %s", read_own(), login);
}

static atomic_int asked, answered;

static void *check_thread(void *unused) {
    for (;;) {
        if (!within(60, atomic_load(&asked) > atomic_load(&answered))) continue;
        check();
        atomic_fetch_add(&answered, 1);
    }
    return unused;
}

int main(void) {
    begin();
    int file = open("/proc/thread-self/loginuid", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        if (write(file, "4242", 4) == -1 && errno != EPERM && errno != EINVAL)
            give_up("set loginuid", __LINE__);   // somebody has logged in, or there is no such user
        close(file);
    }
    strcpy(login, read_own());
    start_thread(check_thread, 0);
    hire(0, check);
    ready();
    for (;;) {
        await_question();
        check();
        int round = atomic_fetch_add(&asked, 1) + 1;
        expect(within(5, atomic_load(&answered) == round), "the thread does not answer");
        verdict();
    }
}
