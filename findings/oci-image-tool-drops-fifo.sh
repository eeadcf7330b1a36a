#!/usr/bin/env bash
# oci-image-tool 1.0.0~rc1 and umoci 0.4.7 (Debian trixie; oci-image-tool and umoci 0.6.0 of forky do the same):
# unpacking leaves FIFOs out.
#
# Input: an image made by umoci whose only layer has a file, a hard link to it and a FIFO; `oci-image-tool validate`
# says that it is valid.
# Guessed: `oci-image-tool unpack` makes all three (the layer format of the OCI image specification has FIFOs, and the
# caller is root), or fails.
# Instead: file and link are there, the FIFO is not; no warning, exit code 0. `umoci unpack` makes all three.
# Why it matters: a rootfs that was unpacked by this tool is not the image's, and a program that opens its FIFO finds
# out first.
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
"${apt[@]}" download umoci=0.4.7+ds-4+b10 oci-image-tool=1.0.0~rc2+really.rc1+dfsg-2+b23
for package in *.deb; do dpkg-deb -x "$package" tree; done

export PATH=$dir/tree/usr/bin:$PATH
umoci init --layout image
umoci new --image image:one
umoci unpack --image image:one first
echo content >first/rootfs/file
ln first/rootfs/file first/rootfs/link
mkfifo first/rootfs/fifo
umoci repack --image image:two first
oci-image-tool validate --type image --ref name=two image >report 2>&1

got=$(
    tail -n 1 report
    umoci unpack --image image:two umoci
    oci-image-tool unpack --ref name=two image tool 2>&1
    echo "exit $?"
    for root in umoci/rootfs tool; do find "$root" -mindepth 1 -printf '%H: %P %y %n\n' | sort; done
)
seen='Validation succeeded
exit 0
umoci/rootfs: fifo p 1
umoci/rootfs: file f 2
umoci/rootfs: link f 2
tool: file f 2
tool: link f 2'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: a layer with a FIFO:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: oci-image-tool unpacks a layer without its FIFO and says nothing'
