#!/usr/bin/env bash
# Linux 6.18: a thread that becomes SCHED_DEADLINE loses its timer slack for good.
#
# Input: a thread sets its timer slack to 70,000 ns, becomes SCHED_DEADLINE, sets it to 1,234 ns, and becomes SCHED_OTHER again.
# Guessed: the slack is the thread's own whatever its policy; PR_SET_TIMERSLACK fails where it cannot be.
# Instead: it is 0 under SCHED_DEADLINE, PR_SET_TIMERSLACK succeeds and changes nothing, and afterwards it is the default, 50,000.
# Why it matters: of a slack that was set before nothing is left to be read, and who sets 0 to put it back sets the default.
set -euo pipefail
got=$(python3 - <<'PY'
import ctypes, struct
call = ctypes.CDLL(None, use_errno=True)

def policy(number, runtime, period):
    # struct sched_attr, sched_setattr(2)
    attributes = struct.pack("IIQiIQQQ", 48, number, 0, 0, 0, runtime, period, period)
    assert call.syscall(314, 0, attributes, 0) == 0, ctypes.get_errno()

def slack(value=None):
    return call.prctl(30, 0, 0, 0, 0) if value is None else call.prctl(29, value, 0, 0, 0)

slack(70000)
told = [slack()]
policy(6, 10_000_000, 30_000_000)
told += [slack(), slack(1234), slack()]
policy(0, 0, 0)
print(*told, slack())
PY
)
if [ "$got" != "70000 0 0 0 50000" ]; then
    printf 'CHANGED: timer slack before, under, set under, and after SCHED_DEADLINE on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: SCHED_DEADLINE has no timer slack, and what was set before is gone'
