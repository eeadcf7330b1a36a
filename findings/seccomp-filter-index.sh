#!/usr/bin/env bash
# Linux 6.18 against ptrace(2) of man-pages 6.03 (Debian 12): the order of a task's seccomp filters is the other way
# round.
#
# Input: a child installs a filter of one instruction, then one of two; the parent reads them with
# PTRACE_SECCOMP_GET_FILTER.
# Guessed, with the man page: the most recently installed filter has the index 0, so index 0 has two instructions.
# Instead: index 0 is the oldest filter; the last one installed has the highest index.
# Why it matters: filters must be put back oldest first. A dump that trusts the page puts them back in reverse, and
# the filters' own order decides which one's SECCOMP_RET_DATA counts when two of them answer with the same action.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | head -n 1)
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >sources.list
apt=(apt-get -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download manpages-dev=6.03-2
dpkg-deb -x manpages-dev_*.deb pages
cat >ask.c <<'C'
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    pid_t child = fork();
    if (child == 0) {
        struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                                     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
        struct sock_fprog first = {1, code + 1}, second = {2, code};
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &first) ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &second))
            _exit(1);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, 0, 0);
    for (long index = 0; index < 2; index++)
        printf("index %ld: %ld instructions\n", index, ptrace(PTRACE_SECCOMP_GET_FILTER, child, index, 0));
    kill(child, SIGKILL);
    waitpid(child, 0, 0);
}
C
gcc -o ask ask.c
got=$(
    zcat pages/usr/share/man/man2/ptrace.2.gz | grep -o 'most recently installed filter has the index 0'
    ./ask
)
seen='most recently installed filter has the index 0
index 0: 1 instructions
index 1: 2 instructions'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: seccomp filters on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: PTRACE_SECCOMP_GET_FILTER counts from the oldest filter, ptrace(2) says from the newest'
