"""Arms every POSIX timer in a core image so that it fires as soon and as often as it can: arm_timers.py CORE.IMG"""

import struct
import sys

from pycriu.images import core_pb2

with open(sys.argv[1], "r+b") as file:
    head, size = file.read(8), struct.unpack("<I", file.read(4))[0]
    core = core_pb2.core_entry.FromString(file.read(size))
    for timer in core.tc.timers.posix:
        timer.isec, timer.insec, timer.vsec, timer.vnsec = 0, 1000, 0, 1
    message = core.SerializeToString()
    file.seek(0)
    file.write(head + struct.pack("<I", len(message)) + message)
    file.truncate()
print(len(core.tc.timers.posix), "timers")
