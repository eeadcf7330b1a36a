#!/usr/bin/env bash
# Linux 6.18: a lease switches O_ASYNC on, and who gives it up loses the owner and the signal that were set before it.
#
# Input: a file is opened to read; F_SETOWN and F_SETSIG; F_SETLEASE with F_RDLCK, then with F_UNLCK.
# Guessed: the flags of F_GETFL stay, and owner and signal are what F_SETOWN and F_SETSIG have made them.
# Instead: with the lease F_GETFL says O_ASYNC, which nobody asked for; after F_UNLCK it is gone, and so are owner and signal.
# Why it matters: who tells signal-driven I/O by that flag finds it in every file with a lease, and who takes a lease for a
# moment must set owner and signal again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
got=$(python3 - "$folder/file" <<'PY'
import fcntl, os, sys
F_SETSIG, F_GETSIG, O_ASYNC = 10, 11, 0o20000
open(sys.argv[1], "w").close()
file = os.open(sys.argv[1], os.O_RDONLY)
def state():
    owner = fcntl.fcntl(file, fcntl.F_GETOWN) == os.getpid()
    return f"{bool(fcntl.fcntl(file, fcntl.F_GETFL) & O_ASYNC)} {owner} {fcntl.fcntl(file, F_GETSIG)}"
fcntl.fcntl(file, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(file, F_SETSIG, 40)
before = state()
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
during = state()
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
print(f"{before}, {during}, {state()}")
PY
)
wanted='False True 40, True True 40, False False 0'
if [ "$got" != "$wanted" ]; then
    printf 'CHANGED: O_ASYNC, owner, signal before, with and after a lease, on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a lease brings O_ASYNC along, and its end takes owner and signal away'
