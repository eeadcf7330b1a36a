#!/usr/bin/env bash
# Linux 6.18: `echo name >/proc/self/comm` puts the newline into the task's name.
#
# Input: "abc\n" written to /proc/self/comm, as `echo` does.
# Guessed: a trailing newline is stripped, as most files of /proc and /sys do that take a word or a number.
# Instead: the name is "abc\n", four bytes. /proc/PID/comm then has two newlines, /proc/PID/stat is no longer one
# line, and /proc/PID/status writes the newline as a backslash and an n.
# Why it matters: who restores a name through this file must write it without a newline, and who parses /proc/PID/stat
# by lines fails on a container whose entry script names itself in this way.
set -euo pipefail

got=$(bash -c 'echo abc >/proc/$$/comm; printf "comm:"; od -An -tx1 <"/proc/$$/comm"
    read -r line <"/proc/$$/stat"; echo "first line of stat: ${line#* }"
    grep -m 1 ^Name: "/proc/$$/status"; exit 0' | tr '\t' ' ')
seen='comm: 61 62 63 0a 0a
first line of stat: (abc
Name: abc\n'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: comm on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a newline written to /proc/PID/comm becomes a part of the name and breaks /proc/PID/stat in two'
