#!/usr/bin/env bash
# Linux 6.18: once the first thread of a process has ended, /proc/PID/cgroup says that the process is in the first cgroup of each
# hierarchy of v1, while its other threads are where they were.
#
# Input: a process with two threads that is put into a cgroup of v1's pids controller; its first thread ends.
# Guessed: /proc/PID/cgroup says what cgroup.procs says, which has the process in that cgroup.
# Instead: it says `/`; cgroup.procs names the process in its cgroup, and the other thread's own file names the cgroup.
# Why it matters: who asks by /proc/PID/cgroup whether a process belongs to a container takes this one for a stranger.
set -euo pipefail
pids=$(awk '$3 == "cgroup" && $4 ~ /(^|,)pids(,|$)/ { print $2; exit }' /proc/self/mounts)
[ -n "$pids" ] || { echo "this machine has no v1 hierarchy of the pids controller"; exit 2; }
group=$pids/finding-$$
mkdir "$group"
trap 'sleep 0.2; rmdir "$group"' EXIT
got=$(GROUP=$group python3 - <<'PY'
import ctypes, os, threading, time
group = os.environ["GROUP"]
child = os.fork()
if child == 0:
    open(group + "/cgroup.procs", "w").write(str(os.getpid()))
    threading.Thread(target=lambda: time.sleep(100)).start()
    ctypes.CDLL(None).syscall(60, 0)
while open(f"/proc/{child}/stat").read().rsplit(")")[1].split()[0] != "Z":
    time.sleep(0.001)

def place(task):
    lines = [line.split(":", 2) for line in open(f"/proc/{child}/task/{task}/cgroup").read().splitlines()]
    return next(path for _, names, path in lines if "pids" in names.split(","))

other = next(int(task) for task in os.listdir(f"/proc/{child}/task") if int(task) != child)
listed = str(child) in open(group + "/cgroup.procs").read().split()
print(place(child), place(other).endswith(os.path.basename(group)), listed)
os.kill(child, 9)
os.waitpid(child, 0)
PY
)
if [ "$got" != "/ True True" ]; then
    printf 'CHANGED: cgroup of an ended first thread, whether the other is in it, whether cgroup.procs has them, on %s: %s\n' \
        "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: an ended first thread is in the first cgroup of v1, its process in its own'
