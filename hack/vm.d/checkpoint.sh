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
