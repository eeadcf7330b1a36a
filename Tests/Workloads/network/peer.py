"""Clients of `server.c`: peer.py FOLDER ADDRESS...

Each address is asked for 256 MiB, slowly until FOLDER/hurry is there, and told something every 50 ms until the downloads are
complete. FOLDER/progress says how much has come, 0 until all have been answered; the last line on standard output is `ok`, or
what went wrong.
"""
import os
import socket
import sys
import threading
import time

FOLDER, ADDRESSES = sys.argv[1], sys.argv[2:]
TOTAL = 256 << 20
PATTERN = bytes(range(251)) * 1100
problems, lock, progress, answered = [], threading.Lock(), {}, set()


def connect(address, port):
    """A connection that the server has accepted: it has answered."""
    peer = socket.create_connection((address, port))
    if port == 4002:
        peer.sendall(b"!")
        peer.recv(1)
    answered.add(peer)
    return peer


def attempt(what):
    def run(address):
        try:
            what(address)
        except Exception as error:
            with lock:
                problems.append(f"{what.__name__} {address}: {error!r}")
    return run


@attempt
def download(address):
    peer = connect(address, 4001)
    got = 0
    while data := peer.recv(256 << 10):
        if data != PATTERN[got % 251:got % 251 + len(data)]:
            raise ValueError(f"wrong bytes after {got}")
        got += len(data)
        progress[address] = got
        if not os.path.exists(FOLDER + "/hurry"):
            time.sleep(0.01)
    if got != TOTAL:
        raise ValueError(f"the end after {got} bytes")


@attempt
def converse(address):
    peer = connect(address, 4002)
    number = 0
    while not done.is_set():
        word = b"%09d" % number
        peer.sendall(word)
        said = b""
        while len(said) < len(word):
            more = peer.recv(len(word) - len(said))
            if not more:
                raise ValueError("the end")
            said += more
        if said != word:
            raise ValueError(f"{said} instead of {word}")
        number += 1
        time.sleep(0.05)


@attempt
def wait(address):
    """Says nothing until the end, like a connection that is kept alive."""
    peer = connect(address, 4002)
    done.wait()
    peer.sendall(b"still there")
    if peer.recv(100) != b"still there":
        raise ValueError("no answer")


done = threading.Event()
downloads = [threading.Thread(target=download, args=(a,)) for a in ADDRESSES]
others = [threading.Thread(target=w, args=(a,)) for a in ADDRESSES for w in [converse] + [wait] * 50]
for thread in downloads + others:
    thread.start()
while any(thread.is_alive() for thread in downloads):
    with open(FOLDER + "/progress.new", "w") as file:
        file.write(str(min([progress.get(a, 0) for a in ADDRESSES]) if len(answered) == len(downloads + others) else 0))
    os.rename(FOLDER + "/progress.new", FOLDER + "/progress")
    time.sleep(0.02)
done.set()
for thread in others:
    thread.join()
print("\n".join(problems) if problems else "ok", flush=True)
