#!/usr/bin/env bash
# Linux 6.18: a process whose threads end one by one ends with the code of the last of them, not with its first thread's.
#
# Input: a process with two threads; the first one calls exit(2) (not exit_group) with 9, the second a moment later with 5.
# Guessed: wait(2) tells 9: the first thread is the process's own, stays as its zombie, and is what the parent buries.
# Instead: it tells 5.
# Why it matters: who makes a process anew whose first thread has ended does not make its exit code by that thread's alone.
set -euo pipefail
got=$(python3 - <<'PY'
import ctypes, os, threading, time
libc = ctypes.CDLL(None)
child = os.fork()
if child == 0:
    def end_as_the_last():
        while open("/proc/self/stat").read().rsplit(")")[1].split()[0] != "Z":
            time.sleep(0.001)
        libc.syscall(60, 5)
    threading.Thread(target=end_as_the_last).start()
    libc.syscall(60, 9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
PY
)
if [ "$got" != 5 ]; then
    printf 'CHANGED: exit code of a process whose threads ended with 9, then 5, on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: the last thread gives the process its exit code'
