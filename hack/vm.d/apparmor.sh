# Labels of a security module that is switched on: AppArmor.

load_profile() {
    apparmor_parser -r <<PROFILE
profile vm-check flags=(attach_disconnected, mediate_deleted) {
    file, capability, network, mount, umount, pivot_root, unix, signal, ptrace,
    deny /tmp/forbidden rw,
    deny /proc/sys/** w,
}
profile vm-changing flags=(attach_disconnected, mediate_deleted) {
    file, capability, network, mount, umount, pivot_root, unix, signal, ptrace,
    change_profile -> vm-changing//part,
    change_profile -> &vm-other,
    profile part flags=(attach_disconnected, mediate_deleted) {
        file, signal, ptrace, unix,
        deny /tmp/forbidden rw,
    }
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

# changing COMMAND: a container whose second process gives this command to AppArmor; both write that they are there.
changing() {
    [ "$runtime" = stasis ] || skip "runc needs CRIU"
    load_profile
    trap 'cat /work/output; dmesg | grep apparmor=.DENIED | tail -n 5 || :' EXIT
    config '.process.apparmorProfile = "vm-changing"'
    command_is sh -c "(echo -n '$1' >/proc/thread-self/attr/apparmor/current && echo done >/tmp/changed; exec sleep 1000) &
        exec sleep 1001"
    start
    eventually test -s "$bundle/rootfs/tmp/changed"
    rm -rf /work/changed
    runtime checkpoint --image-path /work/changed --work-path /work $id || { cat /work/dump.log; exit 1; }
}

restore() { runtime restore -d "$@" --image-path /work/changed --work-path /work -b "$bundle" $id </dev/null; }

# has_profiles TEXT: those of all processes, sorted.
has_profiles() {
    local process said
    said=$(for process in $(runtime ps -f json $id | jq '.[]'); do cat "/proc/$process/attr/current"; done | sort | tr '\n' ' ')
    [ "$said" = "$1" ] || fail "profiles are $said, not $1"
}

check_a_profile_that_was_entered_comes_back() {
    config '.process.noNewPrivileges = false'
    changing 'changeprofile vm-changing//part'
    restore
    has_profiles "vm-changing (enforce) vm-changing//part (enforce) "
    runtime delete --force $id
    restore --lsm-profile apparmor:vm-other
    has_profiles "vm-other (enforce) vm-other (enforce) "
}

check_a_stack_of_profiles_comes_back() {
    config '.process.noNewPrivileges = true'
    changing 'stack vm-other'
    restore
    has_profiles "vm-changing (enforce) vm-changing//&vm-other (enforce) "
}

check_no_profile_comes_back_that_the_configured_one_does_not_allow() {
    config '.process.noNewPrivileges = false'
    changing 'changeprofile vm-changing//part'
    config '.process.apparmorProfile = "vm-check"'
    refused 'was in the AppArmor profile vm-changing, which is not beneath config.json'"'"'s vm-check' restore
    [ -z "$(runtime list -q)" ]
    # By name it is beneath; its rules have changed.
    config '.process.apparmorProfile = "vm-changing"'
    apparmor_parser -r <<PROFILE
profile vm-changing flags=(attach_disconnected, mediate_deleted) {
    file, capability, network, mount, umount, pivot_root, unix, signal, ptrace,
    profile part flags=(attach_disconnected, mediate_deleted) { file, signal, ptrace, unix, }
}
PROFILE
    refused 'enter the AppArmor profile vm-changing//part from vm-changing' restore
    [ -z "$(runtime list -q)" ]
}
