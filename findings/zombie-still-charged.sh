#!/usr/bin/env bash
# Linux 6.18: an empty cgroup's pids.current is 1, and /proc says that the process that is counted is somewhere else.
#
# Input: a process moves into a new group of the pids controller and ends; its parent does not wait for it yet.
# Guessed: the group counts 1 and lists the process until it is reaped; /proc/PID/cgroup names the group.
# Instead: cgroup.procs is empty (a zombie is not listed) while pids.current is 1 (a zombie is counted). In a version
# 1 hierarchy /proc/PID/cgroup says "/" (in a version 2 hierarchy it goes on naming the group). Once the zombie is
# reaped, nothing is counted.
# Why it matters: "pids.current is 0" and "no process is listed" are two conditions. One who waits for the first after
# killing all that is listed waits for a parent outside of the group.
set -euo pipefail
group=/sys/fs/cgroup/pids/finding-$$
if [ ! -d /sys/fs/cgroup/pids ]; then
    echo 'CHANGED: this machine has no version 1 hierarchy of the pids controller'
    exit 1
fi
trap 'rmdir "$group" 2>/dev/null || :' EXIT
mkdir "$group"
got=$(python3 - "$group" <<'PY'
import os, sys, time
group = sys.argv[1]
read = lambda path: open(path).read().split()
child = os.fork()
if child == 0:
    open(group + "/cgroup.procs", "w").write("0")
    os._exit(0)
while read(f"/proc/{child}/stat")[2] != "Z":
    time.sleep(0.01)
lines = [line for line in read(f"/proc/{child}/cgroup") if ":pids:" in line]
print("zombie: listed", len(read(group + "/cgroup.procs")), "counted", *read(group + "/pids.current"),
      "named", lines[0].split(":")[2])
os.waitpid(child, 0)
print("reaped: listed", len(read(group + "/cgroup.procs")), "counted", *read(group + "/pids.current"))
PY
)
seen='zombie: listed 0 counted 1 named /
reaped: listed 0 counted 0'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: a zombie in a cgroup on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a zombie is counted by pids.current, not listed by cgroup.procs, and named in the root by /proc'
