#!/usr/bin/env bash
# Linux 6.18, nftables 1.0.6: a network namespace that ends loses its nftables rules some milliseconds before its interfaces, and its
# addresses answer in between.
#
# Input: a namespace whose only process ends; nftables drops what comes for TCP port 4000 and what goes out from it. A neighbour
# behind a veth pair goes on sending segments of a connection that nobody knows there. The same again with a
# routing rule (`blackhole`) for that connection beside them.
# Guessed: dropped until the interface is gone; the neighbour hears nothing.
# Instead: in some of the rounds resets come, up to 4 ms behind the process's end. With the routing rule none ever comes.
# Why it matters: whoever keeps connections silent while a container is away (a checkpoint) has them reset by its end.
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
"${apt[@]}" download nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2 libjansson4=2.14-2 libmnl0=1.0.4-3 \
    libxtables12=1.8.9-2
for package in *.deb; do dpkg-deb -x "$package" tree; done
export LD_LIBRARY_PATH=$dir/tree/usr/lib/x86_64-linux-gnu:$dir/tree/lib/x86_64-linux-gnu NFT=$dir/tree/usr/sbin/nft
got=$(unshare --net python3 - <<'PY'
import os, socket, struct, subprocess, time

SEGMENT = struct.pack(">HHIIBBHHH", 5000, 4000, 1, 1, 5 << 4, 0x10, 1000, 0, 0)

def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff

pseudo = bytes([10, 7, 7, 2, 10, 7, 7, 1, 0, 6, 0, len(SEGMENT)])
SEGMENT = SEGMENT[:16] + struct.pack(">H", checksum(pseudo + SEGMENT)) + SEGMENT[18:]
neighbour = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
neighbour.setblocking(False)

def resets(seconds):
    """How many come back within that time, while segments are sent without a pause."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            neighbour.sendto(SEGMENT, ("10.7.7.1", 0))
            while True:
                count += neighbour.recv(2000)[33] >> 2 & 1
        except OSError:
            pass
    return count

def round_of(rule):
    owner = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 30"], stdout=subprocess.PIPE)
    owner.stdout.readline()
    script = f"""set -e
        ip link add v0 netns {owner.pid} type veth peer name v1
        ip address add 10.7.7.2/24 dev v1; ip link set v1 up
        inside() {{ nsenter --target {owner.pid} --net "$@"; }}
        inside ip address add 10.7.7.1/24 dev v0; inside ip link set v0 up
        inside $NFT 'add table inet x
            add chain inet x i {{ type filter hook input priority -400; }}; add rule inet x i tcp dport 4000 drop
            add chain inet x o {{ type filter hook output priority -400; }}; add rule inet x o tcp sport 4000 drop'
        {'inside ip rule add pref 1 from 10.7.7.1 to 10.7.7.2 iif lo ipproto tcp sport 4000 dport 5000 blackhole' if rule else ''}"""
    subprocess.run(["sh", "-c", script], check=True)
    before = resets(0.2)
    owner.kill()
    owner.wait()
    behind = resets(0.3)
    while subprocess.run(["ip", "link", "show", "v1"], capture_output=True).returncode == 0:
        time.sleep(0.01)
    return before, behind

without = [round_of(False) for _ in range(40)]
ruled = [round_of(True) for _ in range(40)]
print("before:", sum(b for b, _ in without), "behind:", "some" if any(n for _, n in without) else "none",
      "with a routing rule:", sum(sum(pair) for pair in ruled))
PY
)
if [ "$got" != "before: 0 behind: some with a routing rule: 0" ]; then
    printf 'CHANGED: resets on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo "same as seen: resets $got"
