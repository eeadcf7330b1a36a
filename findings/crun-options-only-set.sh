#!/usr/bin/env bash
# crun 1.8.1 and runc 1.1.5 (Debian 12; crun 1.28 and runc 1.3.6 of forky do the same): in crun an option that clears
# does nothing.
#
# Input: tmpfs mounts with the options ["ro", "rw"], ["nosuid", "suid"], ["noexec", "exec"] in a config.json.
# Guessed: as with mount(8), of two options that contradict each other the last one counts.
# Instead: so it is in runc. crun keeps what was set: read-only, nosuid, noexec. Which of the two comes first makes no
# difference to it.
# Why it matters: an engine that appends the user's option to its own defaults gets another container from crun than
# from runc, without a word from either.
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
start() { "tree/usr/$1" --root "/run/${1#*/}" run -b bundle crun-options-only-set; }
for options in ro,rw nosuid,suid noexec,exec; do
    python3 - "$options" >bundle/config.json <<'PY'
import json, sys
json.dump({
    "ociVersion": "1.0.2", "root": {"path": "rootfs"},
    "process": {"args": ["/bin/busybox", "grep", " /tmp ", "/proc/mounts"], "env": ["PATH=/bin"], "cwd": "/",
                "user": {"uid": 0, "gid": 0}},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/tmp", "type": "tmpfs", "source": "none", "options": sys.argv[1].split(",")},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]},
}, sys.stdout)
PY
    for runtime in sbin/runc bin/crun; do
        echo "$options ${runtime#*/}: $(start "$runtime" | cut -d ' ' -f 4)"
    done
done
SH
export LD_LIBRARY_PATH=$dir/tree/usr/lib/x86_64-linux-gnu
got=$(unshare -m -p -f --mount-proc -C --kill-child bash -euo pipefail inside.sh)
seen='ro,rw runc: rw,relatime
ro,rw crun: ro,relatime
nosuid,suid runc: rw,relatime
nosuid,suid crun: rw,nosuid,relatime
noexec,exec runc: rw,relatime
noexec,exec crun: rw,noexec,relatime'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: contradicting mount options:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: in crun 1.8.1 rw, suid and exec do not undo ro, nosuid and noexec, in runc 1.1.5 they do'
