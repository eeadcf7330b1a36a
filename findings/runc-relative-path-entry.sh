#!/usr/bin/env bash
# runc 1.1.5 and crun 1.8.1 (Debian 12; runc 1.3.6 and crun 1.28 of forky do the same): runc runs no program found by
# a relative entry of PATH.
#
# Input: args ["busybox", "echo", "found"] with PATH=bin and cwd "/", where /bin/busybox is.
# Guessed: the OCI runtime specification wants args to be as in execvp(3), which takes a relative entry of PATH from
# the working directory: both runtimes print "found".
# Instead: crun does. runc finds the program and refuses to run it: the library of its language takes a program that
# was found relative to the current directory as an error, a rule made for programs that start others by name. With
# the name given as a path, "bin/busybox", runc runs it.
# Why it matters: an image whose PATH has a relative entry starts under one runtime only.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | head -n 1)
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >sources.list
apt=(apt-get -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download runc=1.1.5+ds1-1+deb12u1 crun=1.8.1-1+deb12u1 libyajl2=2.1.0-3+deb12u2 \
    busybox-static=1:1.35.0-4+deb12u1+b1
for package in *.deb; do dpkg-deb -x "$package" tree; done
mkdir -p bundle/rootfs/{bin,dev,proc,tmp}
cp tree/bin/busybox bundle/rootfs/bin
cat >inside.sh <<'SH'
mount --make-rprivate /
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
start() { "tree/usr/$1" --root "/run/${1#*/}" run -b bundle runc-relative-path-entry; }
for name in busybox bin/busybox; do
    python3 - "$name" >bundle/config.json <<'PY'
import json, sys
json.dump({
    "ociVersion": "1.0.2", "root": {"path": "rootfs"},
    "process": {"args": [sys.argv[1], "echo", "found"], "env": ["PATH=bin"], "cwd": "/",
                "user": {"uid": 0, "gid": 0}},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]},
}, sys.stdout)
PY
    for runtime in sbin/runc bin/crun; do
        echo "$name ${runtime#*/}: $(start "$runtime" 2>error || echo fails)"
        grep -o 'executable found relative to current directory' error || :
    done
done
SH
export LD_LIBRARY_PATH=$dir/tree/usr/lib/x86_64-linux-gnu
got=$(unshare -m -p -f --mount-proc -C --kill-child bash -euo pipefail inside.sh)
seen='busybox runc: fails
executable found relative to current directory
busybox crun: found
bin/busybox runc: found
bin/busybox crun: found'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: a relative entry of PATH:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: runc 1.1.5 refuses a program found by a relative entry of PATH, crun 1.8.1 runs it'
