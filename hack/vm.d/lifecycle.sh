# A container's life where every controller is in one hierarchy.

# As runc 1.5 does: no ambient capabilities, and another version than Debian 12's runc knows.
check_spec_writes_what_runc_does() {
    local flag file
    for flag in "" --rootless; do
        rm -rf /work/spec
        mkdir -p /work/spec/{ours,runcs}
        runtime spec -b /work/spec/ours $flag
        runc spec -b /work/spec/runcs $flag
        for file in /work/spec/*/config.json; do
            jq -S 'del(.ociVersion, .process.capabilities.ambient)' "$file" >"$file.comparable"
        done
        cmp /work/spec/*/config.json.comparable
    done
}

check_run_gives_output_and_exit_code() {
    command_is sh -c 'echo hello; exit 7'
    local code=0 said
    said=$(runtime run -b "$bundle" $id </dev/null) || code=$?
    [ "$said" = hello ]
    [ $code = 7 ]
}

check_create_start_kill_delete() {
    runtime create -b "$bundle" $id </dev/null >/dev/null 2>&1
    [ "$(runtime state $id | jq -r .status)" = created ]
    local directory
    directory=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pid)/cgroup")
    runtime start $id
    [ "$(runtime state $id | jq -r .status)" = running ]
    [ "$(runtime list -q)" = $id ]
    runtime kill $id KILL
    stopped() { [ "$(runtime state $id | jq -r .status)" = stopped ]; }
    eventually stopped
    runtime delete $id
    [ ! -e "$directory" ] || [ "$mode" = hybrid ]
    [ -z "$(runtime list -q)" ]
}

check_exec_joins_the_container() {
    start
    [ "$(runtime exec $id cat /proc/self/cgroup)" = "$(runtime exec $id cat /proc/1/cgroup)" ]
    [ "$(runtime exec $id sh -c 'echo $$' | wc -l)" = 1 ]
    local code=0
    runtime exec $id sh -c 'exit 3' || code=$?
    [ $code = 3 ]
}

check_pause_and_resume() {
    start
    runtime pause $id
    [ "$(runtime state $id | jq -r .status)" = paused ]
    refused paused runtime exec $id true
    runtime resume $id
    runtime exec $id true
}

check_ps_lists_processes() {
    start
    runtime exec -d $id sleep 500
    [ "$(runtime ps -f json $id | jq length)" = 2 ]
}

check_delete_force_kills() {
    command_is sh -c 'sleep 600 & sleep 700 & wait'
    start
    runtime delete --force $id
    ! pgrep -x sleep
}
