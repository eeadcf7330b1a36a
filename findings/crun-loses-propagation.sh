#!/usr/bin/env bash
# crun 1.8.1 and runc 1.1.5 (Debian 12; crun 1.28 and runc 1.3.6 of forky do the same): crun loses a mount's own
# propagation.
#
# Input: a tmpfs with the option "shared", then "unbindable", in a config.json without rootfsPropagation; then
# "shared" with rootfsPropagation "shared".
# Guessed: the option makes that mount shared or unbindable in the container, as the mount options of the OCI runtime
# specification say; rootfsPropagation is about the root mount.
# Instead: so it is in runc. In crun the mount is private in the first two cases: without rootfsPropagation everything
# is private in the end. With it the mount is shared.
# Why it matters: a container that should hand mounts on (rshared binds of storage drivers) does so under runc, and
# under crun only with the second option.
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
start() { "tree/usr/$1" --root "/run/${1#*/}" run -b bundle crun-loses-propagation; }
for options in shared unbindable shared/shared; do
python3 - ${options/\// } >bundle/config.json <<'PY'
import json, sys
config = {
    "ociVersion": "1.0.2", "root": {"path": "rootfs"},
    "process": {"args": ["/bin/busybox", "grep", " /tmp ", "/proc/self/mountinfo"], "env": ["PATH=/bin"], "cwd": "/",
                "user": {"uid": 0, "gid": 0}},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/tmp", "type": "tmpfs", "source": "none", "options": [sys.argv[1]]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]},
}
if len(sys.argv) > 2:
    config["linux"]["rootfsPropagation"] = sys.argv[2]
json.dump(config, sys.stdout)
PY
    for runtime in sbin/runc bin/crun; do
        state=$(start "$runtime" | grep -oE 'shared|unbindable' || echo private)
        echo "$options ${runtime#*/}: $state"
    done
done
SH
export LD_LIBRARY_PATH=$dir/tree/usr/lib/x86_64-linux-gnu
got=$(unshare -m -p -f --mount-proc -C --kill-child bash -euo pipefail inside.sh)
seen='shared runc: shared
shared crun: private
unbindable runc: unbindable
unbindable crun: private
shared/shared runc: shared
shared/shared crun: shared'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: the propagation of a mount:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: crun 1.8.1 makes a shared or unbindable mount private, runc 1.1.5 does not'
