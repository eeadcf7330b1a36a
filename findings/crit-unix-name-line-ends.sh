#!/usr/bin/env bash
# CRIT 4.1.1 (Debian trixie; 4.2.1 of forky does the same) with Python 3.11: a Unix socket's name comes back changed.
#
# Input: unixsk images whose socket has an abstract name with both kinds of line end in it: NUL, a, CR LF, b, LF, c;
# and the same with LF first. The kernel takes any bytes in an abstract name, and programs put binary ids there.
# Guessed: a name is bytes, crit writes it as quoted-printable, which holds any bytes, so encode(decode(image)) is
# image.
# Instead: Python's quoted-printable codec takes line ends for text: all of them become of the kind that comes first.
# The image that `crit encode` writes is one byte longer, or shorter, than the one that `crit decode` read; no error.
# Why it matters: a checkpoint that was edited with crit (which is what it is for) restores a socket under a name that
# its peers do not know.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | head -n 1)
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >sources.list
apt=(apt-get -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download python3-pycriu=4.1.1-1
for package in *.deb; do dpkg-deb -x "$package" tree; done
python3 -m pip install -q --root-user-action=ignore --disable-pip-version-check --no-compile --no-deps \
    --target python protobuf==6.33.4
export PYTHONPATH=$dir/tree/usr/lib/python3/dist-packages:$dir/python

got=$(python3 - <<'PY'
import struct, subprocess, sys
from pycriu.images import magic, pb
def crit(*words):
    subprocess.run([sys.executable, "-m", "crit", *words], check=True)
def socket(name):
    entry = pb.unix_sk_entry(id=1, ino=2, type=1, state=10, flags=2, uflags=0, backlog=5, peer=0, name=name)
    for field in ("uid", "euid", "signum", "pid_type", "pid"):
        setattr(entry.fown, field, 0)
    for field in ("sndbuf", "rcvbuf", "snd_tmo_sec", "snd_tmo_usec", "rcv_tmo_sec", "rcv_tmo_usec"):
        setattr(entry.opts, "so_" + field, 0)
    return entry
for name in (b"\0ab", b"\0a\r\nb\nc", b"\0a\nb\r\nc"):
    body = socket(name).SerializeToString()
    image = struct.pack("<III", magic.by_name["IMG_COMMON"], magic.by_name["UNIXSK"], len(body)) + body
    open("unixsk.img", "wb").write(image)
    crit("decode", "-i", "unixsk.img", "-o", "unixsk.json")
    crit("encode", "-i", "unixsk.json", "-o", "again.img")
    after = open("again.img", "rb").read()
    print(name, "->", pb.unix_sk_entry.FromString(after[12:]).name, len(after) - len(image))
PY
)
seen="b'\\x00ab' -> b'\\x00ab' 0
b'\\x00a\\r\\nb\\nc' -> b'\\x00a\\r\\nb\\r\\nc' 1
b'\\x00a\\nb\\r\\nc' -> b'\\x00a\\nb\\nc' -1"
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: names through crit 4.1.1:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: crit 4.1.1 changes the line ends in the name of a Unix socket'
