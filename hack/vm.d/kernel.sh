# What needs CAP_SYS_RESOURCE or the older kernel.

check_limits_are_raised() {
    config '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 2000000, hard: 2000000}]'
    # fs.nr_open bounds even root.
    echo 3000000 >/proc/sys/fs/nr_open
    start
    grep -q 'Max open files  *2000000  *2000000' "/proc/$(pid)/limits"
}

check_oom_score_is_lowered() {
    config '.process.oomScoreAdj = -500'
    start
    equal "/proc/$(pid)/oom_score_adj" -500
    config '.process.oomScoreAdj = 100'
    jq '.process | .args = ["sleep", "300"] | .oomScoreAdj = -900' config.json >/work/process.json
    runtime exec -d --pid-file /work/pid -p /work/process.json $id
    equal "/proc/$(cat /work/pid)/oom_score_adj" -900
}

check_all_namespaces() {
    config '.linux.namespaces = [{type: "pid"}, {type: "network"}, {type: "ipc"}, {type: "uts"}, {type: "mount"},
        {type: "cgroup"}]'
    [ "$runtime" = runc ] || config '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {boottime: {secs: 100000}}'
    start
    local kind
    for kind in pid net ipc uts mnt cgroup; do
        [ "$(readlink "/proc/$(pid)/ns/$kind")" != "$(readlink "/proc/self/ns/$kind")" ]
    done
    [ "$runtime" = runc ] || [ "$(runtime exec $id cat /proc/uptime | cut -d. -f1)" -gt 100000 ]
}

check_seccomp_filters() {
    config '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"],
        action: "SCMP_ACT_ERRNO", errnoRet: 95}]}'
    start
    says 'not supported' runtime exec $id mkdir /tmp/x
}

check_hostname_and_sysctl() {
    config '.hostname = "vm" | .linux.sysctl = {"net.ipv4.ip_unprivileged_port_start": "80"}'
    start
    [ "$(runtime exec $id cat /proc/sys/kernel/hostname)" = vm ]
    [ "$(runtime exec $id cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" = 80 ]
}
