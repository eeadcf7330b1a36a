# A root of Debian forky, and the way into it; to be sourced after hack/lib.sh. The first time takes five minutes and 1 GB.

folder=$PWD/.build/peers
root=$folder/root
packages="containerd podman docker.io docker-cli runc crun criu busybox-static redis-server redis-tools conmon netavark
    aardvark-dns catatonit containernetworking-plugins iproute2 iptables nftables jq umoci skopeo docker-registry
    python3-grpcio python3-protobuf protobuf-compiler"

make_root() {
    need_packages debootstrap debian-archive-keyring
    [ "$(cat "$folder/packages" 2>/dev/null)" != "$packages" ] || return 0
    if [ ! -e "$folder/packages" ]; then
        rm -rf --one-file-system "$root"
        mkdir -p "$folder"
        # Debian 12's debootstrap does not know forky by name; it is made as sid is.
        debootstrap --variant=minbase forky "$root" "$(debian_mirror)" /usr/share/debootstrap/scripts/sid >&2
        printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
        chmod 755 "$root/usr/sbin/policy-rc.d"
    fi
    # shellcheck disable=SC2016,SC2086 # for the inner shell; names without blanks
    unshare -m --propagation private sh -euc 'root=$1; shift
        mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"
        export DEBIAN_FRONTEND=noninteractive
        # A mirror that stands still at some day has lists of that day.
        chroot "$root" apt-get -o Acquire::Check-Valid-Until=false update -q
        chroot "$root" apt-get install -qy --no-install-recommends "$@"
        # Of the Go package that has the definition of CRI, without what it depends on.
        chroot "$root" sh -euc "cd /var/cache/apt; apt-get download -q golang-k8s-cri-api-dev
            dpkg-deb --fsys-tarfile golang-k8s-cri-api-dev_*.deb |
                tar -xO --wildcards \*/runtime/v1/api.proto >/usr/share/cri.proto
            rm golang-k8s-cri-api-dev_*.deb"
        chroot "$root" apt-get clean' sh "$root" $packages </dev/null >&2
    echo "$packages" >"$folder/packages"
}

# Cgroups of the run's own, in every hierarchy: what is started below cannot leave them.
make_cgroups() {
    local point kind file
    while read -r point kind; do
        mkdir "$point/$name"
        groups+=("$point/$name")
        if [ "$kind" = cgroup2 ]; then
            # In v2 a group that has controllers for others has no processes.
            mkdir "$point/$name/init"
            inner+=("$point/$name/init")
        elif [ -e "$point/cpuset.cpus" ]; then
            for file in cpuset.cpus cpuset.mems; do cat "$point/$file" >"$point/$name/$file"; done
            echo 1 >"$point/$name/cgroup.clone_children"
        fi
    done < <(awk '$3 ~ /^cgroup2?$/ { print $2, $3 }' /proc/mounts)
}
clean_up() {
    local group
    for group in "${groups[@]}"; do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || :; done
}

# in_root COMMAND…: in the root, in mount, network, pid and cgroup namespaces and cgroups of its own, with an empty environment.
in_root() {
    groups=() inner=()
    name=peers-$$
    trap clean_up EXIT
    make_cgroups
    (
        for group in "${groups[@]}"; do echo $BASHPID >"$group/cgroup.procs"; done
        # They are the roots that the namespace shows. Only then, where it is to be, the deeper one.
        # shellcheck disable=SC2016 # for the inner shell
        exec unshare -C bash -c 'for group in $0; do echo $$ >"$group/cgroup.procs"; done
            exec unshare -m -n -p --fork --kill-child --propagation private "$@"' "${inner[*]}" hack/peers.d/enter "$root" \
            env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    )
}
