#!/usr/bin/env bash
# Linux 6.18 with psutil 7.2.2: /proc/PID/maps writes two different file names in the same way.
#
# Input: two files are mapped, one with a newline in its name (a, newline, b), one with a backslash and three digits
# (a, \012, b).
# Guessed: maps escapes as mountinfo does, where a backslash becomes \134, so that every name can be had back; and
# psutil's memory_maps() gives the names as open_files() does.
# Instead: maps turns a newline into \012 and leaves a backslash as it is: both lines end in a\012b. psutil hands that
# on; for the first file it gives a path that is the second file's. open_files() is right about both. mountinfo does
# escape the backslash.
# Why it matters: a mapped file's name must be read from /proc/PID/map_files, never from maps.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m pip install -q --root-user-action=ignore --disable-pip-version-check --no-compile --no-deps \
    --target "$dir/python" psutil==7.2.2
cat >"$dir/ask.py" <<'PY'
import mmap, os, psutil, sys
files, maps = [], []
for name in ("a\nb", "a\\012b"):
    path = os.path.join(sys.argv[1], name)
    files.append(open(path, "w+b"))
    files[-1].truncate(4096)
    maps.append(mmap.mmap(files[-1].fileno(), 4096))
    os.close(os.open(path, os.O_RDONLY))
short = lambda path: repr(os.path.basename(path)).strip("'")
lines = [line.rstrip("\n") for line in open("/proc/self/maps") if sys.argv[1] + "/a" in line]
print("maps:", *sorted(line.rsplit("/", 1)[1] for line in lines))
links = [os.readlink("/proc/self/map_files/" + line.split()[0]) for line in lines]
print("map_files:", *sorted(short(link) for link in links))
me = psutil.Process()
ours = lambda found: [short(one.path) for one in found if one.path.startswith(sys.argv[1] + "/a")]
print("memory_maps:", *sorted(ours(me.memory_maps(grouped=False))))
print("open_files:", *sorted(set(ours(me.open_files()))))
PY
mkdir "$dir/m\\012n"
got=$(
    PYTHONPATH=$dir/python python3 "$dir/ask.py" "$dir"
    unshare -m --propagation private bash -euc 'mount -t tmpfs none "$1"; grep -F "$2" /proc/self/mountinfo' \
        bash "$dir/m\\012n" "$dir" |
        cut -d ' ' -f 5 | sed 's/.*\//mountinfo: /'
)
seen='maps: a\012b a\012b
map_files: a\\012b a\nb
memory_maps: a\\012b a\\012b
open_files: a\\012b a\nb
mountinfo: m\134012n'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: names in maps on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: maps writes a newline as \012 and a backslash as it is, so psutil gives one path for two files'
