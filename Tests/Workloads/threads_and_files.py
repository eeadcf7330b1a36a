# A Python program with four threads, open files and a child; it answers like the programs in C (workload.h).
import os
import signal
import threading
import time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
counts = [0, 0, 0, 0]
faults = []
condition = threading.Condition()
numbers = {str(i): i * i for i in range(100_000)}

with open("/state/lines", "w") as lines:
    lines.writelines(f"line {i}\n" for i in range(10_000))
reader = open("/state/lines")
log = open("/state/log", "a", buffering=1)
to_child, from_parent = os.pipe(), os.pipe()


def count():
    while True:
        counts[0] += 1
        time.sleep(0.005)


def read_lines():
    expected = 0
    while True:
        line = reader.readline()
        if line != f"line {expected}\n":
            faults.append(f"read {line!r} instead of line {expected}")
        expected += 1
        if expected == 10_000:
            reader.seek(0)
            expected = 0
        counts[1] += 1
        time.sleep(0.002)


def write_lines():
    while True:
        log.write(f"{counts[2]}\n")
        counts[2] += 1
        time.sleep(0.01)


def wait_for_others():
    while True:
        with condition:
            if condition.wait(3600):
                counts[3] += 1


def be_child():
    while True:
        word = os.read(to_child[0], 100)
        os.write(from_parent[1], word[::-1])


for body in (count, read_lines, write_lines, wait_for_others):
    threading.Thread(target=body, daemon=True).start()
child = os.fork()
if child == 0:
    be_child()
identity = (os.getpid(), os.getsid(0), sorted(os.listdir("/proc/self/task")), child)
with open("/state/ready.new", "w") as ready:
    ready.write("ready\n")
os.rename("/state/ready.new", "/state/ready")

for question in range(1, 1000):
    signal.sigwait({signal.SIGUSR1})
    before = list(counts)
    now = (os.getpid(), os.getsid(0), sorted(os.listdir("/proc/self/task")), child)
    if now != identity:
        faults.append(f"was {identity}, is {now}")
    os.write(to_child[1], b"forward")
    if os.read(from_parent[0], 100) != b"drawrof":
        faults.append("the child answers wrongly")
    deadline = time.monotonic() + 10
    while any(a <= b for a, b in zip(counts, before)) and time.monotonic() < deadline:
        with condition:
            condition.notify()
        time.sleep(0.01)
    faults += [f"thread {i} stands still" for i in range(4) if counts[i] <= before[i]]
    if numbers != {str(i): i * i for i in range(100_000)}:
        faults.append("the dictionary changed")
    with open("/state/log") as written:
        logged = written.read().split()
    if logged != [str(i) for i in range(len(logged))]:
        faults.append("the log has a gap")
    if os.waitpid(child, os.WNOHANG) != (0, 0):
        faults.append("the child ended")
    with open("/state/verdict", "a") as verdict:
        verdict.write(f"FAIL {question}: {'; '.join(faults[:3])}\n" if faults else f"PASS {question}\n")
    faults.clear()
