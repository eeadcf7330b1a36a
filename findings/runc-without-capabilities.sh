#!/usr/bin/env bash
# runc 1.1.5 (Debian 12) and runc 1.3.6 (Debian forky): a config without `capabilities` means none to the one, all to
# the other.
#
# Input: a config.json whose process has no `capabilities` object, user 0.
# Guessed: the field is optional in the OCI runtime specification, and a newer runc of the same major version goes on
# doing what the older one did: a process without capabilities.
# Instead: 1.1.5 starts the process with empty sets, 1.3.6 with all capabilities that runc itself has (effective,
# permitted and bounding). No warning from either. crun 1.8.1 and 1.28 give none.
# Why it matters: the same bundle runs with all rights or with none, depending on the runtime's version. Who wants
# none should write empty lists.
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
"${apt[@]}" download runc=1.1.5+ds1-1+deb12u1 busybox-static=1:1.35.0-4+deb12u1+b1
for package in *.deb; do dpkg-deb -x "$package" tree; done
sed -i 's/bookworm/forky/' sources.list
"${apt[@]}" update
mkdir new && cd new
"${apt[@]}" download runc=1.3.6+ds1-1 libc6 libseccomp2
for package in *.deb; do dpkg-deb -x "$package" root; done
cd ..
ln -s usr/lib usr/lib64 new/root
mkdir new/root/{proc,sys,dev,run,bundle}
mkdir -p bundle/rootfs/{bin,dev,proc}
cp tree/bin/busybox bundle/rootfs/bin

python3 - >bundle/config.json <<'PY'
import json, sys
json.dump({
    "ociVersion": "1.0.2", "root": {"path": "rootfs"},
    "process": {"args": ["/bin/busybox", "grep", "-E", "Cap(Prm|Eff|Bnd)", "/proc/self/status"], "cwd": "/",
                "user": {"uid": 0, "gid": 0}},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "none"},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]},
}, sys.stdout)
PY
cat >inside.sh <<'SH'
mount --make-rprivate /
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
mount --bind new/root new/root
mount --rbind bundle new/root/bundle
for name in proc sys dev; do mount --rbind /$name new/root/$name; done
tell() {
    while read -r set mask; do
        case $mask in
            0000000000000000) mask=none ;;
            "$own") mask="all that runc has" ;;
        esac
        echo "$1 $set $mask"
    done
}
own=$(sed -n 's/^CapPrm:\t//p' /proc/self/status)
tree/usr/sbin/runc run -b bundle runc-without-capabilities | tell 1.1.5
chroot new/root /usr/sbin/runc run -b /bundle runc-without-capabilities | tell 1.3.6
SH
got=$(unshare -m -p -f --mount-proc -C --kill-child bash -euo pipefail inside.sh)
seen='1.1.5 CapPrm: none
1.1.5 CapEff: none
1.1.5 CapBnd: none
1.3.6 CapPrm: all that runc has
1.3.6 CapEff: all that runc has
1.3.6 CapBnd: all that runc has'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: a process without capabilities in its config:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: without "capabilities" in the config runc 1.1.5 gives none, runc 1.3.6 all'
