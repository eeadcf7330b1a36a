# SELinux with Debian's policy and the types of selinux.cil. It is permissive at the boot; the checks have it enforced.

process=system_u:system_r:vmbox_t:s0:c1,c2
files=system_u:object_r:vmbox_file_t:s0:c1,c2

labelled() {
    # Streams that a process may not use, the kernel replaces by a file that no checkpoint knows.
    : >/work/output
    chcon -R $files "$bundle/rootfs" /work/output
    config ".process.selinuxLabel = \"$process\" | .linux.mountLabel = \"$files\""
    dmesg -C
    setenforce 1
    trap 'setenforce 0; dmesg | grep avc || :' EXIT
}

# The label of a process.
label() { tr -d '\0' <"/proc/$1/attr/current"; }

check_module_is_on_with_a_policy() {
    [ -e /sys/fs/selinux/enforce ]
    [ "$(label self)" = system_u:system_r:initrc_t:s0 ]
}

check_first_process_and_exec_have_their_labels() {
    labelled
    start
    [ "$(label "$(pid)")" = $process ]
    [ "$(runtime exec $id cat /proc/self/attr/current | tr -d '\0')" = $process ]
    [ "$(runtime exec --process-label ${process/c1,c2/c3} $id cat /proc/self/attr/current | tr -d '\0')" = "${process/c1,c2/c3}" ]
}

check_policy_confines() {
    labelled
    echo content | tee "$bundle/rootfs/tmp/open" >"$bundle/rootfs/tmp/secret"
    chcon $files "$bundle/rootfs/tmp/open"
    chcon ${files/file_t/secret_t} "$bundle/rootfs/tmp/secret"
    start
    [ "$(runtime exec $id cat /tmp/open)" = content ]
    says 'ermission denied' runtime exec $id cat /tmp/secret
}

check_mounts_have_their_context() {
    labelled
    start
    grep -q " /dev tmpfs .*context=\"$files\"" "/proc/$(pid)/mounts"
    runtime exec $id sh -c 'echo x >/dev/shm/made'
    [ "$(stat -c %C "/proc/$(pid)/root/dev/shm/made")" = $files ]
    [ "$(stat -c %C "/proc/$(pid)/root/dev/null")" = $files ]
}

check_unknown_labels_are_refused() {
    config '.process.selinuxLabel = "system_u:system_r:no_such_t:s0"'
    refused 'SELinux label' runtime run -b "$bundle" $id
    config 'del(.process.selinuxLabel) | .linux.mountLabel = "no-label"'
    refused 'context=no-label' runtime run -b "$bundle" $id
    [ -z "$(runtime list -q)" ]
}

check_transition_needs_a_rule() {
    labelled
    config '.process.selinuxLabel = "system_u:system_r:vmclosed_t:s0"'
    # Under no_new_privs it takes another rule, which is asked for first.
    refused 'not permitted' runtime run -b "$bundle" $id
    [ -z "$(runtime list -q)" ]
}

check_restored_processes_have_their_labels() {
    [ "$runtime" = stasis ] || skip "runc needs CRIU"
    labelled
    command_is sh -c 'sleep 1000 & wait'
    start
    runtime checkpoint --image-path /work/labelled --work-path /work $id || { cat /work/dump.log; exit 1; }
    restore() {
        runtime restore -d "$@" --image-path /work/labelled --work-path /work -b "$bundle" $id </dev/null >>/work/output 2>&1 ||
            { cat /work/output; return 1; }
    }
    restore
    local one
    for one in $(runtime ps -f json $id | jq '.[]'); do [ "$(label "$one")" = $process ]; done
    runtime delete --force $id
    restore --lsm-profile selinux:${process/c1,c2/c3}
    [ "$(label "$(pid)")" = ${process/c1,c2/c3} ]
    runtime delete --force $id
    refused 'SELinux label' restore --lsm-profile selinux:system_u:system_r:vmclosed_t:s0
}

check_streams_that_the_policy_keeps_away_are_named() {
    [ "$runtime" = stasis ] || skip "runc needs CRIU"
    labelled
    start
    runtime checkpoint --image-path /work/stream --work-path /work $id || { cat /work/dump.log; exit 1; }
    : >/work/foreign
    chcon ${files/file_t/secret_t} /work/foreign
    refused 'keeps /work/foreign from it, which it had as descriptor 0' \
        runtime restore -d --image-path /work/stream --work-path /work -b "$bundle" $id </work/foreign
    [ -z "$(runtime list -q)" ]
}

check_terminal_works() {
    labelled
    start
    runtime exec -t $id sh -c 'tty; echo hello >/dev/tty' </dev/null >/work/said
    grep -q hello /work/said
}

check_apparmor_profile_is_refused_where_it_is_off() {
    config '.process.apparmorProfile = "docker-default"'
    refused 'apparmor is not enabled' runtime run -b "$bundle" $id
}
