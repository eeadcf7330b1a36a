#!/usr/bin/env bash
# CRIT 4.1.1 (Debian trixie; 4.2.1 of forky does the same) shows one System V segment where the image holds two.
#
# Input: an ipcns-shm image with two entries that say in_pagemaps. This is how CRIU 4.2.1 writes it: the contents are
# in pagemap-shmem-*.img, nothing follows an entry. (A real dump of a program with two segments gave the same bytes.)
# Guessed: `crit decode` prints two entries, and `crit encode` makes the same image of its output.
# Instead: crit takes the bytes after the first entry for the segment's contents, so the second entry ends up in the
# first one's `extra`, in base64. The exit code is 0. `crit info` counts two. `crit encode` refuses crit's own output
# with a TypeError.
# Why it matters: whoever looks at a checkpoint with crit believes that the program had one segment.
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

python3 - <<'PY'
import struct
from pycriu.images import magic, pb
with open("ipcns-shm-9.img", "wb") as image:
    image.write(struct.pack("<II", magic.by_name["IMG_COMMON"], magic.by_name["IPCNS_SHM"]))
    for number, size in ((0, 4096), (1, 8192)):
        entry = pb.ipc_shm_entry(size=size, in_pagemaps=True)
        for field in ("uid", "gid", "cuid", "cgid"):
            setattr(entry.desc, field, 0)
        entry.desc.key, entry.desc.mode, entry.desc.id = 77 + number, 0o600, number
        body = entry.SerializeToString()
        image.write(struct.pack("<I", len(body)) + body)
PY

got=$(
    python3 -m crit decode -i ipcns-shm-9.img -o decoded.json
    echo "decode: exit $?"
    python3 -c '
import base64, json
entries = json.load(open("decoded.json"))["entries"]
image = open("ipcns-shm-9.img", "rb").read()
print("entries:", len(entries), "of size", [entry["size"] for entry in entries])
print("its extra is the rest of the image:", image.endswith(base64.b64decode(entries[0]["extra"])))'
    python3 -m crit info ipcns-shm-9.img | tr -d ' \n' && echo
    python3 -m crit encode -i decoded.json -o again.img 2>&1 | tail -n 1 | cut -d: -f1
) || :
seen='decode: exit 0
entries: 1 of size [4096]
its extra is the rest of the image: True
{"magic":"IPCNS_SHM","count":2}
TypeError'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: crit 4.1.1 on two shared memory entries:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: crit 4.1.1 decodes one of two shared memory entries, and cannot encode what it decoded'
