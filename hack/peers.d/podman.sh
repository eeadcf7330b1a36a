# podman with the runtime under test, and with stasis as the criu that it asks.

# Said by podman 5 at each call.
export PODMAN_IGNORE_CGROUPSV1_WARNING=1

prepare() {
    mkdir -p /etc/containers
    cat >/etc/containers/containers.conf <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=30000:30000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "tested"
runtime_supports_json = ["tested"]
runtime_supports_nocgroup = ["tested"]
runtime_supports_nocgroups = ["tested"]
[engine.runtimes]
tested = ["$runtime"]
END
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
    podman load -i /tmp/bb.tar
}

container() { podman run --network none "$@"; }
in_container() { podman exec "$@"; }
run_counter() { container -d --name "$@" $image sh -c "$counter"; }
checkpoint() { podman container checkpoint "$@"; }
restore() { podman container restore "$@"; }
inspect() { podman inspect "$1" --format "{{$2}}"; }
clean() {
    podman pod rm --force --all -t 0
    podman rm --force --all -t 0
    podman volume prune --force
}

check_exit_codes() {
    ends_with 0 container --rm $image true
    ends_with 7 container --rm $image sh -c 'exit 7'
    ends_with 126 container --rm $image /etc
    ends_with 126 container --rm $image /etc/passwd
    ends_with 127 container --rm $image no-such-program
    ends_with 137 container --rm --init $image sh -c 'kill -9 $$'
    ends_with 125 container --rm --no-such-flag $image
    ends_with 137 container --rm --memory 20m $image sh -c 'exec dd if=/dev/zero of=/dev/null bs=100M count=1'
}

check_pids_limit() {
    says "can't fork" container --rm --pids-limit 8 $image sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 9 & done'
    equals 100 container --rm --pids-limit 100 $image sh -c 'cd /sys/fs/cgroup; cat pids.max 2>/dev/null || cat pids/pids.max'
}

check_preserved_descriptors() {
    exec 5</etc/hostname
    equals "$(cat /etc/hostname)" container --rm --preserve-fd 5 $image cat /proc/self/fd/5
    container -d --name c $image sleep 1000
    equals "$(cat /etc/hostname)" podman exec --preserve-fd 5 c cat /proc/self/fd/5
}

check_flags_take_effect() {
    equals podman-init container --rm --init $image cat /proc/1/comm
    ends_with 1 container --rm --read-only $image touch /x
    says ' 1024 ' container --rm --tmpfs /t:size=1m $image df /t
    says 0000000000000000 container --rm --cap-drop all $image grep CapEff /proc/self/status
    equals 77 container --rm --ulimit nofile=77:77 $image sh -c 'ulimit -n'
    says 'NoNewPrivs:	1' container --rm --security-opt no-new-privileges $image cat /proc/self/status
    equals 1 container --rm --sysctl net.ipv4.ip_forward=1 $image sysctl -n net.ipv4.ip_forward
    equals '1 7' container --rm --device /dev/full:/dev/x $image stat -c '%t %T' /dev/x
    equals "$(cat /proc/self/cgroup)" container --rm --cgroups disabled --cgroupns host $image cat /proc/self/cgroup
    podman volume create kept
    container --rm --volume kept:/v $image sh -c 'echo there >/v/file'
    equals there container --rm --volume kept:/v:ro $image cat /v/file
}

check_exec_logs_stats_top_pause_update_restart_kill_stop() {
    container -d --name web --health-cmd 'test -e /ok' --health-interval disable $image sh -c \
        "trap 'exit 3' TERM; echo begun; while :; do sleep 0.05; done"
    logged() { [ "$(podman logs web)" = "$1" ]; }
    eventually logged begun
    ends_with 5 podman exec web sh -c 'exit 5'
    ends_with 127 podman exec web no-such-program
    ends_with 1 podman healthcheck run web
    podman exec web touch /ok
    podman healthcheck run web
    equals 'web 2' podman stats --no-stream --format '{{.Name}} {{.PIDs}}' web
    says begun podman top web hpid args
    podman pause web
    is web paused
    podman unpause web
    podman update --memory 64m --pids-limit 50 web
    equals 67108864 podman exec web sh -c "$memory_limit"
    podman restart -t 5 web
    eventually logged $'begun\nbegun'
    podman kill --signal TERM web
    equals 3 podman wait web
    podman start web
    podman stop -t 5 web
    equals 3 inspect web .State.ExitCode
}

