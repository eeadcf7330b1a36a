# An ordinary user's containers: scopes of the user's own service manager, cgroups that are delegated to the user, none.

user=1000

# Each command is a service of the user's: only from within its own cgroups a user may move processes about.
as_user() {
    setpriv --reuid=$user --regid=$user --init-groups env -i PATH="$PATH" XDG_RUNTIME_DIR=/run/user/$user \
        DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$user/bus \
        systemd-run --user --pipe --wait --quiet --collect --working-directory="$bundle" "$@"
}

runtime() { as_user /usr/local/bin/runtime "$@"; }
pid() { echo "$first"; }
property() { as_user systemctl --user show -P "$2" "$1"; }
launch() {
    start --systemd-cgroup
    first=$(runtime state $id | jq .pid)
}
scope=$runtime-vm.scope

# The bundle as the user's.
rootless() {
    loginctl enable-linger $user
    eventually test -S /run/user/$user/bus
    rm config.json
    chown -R $user:$user "$bundle"
    runtime spec --rootless
    config '.process.terminal = false | .root.readonly = false | .process.args = ["sleep", "1000"]
        | .linux.namespaces |= map(select(.type != "cgroup"))'
    trap 'runtime delete --force $id' EXIT
}

check_scope_of_the_users_manager() {
    rootless
    launch
    grep -q "/user.slice/user-$user.slice/user@$user.service/user.slice/$scope\$" "/proc/$(pid)/cgroup"
    [ "$(property "$scope" ActiveState)" = active ]
    [ "$(property "$scope" Delegate)" = yes ]
    runtime exec $id cat /proc/self/cgroup | grep -q "$scope"
    [ "$(runtime ps -f json $id | jq length)" = 1 ]
    runtime pause $id
    [ "$(runtime state $id | jq -r .status)" = paused ]
    runtime resume $id
    runtime delete --force $id
    [ "$(property "$scope" LoadState)" = not-found ]
    [ -z "$(find /sys/fs/cgroup -name "$scope")" ]
    [ -z "$(ls "/run/user/$user/$runtime")" ]
}

check_limits_of_the_users_manager() {
    rootless
    config '.linux.cgroupsPath = "user.slice:test:vm" | .linux.resources = {memory: {limit: 67108864}, pids: {limit: 20},
        cpu: {quota: 50000, period: 100000, cpus: "1"}}'
    scope=test-vm.scope
    launch
    equal "$(cgroup)/memory.max" 67108864
    equal "$(cgroup)/pids.max" 20
    equal "$(cgroup)/cpu.max" "50000 100000"
    equal "$(cgroup)/cpuset.cpus" 1
    [ "$(property $scope TasksMax)" = 20 ]
    [ "$(property $scope MemoryMax)" = 67108864 ]
    runtime update --memory 50331648 --pids-limit 30 $id
    equal "$(cgroup)/memory.max" 50331648
    equal "$(cgroup)/pids.max" 30
    [ "$(property $scope TasksMax)" = 30 ]
    runtime events --stats $id | jq -e '.data.pids.limit == 30'
}

check_memory_limit_of_a_user_kills() {
    rootless
    config '.linux.resources.memory = {limit: 33554432, swap: 33554432}'
    command_is sh -c 'tail /dev/zero; echo ended with $?; sleep 1000'
    launch
    killed() { grep -q 'oom_kill [1-9]' "$(cgroup)/memory.events"; }
    eventually killed
}

# A scope with Delegate=yes whose processes are in a leaf, so that controllers can be passed on to its neighbours.
check_delegated_cgroup_without_systemd() {
    rootless
    config '.linux.resources = {memory: {limit: 67108864}, pids: {limit: 20}}'
    cat >"$bundle/script" <<'SCRIPT'
set -e
own=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
mkdir "$own/leaf"
echo $$ >"$own/leaf/cgroup.procs"
runtime run -d vm </dev/null >out 2>&1 || { cat out; exit 1; }
inner=$own/vm
[ "$(cat "$inner/memory.max") $(cat "$inner/pids.max")" = "67108864 20" ]
[ "$(cat "$inner/cgroup.procs")" = "$(runtime state vm | jq .pid)" ]
[ "$(runtime ps -f json vm | jq length)" = 1 ]
runtime update --pids-limit 30 vm
[ "$(cat "$inner/pids.max")" = 30 ]
runtime pause vm
grep -q 'frozen 1' "$inner/cgroup.events"
runtime resume vm
runtime delete --force vm
[ ! -e "$inner" ]
SCRIPT
    as_user -p Delegate=yes bash -x script
}

check_no_cgroup_is_needed() {
    [ "$runtime" = stasis ] || skip "runc has no ps and no kill --all there"
    rootless
    # Nothing of the user's is in here.
    config '.linux.resources = null'
    alone() {
        setpriv --reuid=$user --regid=$user --init-groups env -i PATH="$PATH" XDG_RUNTIME_DIR=/run/user/$user runtime "$@"
    }
    alone run -d -b "$bundle" $id </dev/null >/work/output 2>&1 || { cat /work/output; exit 1; }
    alone exec -d $id sleep 500
    [ "$(alone ps -f json $id | jq length)" = 2 ]
    refused 'has no cgroup' alone pause $id
}

check_host_file_systems_where_the_user_has_no_others() {
    [ "$runtime" = stasis ] || skip "runc refuses it"
    rootless
    config '.linux.namespaces |= map(select(.type != "network" and .type != "ipc"))
        | .mounts |= map(if .destination == "/sys" then .type = "sysfs" | .options = ["nosuid", "noexec", "nodev", "ro"]
            elif .destination == "/sys/fs/cgroup" then empty else . end)'
    command_is sh -c 'ls /sys/class/net; ls -A /sys/fs/cgroup; grep -E " (/sys|/dev/mqueue) " /proc/mounts'
    runtime run $id >/work/said
    grep -q '^lo$' /work/said
    grep -q '^mqueue /dev/mqueue mqueue' /work/said
    grep -q '^sysfs /sys sysfs ro,nosuid,nodev,noexec' /work/said
    ! grep -q controllers /work/said
}
