#!/usr/bin/env bash
# Linux 6.18 with coreutils 9.1 and util-linux 2.38.1 (Debian 12): a moved mount stands in mountinfo before the mount
# that it covers.
#
# Input: tmpfs `old` (1 MiB) is mounted, then tmpfs `new` (2 MiB) at another place, then `old` is moved on top of
# `new`.
# Guessed: mountinfo has a mount after its parent, so the last line of a mount point is the one that is seen there; df
# and findmnt name `old`.
# Instead: the lines are in the order in which the mounts were made. `old`, the child, comes first, `new`, its parent,
# last. df prints the source `new` beside the size of `old`. findmnt prints both.
# Why it matters: what is seen at a path, and the order in which mounts must be made anew, are to be had from the ids
# of mount and parent, not from the order of lines.
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
"${apt[@]}" download coreutils=9.1-1 util-linux=2.38.1-5+deb12u3
for package in *.deb; do dpkg-deb -x "$package" tree; done
mkdir here there
got=$(unshare -m --propagation private bash -euc '
    mount -t tmpfs -o size=1m old here
    mount -t tmpfs -o size=2m new there
    touch here/of-old
    mount --move here there
    ls there
    { read -r id parent _; read -r later_id later_parent _; } < <(grep -F " $PWD/there " /proc/self/mountinfo)
    [ "$later_parent" != "$id" ] || echo "parent first"
    [ "$parent" != "$later_id" ] || echo "child first"
    tree/bin/df --output=source,size there | tail -n 1 | tr -s " "
    tree/bin/findmnt -n -o SOURCE -M "$PWD/there" | paste -s -d " "')
seen='of-old
child first
new 1024
old new'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: a moved mount on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: mountinfo has the moved mount before its parent, and df names the wrong one'
