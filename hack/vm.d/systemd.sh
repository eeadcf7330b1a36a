# --systemd-cgroup: a transient scope of systemd's for each container, on pure v2 and on v1.

managed() { runtime --systemd-cgroup "$@"; }
launch() { start --systemd-cgroup; }
property() { systemctl show -P "$2" "$1"; }
scope=test-vm.scope

placed() { config --arg path "$1" '.linux.cgroupsPath = $path'; }

check_default_scope() {
    launch
    local unit=stasis-vm.scope
    [ "$runtime" = stasis ] || unit=runc-vm.scope
    [ "$(property $unit ActiveState)" = active ]
    [ "$(property $unit Slice)" = system.slice ]
    [ "$(property $unit Delegate)" = yes ]
    grep -q "/system.slice/$unit\$" "/proc/$(pid)/cgroup"
    runtime exec $id cat /proc/self/cgroup | grep -q "$unit"
    [ "$(runtime ps -f json $id | jq length)" = 1 ]
    runtime delete --force $id
    [ "$(property $unit LoadState)" = not-found ]
    [ -z "$(find /sys/fs/cgroup -name $unit)" ]
}

check_nested_slice() {
    placed machine-inner.slice:test:vm
    launch
    grep -q "/machine.slice/machine-inner.slice/$scope\$" "/proc/$(pid)/cgroup"
    [ "$(property $scope Slice)" = machine-inner.slice ]
}

check_wrong_path_is_refused() {
    placed /some/where
    refused 'expected cgroupsPath to be of format' managed run -b "$bundle" $id
    placed 'a--b.slice:test:vm'
    refused 'invalid slice name' managed run -b "$bundle" $id
    [ -z "$(runtime list -q)" ]
}

check_limits_outlive_a_reload_of_systemd() {
    need_v1 memory
    placed system.slice:test:vm
    config '.linux.resources = {memory: {limit: 67108864}, pids: {limit: 20}, devices: [{allow: false, access: "rwm"}],
        cpu: {quota: 50000, period: 100000, shares: 512}}
        | .process.capabilities |= map_values(. + ["CAP_MKNOD"])'
    launch
    [ "$(property $scope TasksMax)" = 20 ]
    [ "$(property $scope CPUQuotaPerSecUSec)" = 500ms ]
    [ "$(property $scope DevicePolicy)" = strict ]
    systemctl daemon-reload
    # Has systemd write everything anew.
    systemctl set-property --runtime $scope IOAccounting=yes
    local root=/sys/fs/cgroup
    [ "$mode" = unified ] || root=/sys/fs/cgroup/pids
    equal "$root/system.slice/$scope/pids.max" 20
    if [ "$mode" = unified ]; then
        [ "$(property $scope MemoryMax)" = 67108864 ]
        equal "$(cgroup)/memory.max" 67108864
        equal "$(cgroup)/cpu.max" "50000 100000"
    else
        equal "/sys/fs/cgroup/memory/system.slice/$scope/memory.limit_in_bytes" 67108864
        equal "/sys/fs/cgroup/cpu/system.slice/$scope/cpu.cfs_quota_us" 50000
    fi
    runtime exec $id mknod /tmp/kmsg c 1 11
    says 'not permitted' runtime exec $id sh -c 'echo no >/tmp/kmsg'
    runtime exec $id head -c 1 /dev/zero >/dev/null
}

check_one_process_is_enough() {
    config '.linux.resources.pids.limit = 1'
    launch
}

check_cpuset_properties() {
    need_v1 cpuset
    placed system.slice:test:vm
    config '.linux.resources.cpu = {cpus: "1", mems: "0"}'
    launch
    [ "$(property $scope AllowedCPUs)" = 1 ]
    [ "$(runtime exec $id grep Cpus_allowed_list /proc/self/status | tr -d '\t')" = Cpus_allowed_list:1 ]
}