check_run_exec_and_logs_on_a_terminal() {
    says '30 100' on_terminal podman run --network none --rm -it $image sh -c "$sizes"
    container -d -t --name c $image sh -c 'tty; sleep 1000'
    says /dev/pts/0 podman logs c
    says /dev/pts/ on_terminal podman exec -it c tty
}

check_bridge_with_a_published_port() {
    podman run -d --name web -p 127.0.0.1:8080:80 $image httpd -f -p 80 -h /etc
    eventually busybox wget -q -O /dev/null http://127.0.0.1:8080/passwd
    checkpoint --tcp-established web
    restore --tcp-established web
    eventually busybox wget -q -O /dev/null http://127.0.0.1:8080/passwd
}

check_user_namespace() {
    container -d --name c --uidmap 0:100000:1000 --gidmap 0:100000:1000 $image sh -c "$counter"
    local before
    before=$(counted c 0)
    says 100000 podman exec c cat /proc/self/uid_map
    checkpoint c
    restore c
    counted c "$before"
}

check_checkpoint_leaves_it_running_with_statistics() {
    run_counter c
    local before
    before=$(counted c 0)
    checkpoint --leave-running --print-stats c >/tmp/statistics
    jq -e '.container_statistics[0].criu_statistics.pages_written > 0' /tmp/statistics
    is c running
    counted c "$before"
}

check_checkpoint_and_restore_in_rounds() {
    container -d -i -t --name c --tmpfs /t $image sh -c "$counter"
    podman exec c sh -c 'echo kept >/t/file; echo own >/etc/own'
    local round before=0
    for round in 1 2 3; do
        before=$(counted c "$before")
        checkpoint --keep --file-locks --tcp-established c
        equals true inspect c .State.Checkpointed
        restore --keep --file-locks --tcp-established --print-stats c >/tmp/statistics
        jq -e '.container_statistics[0].criu_statistics.restore_time > 0' /tmp/statistics
        before=$(counted c "$before")
        equals $'kept\nown' podman exec c cat /t/file /etc/own
    done
}

check_checkpoint_with_init_read_only_and_tmpfs() {
    run_counter c --init --read-only --tmpfs /state
    run_counter d --init --tmpfs /run
    local name before
    for name in c d; do
        before=$(counted $name 0)
        equals podman-init podman exec $name cat /proc/1/comm
        checkpoint $name
        restore $name
        counted $name "$before"
        podman exec $name test -s /run/podman-init
    done
}

check_archives_restored_under_other_names() {
    podman volume create data
    run_counter c --volume data:/v
    local before compression
    before=$(counted c 0)
    podman exec c sh -c 'echo own >/etc/own; echo data >/v/file'
    for compression in none gzip zstd; do
        checkpoint --leave-running --compress $compression --export /tmp/c.$compression c
    done
    checkpoint --export /tmp/c.tar c
    podman rm c
    podman volume rm data
    restore --import /tmp/c.tar --name second
    counted second "$before"
    equals $'own\ndata' podman exec second cat /etc/own /v/file
    for compression in none gzip zstd; do
        restore --ignore-volumes --import /tmp/c.$compression --name copy-$compression
        counted copy-$compression "$before"
    done
}

check_checkpoint_becomes_an_image() {
    run_counter c
    local before
    before=$(counted c 0)
    checkpoint --create-image saved c
    podman rm c
    restore --name again saved
    counted again "$before"
}

check_pods_and_a_restore_into_another_by_name() {
    podman pod create --name one --network none
    podman pod create --name two --network none
    podman run -d --pod one --name member $image sleep 1000
    podman run -d --pod one --name counter $image sh -c "$counter"
    podman pod pause one
    is member paused
    podman pod unpause one
    local before
    before=$(counted counter 0)
    checkpoint --export /tmp/pod.tar counter
    restore --import /tmp/pod.tar --pod two --name moved
    counted moved "$before"
    podman pod stop -t 0 one two
}

check_rounds_of_pre_checkpoints() {
    run_counter c
    local before
    before=$(counted c 0)
    # Said by stasis of what it has not; the container goes on.
    ends_with 125 checkpoint --pre-checkpoint c
    counted c "$before"
}

check_redis_through_checkpoints_in_rounds() {
    # shellcheck disable=SC2046 # flags without blanks
    container -d --name r $(mounts) $image "${redis[@]}"
    local round state
    for round in 1 2 3; do
        state=$(fill_redis r $round)
        checkpoint r
        restore r
        equals "$state" redis_state r
    done
    [ "${state% *}" = 6000 ]
}
