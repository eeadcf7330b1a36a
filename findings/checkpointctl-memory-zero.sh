#!/usr/bin/env bash
# checkpointctl 1.3.0 and CRIU 4.2.1's image format (both of Debian forky): every process has 0 B of memory.
#
# Input: a checkpoint archive with one process of 300 pages, made by `crit encode` 4.2.1. Once the pagemap entry is as
# CRIU 4.2 writes it: nr_pages 300, compat_nr_pages 0 (a real dump by runc 1.5 with CRIU 4.2 was shown as 0 B too);
# once with the number in both fields.
# Guessed: `checkpointctl memparse` shows 1.2 MiB for both; the two are packaged side by side, and all else of the
# image is shown as it is.
# Instead: 0 B for the first, with no warning and exit code 0; 1.2 MiB for the second. The tool reads the old field
# only.
# Why it matters: a writer of CRIU images must fill both fields, or the tool for looking at the checkpoints of
# Kubernetes and podman shows empty processes.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | head -n 1)
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror forky main" >sources.list
apt=(apt-get -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download python3-pycriu=4.2.1-1 checkpointctl=1.3.0+ds1-3+b2 libc6
for package in *.deb; do dpkg-deb -x "$package" tree; done
python3 -m pip install -q --root-user-action=ignore --disable-pip-version-check --no-compile --no-deps \
    --target python protobuf==6.33.4
export PYTHONPATH=$dir/tree/usr/lib/python3/dist-packages:$dir/python

mkdir -p archive/checkpoint tree/tmp
echo '{"id": "0123456789abcdef", "name": "finding", "runtime": "runc", "createdTime": "2026-01-02T03:04:05Z"}' \
    >archive/config.dump
echo '{"ociVersion": "1.0.2"}' >archive/spec.dump
truncate -s $((300 * 4096)) archive/checkpoint/pages-1.img
python3 - <<'PY'
import json, subprocess, sys
def image(name, magic, *entries):
    json.dump({"magic": magic, "entries": list(entries)}, open("image.json", "w"))
    subprocess.run([sys.executable, "-m", "crit", "encode", "-i", "image.json",
                    "-o", f"archive/checkpoint/{name}.img"], check=True)
image("inventory", "INVENTORY", {"img_version": 2})
image("pstree", "PSTREE", {"pid": 1, "ppid": 0, "pgid": 1, "sid": 1, "threads": [1]})
image("core-1", "CORE", {
    "mtype": "X86_64",
    "tc": {"task_state": 1, "exit_code": 0, "personality": 0, "flags": 0, "blk_sigset": 0, "comm": "finding"},
})
places = ["mm_" + name for name in ("start_code end_code start_data end_data start_stack start_brk brk "
                                    "arg_start arg_end env_start env_end").split()]
image("mm-1", "MM", {**dict.fromkeys(places, 0x400000), "exe_file_id": 1, "dumpable": 1})
image("pagemap-1", "PAGEMAP", {"pages_id": 1},
      {"vaddr": 0x400000, "compat_nr_pages": 0, "nr_pages": 300, "flags": 4})
subprocess.run(["tar", "-C", "archive", "-cf", "tree/one.tar", "."], check=True)
image("pagemap-1", "PAGEMAP", {"pages_id": 1}, {"vaddr": 0x400000, "compat_nr_pages": 300, "nr_pages": 300, "flags": 4})
subprocess.run(["tar", "-C", "archive", "-cf", "tree/both.tar", "."], check=True)
PY

ln -s usr/lib usr/lib64 tree
got=$(
    for name in one both; do
        echo "$name: $(chroot tree /usr/bin/checkpointctl memparse "/$name.tar" | grep finding | tr -s ' ')"
    done
)
seen='one: 1 finding 0 B 0 B
both: 1 finding 1.2 MiB 0 B'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: checkpointctl 1.3.0:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: checkpointctl 1.3.0 shows 0 B for pages that are counted in nr_pages'
