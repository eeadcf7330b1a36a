"""Is the terminal of a command: on_terminal.py [EXPECTED=ANSWER]... -- COMMAND...

Once the command has said EXPECTED (nothing: at once), it gets ANSWER and a newline; of a control character just that.
Prints what it said, and ends as it ended."""
import os, pty, select, struct, sys, termios, fcntl, time

split = sys.argv.index("--")
talk = [word.split("=", 1) for word in sys.argv[1:split]]
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
said, unread, deadline = b"", b"", time.time() + 20
while True:
    while talk and talk[0][0].encode() in unread:
        expected, answer = talk.pop(0)
        unread = unread.split(expected.encode(), 1)[1] if expected else unread
        os.write(master, answer.encode() + (b"\n" if answer.isprintable() else b""))
    if not select.select([master], [], [], max(0, deadline - time.time()))[0]:
        os.kill(pid, 9)
        break
    try:
        more = os.read(master, 4096)
    except OSError:
        break
    said, unread = said + more, unread + more
sys.stdout.write(said.decode().replace("\r", ""))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if not talk else 99)
