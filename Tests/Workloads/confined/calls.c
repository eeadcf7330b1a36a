// Makes the system calls that its arguments name and prints what became of each, a line for a call:
// "lseek:999:5:0" with up to three numbers, "thread:…" in a thread of its own, "i386:NUMBER" by the door for 32-bit
// programs, "trap:…" with a handler for SIGSYS.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct { const char *name; long number; } calls[] = {
    {"lseek", SYS_lseek}, {"getppid", SYS_getppid}, {"mkdir", SYS_mkdir}, {"getpgid", SYS_getpgid},
    {"swapon", SYS_swapon}, {"getpriority", SYS_getpriority}, {"newest", 4000},
};

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    printf("trapped %d\n", info->si_syscall);
    fflush(stdout);
    _exit(0);
}

static void report(long result) {
    if (result == -1) printf("errno %d\n", errno);
    else printf("returned %ld\n", result);
    fflush(stdout);
}

static void make(const char *text) {
    char name[32] = "";
    long a = 0, b = 0, c = 0;
    sscanf(text, "%31[^:]:%ld:%ld:%ld", name, &a, &b, &c);
#ifdef __x86_64__
    if (strcmp(name, "i386") == 0) {
        int result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"((int)a) : "memory", "r8", "r9", "r10", "r11");
        if (result < 0) errno = -result, result = -1;
        report(result);
        return;
    }
#endif
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(name, calls[i].name) == 0) {
            report(syscall(calls[i].number, a, b, c));
            return;
        }
    printf("unknown call %s\n", name);
}

static void *make_in_thread(void *text) {
    make(text);
    return NULL;
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        char *text = words[i];
        if (strncmp(text, "trap:", 5) == 0) {
            struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
            sigaction(SIGSYS, &action, NULL);
            make(text + 5);
        } else if (strncmp(text, "thread:", 7) == 0) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, make_in_thread, text + 7) != 0) return 2;
            pthread_join(thread, NULL);
            puts("thread ended");
            fflush(stdout);
        } else {
            make(text);
        }
    }
    return 0;
}
