#!/usr/bin/env bash
# Linux 6.18: the memory of an io_uring is mapped where the kernel chooses, and nowhere else.
#
# Input: a new ring of four entries; its memory mapped (mmap(2), IORING_OFF_SQ_RING) without an address, with a hint that is
# free, and with MAP_FIXED over a mapping of the program's own.
# Guessed: as for any file, all three give a mapping, the last one at its address.
# Instead: the first does; the others are EINVAL.
# Why it matters: who makes a ring anew at the addresses that a program remembers has to leave the kernel no other choice.
set -euo pipefail
got=$(python3 - <<'PY'
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
ring = libc.syscall(425, 4, (ctypes.c_uint32 * 30)())
assert ring >= 0, errno.errorcode[ctypes.get_errno()]
SHARED, PRIVATE_ANONYMOUS, FIXED = 1, 0x22, 0x10
room = libc.mmap(None, 1 << 20, 0, PRIVATE_ANONYMOUS, -1, 0)
for address, flags in [(None, SHARED), (room + (64 << 20), SHARED), (room, SHARED | FIXED)]:
    ctypes.set_errno(0)
    libc.mmap(address, 4096, 3, flags, ring, 0)
    print(errno.errorcode.get(ctypes.get_errno(), "mapped"))
PY
)
if [ "$got" != $'mapped\nEINVAL\nEINVAL' ]; then
    printf 'CHANGED: mappings of a ring without address, with a hint, with MAP_FIXED on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a ring is mapped only where the kernel chooses'
