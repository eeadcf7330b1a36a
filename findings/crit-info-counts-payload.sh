#!/usr/bin/env bash
# CRIT 4.1.1 (Debian trixie; 4.2.1 of forky does the same): `crit info` counts an image's payload as entries.
#
# Input: pipes-data images, made by `crit encode`: five pipes with the six bytes "hello\n" each; then one pipe that
# holds sixteen bytes, which are four little-endian numbers 2, 2, 2, 2.
# Guessed: count is the number of entries that `crit decode` shows, 5 and 1.
# Instead: 2 and 3. `crit info` steps from one size field to the next without the payload in between, so what is in
# the pipes is read as sizes. No error, exit code 0. `crit decode` is right. (Of a pagemap image, count leaves out the
# first entry: there it does know the format.)
# Why it matters: the count says nothing for images of pipes, FIFOs, socket queues, TCP streams and System V objects;
# a check that two checkpoints "have the same number of objects" by `crit info` compares the programs' data.
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
import base64, json
def image(name, contents):
    entries = [{"pipe_id": number, "bytes": len(data), "extra": base64.b64encode(data).decode()}
               for number, data in enumerate(contents, 1)]
    json.dump({"magic": "PIPES_DATA", "entries": entries}, open(name, "w"))
image("five.json", [b"hello\n"] * 5)
image("one.json", [b"\2\0\0\0" * 4])
PY

got=$(
    for name in five one; do
        python3 -m crit encode -i $name.json -o $name.img
        python3 -m crit decode -i $name.img |
            python3 -c 'import json, sys; print(sys.argv[1], "decoded:", len(json.load(sys.stdin)["entries"]))' $name
        python3 -m crit info $name.img | tr -d ' \n' && echo
    done
)
seen='five decoded: 5
{"magic":"PIPES_DATA","count":2}
one decoded: 1
{"magic":"PIPES_DATA","count":3}'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: crit 4.1.1 counts:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: crit info 4.1.1 counts 2 entries of 5, and 3 of 1, because it reads what is in the pipes'
