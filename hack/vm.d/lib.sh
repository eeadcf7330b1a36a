# What the checks share; sourced by each.
# A check is a function check_NAME under `set -e`: it passes if nothing in it fails.

bundle=/work/bundle
id=vm
trap 'echo "failed: line $LINENO: $BASH_COMMAND"' ERR

runtime() { command runtime "$@"; }

fail() {
    echo "$*"
    exit 1
}

skip() {
    echo "$*"
    exit 77
}

# need_v1 CONTROLLER…: some kernels have them in v2 alone (memory and cpuset, Linux 7.3 as Debian builds it).
need_v1() {
    [ "$mode" = hybrid ] || return 0
    local controller
    for controller in "$@"; do [ -d /sys/fs/cgroup/$controller ] || skip "no v1 controller $controller on this kernel"; done
}

# A bundle: busybox that sleeps.
make_template() {
    mkdir -p /work/template/rootfs/{bin,proc,dev,sys,tmp,etc}
    cd /work/template
    cp /bin/busybox rootfs/bin/
    local name
    for name in sh sleep cat echo dd id ls mkdir rmdir mknod kill true false seq head tail grep ps; do
        ln -s busybox "rootfs/bin/$name"
    done
    runtime spec
    # From a cgroup namespace the checks would not see where they are.
    jq '.process.terminal = false | .root.readonly = false | .process.args = ["sleep", "1000"]
        | .linux.namespaces |= map(select(.type != "cgroup"))' config.json >new.json
    mv new.json config.json
}

# A fresh one of them.
begin() {
    rm -rf "$bundle"
    cp -a /work/template "$bundle"
    cd "$bundle"
}

# config FILTER: changes config.json by jq.
config() {
    jq "$@" "$bundle/config.json" >"$bundle/new.json"
    mv "$bundle/new.json" "$bundle/config.json"
}

# command WORD…: what the container runs.
command_is() {
    local words
    words=$(jq -nc '$ARGS.positional' --args -- "$@")
    config ".process.args = $words"
}

start() { runtime "$@" run -d -b "$bundle" $id </dev/null >/work/output 2>&1 || { cat /work/output; return 1; }; }

pid() { runtime state $id | jq .pid; }

# The container's cgroup directory on v2.
cgroup() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pid)/cgroup")"; }

# equal FILE TEXT: what a file says.
equal() {
    local said
    said=$(cat "$1")
    [ "$said" = "$2" ] || fail "$1: $said, not $2"
}

# eventually COMMAND…: within ten seconds.
eventually() {
    local try
    for try in $(seq 100); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    fail "did not happen: $*"
}

# refused TEXT COMMAND…: it fails, and says so.
refused() {
    local text=$1 said code=0
    shift
    said=$("$@" 2>&1) || code=$?
    [ $code != 0 ] || fail "was not refused: $*"
    [[ $said == *"$text"* ]] || fail "ended with $code and said $said, not $text"
}

# says TEXT COMMAND…: whatever its status.
says() {
    local text=$1 said
    shift
    said=$("$@" 2>&1) || :
    [[ $said == *"$text"* ]] || fail "said $said, not $text"
}

# Whatever the check left.
clean() {
    local left
    for left in $(runtime list -q 2>/dev/null); do runtime delete --force "$left"; done
}
