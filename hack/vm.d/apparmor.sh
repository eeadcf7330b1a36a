# Labels of a security module that is switched on: AppArmor.

load_profile() {
    apparmor_parser -r <<PROFILE
profile vm-check flags=(attach_disconnected, mediate_deleted) {
    file, capability, network, mount, umount, pivot_root, unix, signal, ptrace,
    deny /tmp/forbidden rw,
    deny /proc/sys/** w,
}
profile vm-other flags=(attach_disconnected, mediate_deleted) { file, capability, signal, ptrace, unix, }
PROFILE
}

check_first_process_is_confined() {
    load_profile
    config '.process.apparmorProfile = "vm-check"'
    touch rootfs/tmp/forbidden
    start
    equal "/proc/$(pid)/attr/current" "vm-check (enforce)"
    says 'ermission denied' runtime exec $id cat /tmp/forbidden
    [ "$(runtime exec $id cat /proc/self/attr/current)" = "vm-check (enforce)" ]
}

check_exec_takes_another_profile() {
    load_profile
    config '.process.apparmorProfile = "vm-check"'
    start
    [ "$(runtime exec --apparmor vm-other $id cat /proc/self/attr/current)" = "vm-other (enforce)" ]
    jq '.process | .apparmorProfile = "vm-other" | .args = ["cat", "/proc/self/attr/current"]' config.json >/work/process.json
    [ "$(runtime exec -p /work/process.json $id)" = "vm-other (enforce)" ]
}

check_profile_under_no_new_privileges_and_another_user() {
    load_profile
    config '.process.apparmorProfile = "vm-check" | .process.noNewPrivileges = true | .process.user = {uid: 1000, gid: 1000}'
    start
    equal "/proc/$(pid)/attr/current" "vm-check (enforce)"
}

check_unknown_profile_is_refused() {
    config '.process.apparmorProfile = "no-such-profile"'
    refused 'apparmor' runtime run -b "$bundle" $id
    [ -z "$(runtime list -q)" ]
    config 'del(.process.apparmorProfile)'
    start
    refused 'apparmor' runtime exec --apparmor no-such-profile $id true
}

check_selinux_label_is_refused_where_it_is_off() {
    config '.process.selinuxLabel = "system_u:system_r:container_t:s0"'
    refused selinux runtime run -b "$bundle" $id
}

check_restored_processes_are_confined() {
    [ "$runtime" != runc ] || skip "runc needs CRIU"
    load_profile
    config '.process.apparmorProfile = "vm-check"'
    command_is sh -c 'sleep 1000 & wait'
    start
    runtime checkpoint --image-path /work/confined --work-path /work $id || { cat /work/dump.log; exit 1; }
    runtime restore -d --image-path /work/confined --work-path /work -b "$bundle" $id </dev/null >/work/output 2>&1 ||
        { cat /work/output; dmesg | tail -n 5; exit 1; }
    local process
    for process in $(runtime ps -f json $id | jq '.[]'); do equal "/proc/$process/attr/current" "vm-check (enforce)"; done
    runtime delete --force $id
    runtime restore -d --lsm-profile apparmor:vm-other --image-path /work/confined --work-path /work -b "$bundle" $id \
        </dev/null >/work/output 2>&1 || { cat /work/output; dmesg | tail -n 5; exit 1; }
    equal "/proc/$(pid)/attr/current" "vm-other (enforce)"
}
