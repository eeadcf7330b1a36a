"""Runs a command on a terminal of 33 rows and 99 columns, and types. Prints what was shown; ends as the command did.

Usage: typist.py [EXPECTED=TYPED ...] -- COMMAND...
Each TYPED follows once EXPECTED was shown; `\\r` and the like are understood, and `size 50 120` is a new size instead.
"""

import codecs
import fcntl
import os
import pty
import struct
import sys
import termios

border = sys.argv.index("--")
steps = [step.split("=", 1) for step in sys.argv[1:border]]
command = sys.argv[border + 1 :]


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


pid, terminal = pty.fork()
if pid == 0:
    resize(0, 33, 99)
    os.execvp(command[0], command)
shown = ""
while True:
    try:
        chunk = os.read(terminal, 4096).decode()
    except OSError:  # the command has ended
        break
    shown += chunk
    while steps and steps[0][0] in shown:
        typed = steps.pop(0)[1]
        if typed.startswith("size "):
            resize(terminal, *map(int, typed.split()[1:]))
        else:
            os.write(terminal, codecs.decode(typed, "unicode_escape").encode())
print(shown.replace("\r", ""), end="")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
