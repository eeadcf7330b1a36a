# Checkpoint and restore on the older kernel.

counting() {
    command_is sh -c 'n=0; while :; do n=$((n + 1)); echo $n >/count; sleep 0.1; done'
    start "$@"
    counted() { [ "$(cat "$bundle/rootfs/count")" -gt 3 ]; }
    eventually counted
}

check_counter_goes_on_after_restore() {
    [ "$runtime" != runc ] || skip "runc needs CRIU"
    counting
    runtime checkpoint --image-path /work/images --work-path /work $id || { cat /work/dump.log; exit 1; }
    [ -z "$(runtime list -q)" ]
    local before
    before=$(cat "$bundle/rootfs/count")
    runtime restore -d --image-path /work/images --work-path /work -b "$bundle" $id </dev/null >/work/output 2>&1 ||
        { cat /work/output /work/restore.log; exit 1; }
    went_on() { [ "$(cat "$bundle/rootfs/count")" -gt "$before" ]; }
    eventually went_on
    [ "$(cat "$bundle/rootfs/count")" -lt $((before + 100)) ]
    runtime exec $id true
}

# With a limit that only the host's root may raise. The file system knows the container's root by its own number.
check_user_namespace() {
    [ "$runtime" != runc ] || skip "runc needs CRIU"
    config '.linux.namespaces += [{type: "user"}]
        | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 1000, hard: 900000}, {type: "RLIMIT_NICE", soft: 27, hard: 27}]
        | .process.scheduler = {policy: "SCHED_OTHER", nice: -7}
        | .linux.uidMappings = [{containerID: 0, hostID: 300000, size: 65536}] | .linux.gidMappings = .linux.uidMappings'
    chown -R 300000:300000 rootfs
    counting
    runtime checkpoint --image-path /work/images --work-path /work $id || { cat /work/dump.log; exit 1; }
    local before
    before=$(cat rootfs/count)
    runtime restore -d --image-path /work/images --work-path /work -b "$bundle" $id </dev/null >/work/output 2>&1 ||
        { cat /work/output /work/restore.log; exit 1; }
    went_on() { [ "$(cat rootfs/count)" -gt "$before" ]; }
    eventually went_on
    grep -q 'Max open files  *1000  *900000' "/proc/$(pid)/limits"
    grep -q 'Uid:.300000' "/proc/$(pid)/status"
    [ "$(cut -d ' ' -f 19 "/proc/$(pid)/stat")" = -7 ]
}
