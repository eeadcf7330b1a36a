# What the checks share; sourced by each. A check is a function check_NAME under `set -e`: it passes if nothing in it fails.

trap 'echo "failed: line $LINENO: $BASH_COMMAND"' ERR
runtime=/peers/bin/stasis
[ "$RUNTIME" = stasis ] || runtime=$(command -v "$RUNTIME")
runtime_under_test() { "$runtime" "$@"; }

# The one image, here and in the registry of this root.
image=localhost:5000/bb:latest
counter='i=0; while :; do i=$((i+1)); echo $i >/state/m; mv /state/m /state/n; sleep 0.02; done'
redis=(redis-server --save '' --unixsocket /state/socket)
# What a container says of its limit, in v2 and v1.
memory_limit='cd /sys/fs/cgroup; cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes'
# Programs of the root find themselves in a container: folders and their places there.
shared_folders='/usr:/usr /usr/lib:/lib /usr/lib64:/lib64'

die() {
    echo "$*" >&2
    exit 1
}

fail() {
    echo "$*"
    exit 1
}

skip() {
    echo "$*"
    exit 77
}

# The client's container is in that state.
is() { [ "$(inspect "$1" .State.Status)" = "$2" ]; }
# Flags of the client that give a container the shared folders.
mounts() {
    local pair
    for pair in $shared_folders; do echo --volume "$pair:ro"; done
}

# ends_with CODE COMMAND…: its exit code.
ends_with() {
    local expected=$1 code=0 said
    shift
    said=$("$@" 2>&1) || code=$?
    [ $code = "$expected" ] || fail "$* ended with $code, not $expected: $said"
}

# says TEXT COMMAND…: whatever its status.
says() {
    local text=$1 said
    shift
    said=$("$@" 2>&1) || :
    [[ $said == *"$text"* ]] || fail "$* said $said, not $text"
}

# equals TEXT COMMAND…: all that it prints.
equals() {
    local text=$1 said
    shift
    said=$("$@")
    [ "$said" = "$text" ] || fail "$* printed $said, not $text"
}

# eventually COMMAND…: within ten seconds.
eventually() {
    local try said
    for try in $(seq 100); do
        if said=$("$@" 2>&1); then return 0; fi
        sleep 0.1
    done
    fail "did not happen: $*: $said"
}

# Clients tell a terminal its size a moment after the program has begun.
sizes='for i in 1 2 3 4 5 6 7 8 9; do stty size; sleep 0.1; done'

# on_terminal COMMAND…: on a terminal of 30 lines and 100 columns; what it says.
on_terminal() { script -qec "stty rows 30 cols 100; $(printf '%q ' "$@")" /dev/null </dev/null | tr -d '\r'; }

# counted NAME BEYOND: how far a container has counted, beyond a number. The client's in_container asks it.
counted() {
    local try n=
    for try in $(seq 100); do
        n=$(in_container "$1" cat /state/n 2>/dev/null | tr -d '\r') || n=
        [ "${n:-0}" -le "$2" ] || break
        sleep 0.1
    done
    [ "${n:-0}" -gt "$2" ] || fail "$1 has not counted beyond $2: $n" >&2
    # From the start it would take longer than this to come so far.
    [ "$2" = 0 ] || [ "$n" -lt $(($2 + 1000)) ] || fail "$1 jumped from $2 to $n" >&2
    echo "$n"
}

ask_redis() { in_container "$1" redis-cli -s /state/socket --raw "${@:2}"; }

# fill_redis NAME ROUND: 2,000 more keys; the digest of all of them.
fill_redis() {
    eventually ask_redis "$1" ping >/dev/null
    ask_redis "$1" eval "for i = 1, 2000 do redis.call('set', '$2:' .. i, redis.sha1hex(i)) end return 'filled'" 0 >/dev/null
    redis_state "$1"
}

# All keys with their values, in one sum.
redis_state() {
    ask_redis "$1" eval "local s = '' local k = redis.call('keys', '*') table.sort(k)
        for _, n in ipairs(k) do s = redis.sha1hex(s .. n .. redis.call('get', n)) end return #k .. ' ' .. s" 0
}

# Debian's busybox and its links, made into an image without a network.
make_images() {
    local bundle=/tmp/image rootfs=/tmp/image/rootfs folder applet
    umoci init --layout /tmp/oci >/tmp/log 2>&1
    umoci new --image /tmp/oci:bb
    umoci unpack --image /tmp/oci:bb $bundle
    for folder in bin etc dev proc sys tmp run root state; do mkdir -p $rootfs/$folder; done
    install -m 755 /bin/busybox $rootfs/bin/busybox
    for applet in $(busybox --list); do [ $applet = busybox ] || ln -s busybox $rootfs/bin/"$applet"; done
    echo root:x:0:0:root:/root:/bin/sh >$rootfs/etc/passwd
    umoci repack --image /tmp/oci:bb $bundle
    # The command is what the sandbox of a pod runs.
    umoci config --image /tmp/oci:bb --config.env PATH=/bin:/usr/bin --config.cmd sleep --config.cmd 100000
    tar -C /tmp/oci -cf /tmp/oci.tar .
    skopeo copy -q --insecure-policy oci:/tmp/oci:bb docker-archive:/tmp/bb.tar:$image
}

# start_containerd: for ctr, CRI and docker, unless it runs.
start_containerd() {
    ! ctr version >/dev/null 2>&1 || return 0
    mkdir -p /etc/containerd /etc/cni/net.d
    cp /peers/containerd.toml /etc/containerd/config.toml
    # What CRI calls is noted.
    printf '#!/bin/sh\necho "$@" >>/tmp/calls\nexec %s "$@"\n' "$runtime" >/tmp/runtime
    chmod 755 /tmp/runtime
    cp /peers/network.conflist /etc/cni/net.d/
    setsid containerd >/tmp/containerd.log 2>&1 </dev/null &
    eventually ctr version
}
