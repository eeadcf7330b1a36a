"""Receives pidfds: for each, a line in LOG of the word that came with it, how many descriptors there were, and whose
pidfd it is.

Usage: pidfd.py SOCKET LOG
"""

from messages import log, messages

for word, rights in messages():
    info = open(f"/proc/self/fdinfo/{rights[0]}").read()
    pid = next(line.split()[1] for line in info.splitlines() if line.startswith("Pid:"))
    log.write(f"{word} {len(rights)} {pid}\n")
