#!/usr/bin/env bash
# runc 1.1.5 and crun 1.8.1 (Debian 12; runc 1.3.6 and crun 1.28 of forky do the same): runc cannot mount with
# "defaults".
#
# Input: a config.json with a tmpfs whose options are ["defaults"], then ["defaults", "ro"].
# Guessed: the OCI runtime specification has `defaults` in its table of mount options for Linux that a runtime must
# know, with the words of mount(8), so both runtimes mount a tmpfs.
# Instead: runc hands the word to the file system as data, and tmpfs knows no such option: EINVAL, no container. crun
# does what was guessed.
# Why it matters: a config that was taken from an fstab line runs under crun and not under runc.
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
start() { "tree/usr/$1" --root "/run/${1#*/}" run -b bundle runc-refuses-defaults; }
for options in defaults defaults,ro; do
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
        echo "$options ${runtime#*/}: $(start "$runtime" 2>error || echo fails)"
        ! grep -q 'invalid argument' error || echo "invalid argument"
    done
done
SH
export LD_LIBRARY_PATH=$dir/tree/usr/lib/x86_64-linux-gnu
got=$(unshare -m -p -f --mount-proc -C --kill-child bash -euo pipefail inside.sh)
seen='defaults runc: fails
invalid argument
defaults crun: none /tmp tmpfs rw,relatime 0 0
defaults,ro runc: fails
invalid argument
defaults,ro crun: none /tmp tmpfs ro,relatime 0 0'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: a tmpfs with the option defaults:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: runc 1.1.5 fails on the mount option "defaults" that crun 1.8.1 takes'
