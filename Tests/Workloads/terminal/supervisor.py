"""Holds a container's terminal: supervisor.py SOCKET VERDICT COMMAND... -- RUNTIME CALL... [-- RUNTIME CALL...]

Each call is one that sends the terminal to SOCKET, or `checkpoint`-like one that does not (marked by a leading `+`).
After each that does: what goes in must come back, and the container must say PASS when it is asked."""
import os, select, socket, subprocess, sys, time

path, verdict, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
calls = [[]]
for word in rest:
    if word == "--":
        calls.append([])
    else:
        calls[-1].append(word)
ask, calls = calls[0], calls[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(1)
passes = 0
for call in calls:
    sends = call[0] != "+"
    done = subprocess.run(call if sends else call[1:], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    if done.returncode:
        sys.exit(f"{call}: {done.returncode}: {done.stdout + done.stderr}")
    if not sends:
        continue
    listener.settimeout(10)
    peer, _ = listener.accept()
    message, descriptors, _, _ = socket.recv_fds(peer, 100, 1)
    master = descriptors[0]
    deadline = time.time() + 20
    while not os.path.exists(os.path.dirname(verdict) + "/ready") and time.time() < deadline:
        time.sleep(0.01)
    os.write(master, b"abc")
    said = b""
    while not said.endswith(b"got abc\n"):
        if not select.select([master], [], [], 10)[0]:
            sys.exit(f"after {call[3:5]}: the terminal says {said!r}")
        said += os.read(master, 100)
    subprocess.run(ask, check=True)
    passes += 1
    lines = []
    while len(lines) < passes and time.time() < deadline:
        time.sleep(0.01)
        if os.path.exists(verdict):
            lines = open(verdict).read().splitlines()
    if len(lines) != passes or not lines[-1].startswith("PASS"):
        sys.exit(f"after {call[3:5]}: {lines}")
print("PASS")