check_controllers_that_systemd_does_not_know() {
    placed system.slice:test:vm
    config '.linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 4194304}]'
    launch
    systemctl daemon-reload
    systemctl set-property --runtime $scope IOAccounting=yes
    if [ "$mode" = unified ]; then equal "$(cgroup)/hugetlb.2MB.max" 4194304; else
        equal /sys/fs/cgroup/hugetlb/system.slice/*-vm.scope/hugetlb.2MB.limit_in_bytes 4194304
    fi
}

check_annotations_are_properties() {
    placed system.slice:test:vm
    config '.annotations = {"org.systemd.property.TimeoutStopSec": "uint64 123",
        "org.systemd.property.CollectMode": "'"'inactive-or-failed'"'"}'
    launch
    [ "$(property $scope TimeoutStopUSec)" = "2min 3s" ]
    [ "$(property $scope CollectMode)" = inactive-or-failed ]
}

check_wrong_annotation_is_refused() {
    config '.annotations = {"org.systemd.property.TimeoutStopSec": "soon"}'
    refused org.systemd.property.TimeoutStopSec managed run -b "$bundle" $id
    config '.annotations = {"org.systemd.property.NoSuchProperty": "1"}'
    refused NoSuchProperty managed run -b "$bundle" $id
    [ -z "$(runtime list -q)" ]
    [ -z "$(systemctl list-units --all --plain --no-legend '*vm.scope')" ]
}

check_update_tells_systemd() {
    need_v1 memory
    placed system.slice:test:vm
    launch
    runtime update --pids-limit 44 --memory 50331648 --cpu-share 2048 $id
    [ "$(property $scope TasksMax)" = 44 ]
    runtime events --stats $id | jq -e '.data.pids.limit == 44'
    [ "$mode" != unified ] || [ "$(property $scope MemoryMax)" = 50331648 ]
}

check_pause_list_and_kill_need_no_flag() {
    launch
    runtime pause $id
    [ "$(runtime list -f json | jq -r '.[0].status')" = paused ]
    runtime resume $id
    runtime kill $id KILL
    gone() { [ "$(runtime state $id | jq -r .status)" = stopped ]; }
    eventually gone
    runtime delete $id
    unloaded() { [ -z "$(systemctl list-units --all --plain --no-legend '*vm.scope')" ]; }
    eventually unloaded
}

check_name_can_be_used_again() {
    local round
    for round in 1 2 3; do
        launch
        runtime delete --force $id
    done
}

check_failed_start_leaves_no_unit() {
    config '.process.args = ["/no/such/program"]'
    refused 'no such file' managed run -b "$bundle" $id
    [ -z "$(systemctl list-units --all --plain --no-legend '*vm.scope')" ]
    [ -z "$(find /sys/fs/cgroup -name '*vm.scope')" ]
}

check_runs_in_the_foreground() {
    command_is sh -c 'cat /proc/self/cgroup; exit 5'
    local code=0
    managed run -b "$bundle" $id </dev/null >/work/said || code=$?
    [ $code = 5 ]
    grep -q vm.scope /work/said
    [ -z "$(systemctl list-units --all --plain --no-legend '*vm.scope')" ]
}

check_checkpoint_and_restore() {
    [ "$runtime" != runc ] || skip "runc needs CRIU"
    placed system.slice:test:vm
    launch
    runtime checkpoint --image-path /work/scope-images --work-path /work $id || { cat /work/dump.log; exit 1; }
    unloaded() { [ "$(property $scope LoadState)" = not-found ]; }
    eventually unloaded
    managed restore -d --image-path /work/scope-images --work-path /work -b "$bundle" $id </dev/null >/work/output 2>&1 ||
        { cat /work/output; exit 1; }
    [ "$(property $scope ActiveState)" = active ]
    grep -q "/system.slice/$scope\$" "/proc/$(pid)/cgroup"
    runtime exec $id true
}

check_without_a_bus_systemd_itself_is_asked() {
    [ "$runtime" != runc ] || skip "runc waits for the bus"
    mv /run/dbus/system_bus_socket /run/dbus/moved
    trap 'mv /run/dbus/moved /run/dbus/system_bus_socket' EXIT
    launch
    runtime delete --force $id
}

check_scope_that_systemd_stops_ends_the_container() {
    placed system.slice:test:vm
    launch
    systemctl kill -s KILL $scope
    gone() { [ "$(runtime state $id | jq -r .status)" = stopped ]; }
    eventually gone
    runtime delete $id
}
