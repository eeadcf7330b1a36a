# Limits of pure cgroup v2, as files say them and as they bite.

check_memory_files() {
    config '.linux.resources.memory = {limit: 67108864, swap: 134217728, reservation: 33554432}'
    start
    equal "$(cgroup)/memory.max" 67108864
    equal "$(cgroup)/memory.low" 33554432
    equal "$(cgroup)/memory.swap.max" 67108864
}

check_memory_limit_kills_and_events_tells() {
    config '.linux.resources.memory = {limit: 33554432, swap: 33554432}'
    command_is sh -c 'while [ ! -e /go ]; do sleep 0.1; done; tail /dev/zero; exit 0'
    start
    runtime events $id >/work/events 2>&1 &
    sleep 1
    touch "$bundle/rootfs/go"
    eventually grep -q '"type":"oom"' /work/events
    wait
    grep -q 'oom_kill [1-9]' /work/events || grep -q '"type":"oom","id":"vm"' /work/events
}

check_memory_too_low_to_start_is_said() {
    config '.linux.resources.memory = {limit: 4096, swap: 4096}'
    refused 'memory limit too low' runtime run -b "$bundle" $id
    [ -z "$(runtime list -q)" ]
}

check_pids_limit_holds() {
    config '.linux.resources.pids.limit = 8'
    command_is sh -c 'sh -c "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done" 2>/err; exec sleep 1000'
    start
    equal "$(cgroup)/pids.max" 8
    forked() { grep -q "can't fork" "$bundle/rootfs/err"; }
    eventually forked
    [ "$(cat "$(cgroup)/pids.peak" 2>/dev/null || echo 8)" -le 8 ]
}

check_cpu_files() {
    config '.linux.resources.cpu = {shares: 512, quota: 50000, period: 200000, burst: 10000, cpus: "1", mems: "0"}'
    start
    equal "$(cgroup)/cpu.max" "50000 200000"
    equal "$(cgroup)/cpu.max.burst" 10000
    equal "$(cgroup)/cpuset.cpus" 1
    equal "$(cgroup)/cpuset.mems.effective" 0
    [ "$(runtime exec $id grep Cpus_allowed_list /proc/self/status | tr -d '\t')" = Cpus_allowed_list:1 ]
    [ "$(cat "$(cgroup)/cpu.weight")" -lt 100 ]
}

check_cpu_idle() {
    config '.linux.resources.cpu = {idle: 1}'
    start
    equal "$(cgroup)/cpu.idle" 1
}

check_cpu_quota_throttles() {
    config '.linux.resources.cpu = {quota: 10000, period: 100000}'
    command_is sh -c 'while :; do :; done'
    start
    throttled() { grep -q 'nr_throttled [1-9]' "$(cgroup)/cpu.stat"; }
    eventually throttled
}

check_io_files() {
    local device
    device=$(cat /sys/block/nvme0n1/dev)
    config ".linux.resources.blockIO = {weight: 200, throttleReadBpsDevice: [{major: ${device%:*}, minor: ${device#*:},
        rate: 1048576}], throttleWriteIOPSDevice: [{major: ${device%:*}, minor: ${device#*:}, rate: 100}]}"
    start
    equal "$(cgroup)/io.max" "$device rbps=1048576 wbps=max riops=max wiops=100"
    if [ -e "$(cgroup)/io.bfq.weight" ]; then grep -q 'default 200' "$(cgroup)/io.bfq.weight"; else
        grep -q "default $((1 + (200 - 10) * 9999 / 990))" "$(cgroup)/io.weight"
    fi
}

check_bfq_weight() {
    modprobe bfq
    echo bfq >/sys/block/nvme0n1/queue/scheduler
    config '.linux.resources.blockIO = {weight: 300}'
    start
    grep -q '300' "$(cgroup)/io.bfq.weight"
}

check_hugepage_limits() {
    config '.linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 4194304}]'
    start
    equal "$(cgroup)/hugetlb.2MB.max" 4194304
    equal "$(cgroup)/hugetlb.2MB.rsvd.max" 4194304
}

check_unified_files() {
    config '.linux.resources.unified = {"memory.high": "41943040", "pids.max": "55"}'
    start
    equal "$(cgroup)/memory.high" 41943040
    equal "$(cgroup)/pids.max" 55
}

check_unified_unknown_file_is_refused() {
    config '.linux.resources.unified = {"memory.nonsense": "1"}'
    refused memory.nonsense runtime run -b "$bundle" $id
}

check_devices_are_a_program() {
    config '.linux.resources.devices = [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 1, minor: 11,
        access: "r"}]'
    config '.process.capabilities |= map_values(. + ["CAP_MKNOD"])'
    start
    runtime exec $id head -c 1 /dev/zero >/dev/null
    runtime exec $id mknod /tmp/kmsg c 1 11
    says 'not permitted' runtime exec $id sh -c 'echo no >/tmp/kmsg'
    runtime exec $id mknod /tmp/disk b 259 0
    says 'not permitted' runtime exec $id head -c 1 /tmp/disk
}

check_update_changes_limits() {
    config '.linux.resources.memory = {limit: 67108864}'
    start
    runtime update --memory 50331648 --memory-swap 50331648 --pids-limit 33 --cpu-quota 30000 --cpu-period 100000 \
        --cpu-share 2048 --cpuset-cpus 0 --blkio-weight 100 $id
    equal "$(cgroup)/memory.max" 50331648
    equal "$(cgroup)/memory.swap.max" 0
    equal "$(cgroup)/pids.max" 33
    equal "$(cgroup)/cpu.max" "30000 100000"
    equal "$(cgroup)/cpuset.cpus" 0
    [ "$(cat "$(cgroup)/cpu.weight")" -gt 100 ]
}

check_statistics() {
    config '.linux.resources.memory = {limit: 67108864} | .linux.resources.pids.limit = 9'
    start
    runtime events --stats $id >/work/stats
    jq -e '.data.memory.usage | .usage > 0 and .limit == 67108864' /work/stats
    jq -e '.data.pids | .current == 1 and .limit == 9' /work/stats
    jq -e '.data.cpu.usage.total > 0' /work/stats
    jq -e '.data.hugetlb["2MB"] != null' /work/stats
}

check_cgroup_file_system_in_the_container() {
    config '.linux.namespaces += [{type: "cgroup"}]
        | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup2", source: "cgroup", options: ["ro", "nosuid"]}]'
    start
    [ "$(runtime exec $id cat /proc/self/cgroup)" = 0::/ ]
    [ "$(runtime exec $id cat /sys/fs/cgroup/cgroup.procs | head -n 1)" = 1 ]
    ! runtime exec $id mkdir /sys/fs/cgroup/inner
}

check_inner_cgroups_go_with_the_container() {
    config '.linux.namespaces += [{type: "cgroup"}] | .linux.cgroupsPath = "/deep/er/vm"
        | .mounts += [{destination: "/sys/fs/cgroup", type: "cgroup2", source: "cgroup", options: ["rw"]}]'
    start
    runtime exec $id mkdir -p /sys/fs/cgroup/one/two
    runtime exec --cgroup one $id sh -c 'cat /proc/self/cgroup' | grep -q /one
    runtime delete --force $id
    [ ! -e /sys/fs/cgroup/deep/er/vm ]
}
