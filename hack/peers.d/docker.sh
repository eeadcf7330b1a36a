# dockerd upon the same containerd, with the runtime under test by `--add-runtime`.

prepare() {
    start_containerd
    echo '{}' >/tmp/daemon.json
    # By iptables where the kernel has it for nftables alone.
    setsid dockerd --experimental --config-file /tmp/daemon.json --containerd /run/containerd/containerd.sock \
        --add-runtime tested="$runtime" --default-runtime tested --storage-driver overlay2 --iptables=false \
        --ip6tables=false --default-ulimit nofile=1024:1024 >/tmp/dockerd.log 2>&1 </dev/null &
    eventually docker version || { tail /tmp/dockerd.log; return 1; }
    docker load -i /tmp/bb.tar
}

container() { docker run "$@"; }
in_container() { docker exec "$@"; }
# A checkpoint of a container with a network of its own fails in docker 28 itself, at the start.
run_counter() { container -d --network host --name "$@" $image sh -c "$counter"; }
inspect() { docker inspect "$1" --format "{{$2}}"; }
# containerd refuses to store the same content again while it remembers it.
forget() {
    ctr -n moby leases create --id brief
    ctr -n moby leases delete --sync brief
}
checkpoint() {
    docker checkpoint create "$@"
    forget
}
restore() {
    eventually is "$1" exited
    docker start --checkpoint "$2" "$1"
    forget
}
clean() {
    docker ps --all --quiet | xargs -r docker rm --force --volumes
    docker volume prune --force --all
}

check_features_are_asked_for() {
    docker info --format '{{json .Runtimes.tested}}' | jq -e '.status["org.opencontainers.runtime-spec.features"]
        | fromjson | .ociVersionMin == "1.0.0" and (.mountOptions | index("rro"))'
}

check_exit_codes() {
    ends_with 0 container --rm $image true
    ends_with 7 container --rm $image sh -c 'exit 7'
    ends_with 126 container --rm $image /etc/passwd
    ends_with 126 container --rm $image /etc
    ends_with 127 container --rm $image no-such-program
    ends_with 127 container --rm $image /no/such
    ends_with 137 container --rm --init $image sh -c 'kill -9 $$'
    ends_with 125 container --rm --no-such-flag $image
    ends_with 137 container --rm --memory 20m $image sh -c 'exec dd if=/dev/zero of=/dev/null bs=100M count=1'
}

check_pids_limit() {
    says "can't fork" container --rm --pids-limit 8 $image sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 9 & done'
}

check_exec_logs_health_stats_top_volumes() {
    container -d --name web --volume data:/v --health-cmd 'test -e /ok' --health-interval 200ms $image sh -c \
        'echo begun; echo kept >/v/file; httpd -f -p 80 -h /v'
    logged() { [ "$(docker logs web)" = begun ]; }
    eventually logged
    says kept docker exec web wget -q -O - http://127.0.0.1/file
    equals kept container --rm --volume data:/v:ro $image cat /v/file
    ends_with 5 docker exec web sh -c 'exit 5'
    ends_with 127 docker exec web no-such-program
    ends_with 126 docker exec web /etc/passwd
    docker exec web touch /ok
    healthy() { [ "$(inspect web .State.Health.Status)" = healthy ]; }
    eventually healthy
    says 'iB / ' docker stats --no-stream --format '{{.MemUsage}}' web
    says httpd docker top web -o pid,args
}

check_pause_update_restart_kill_wait_stop() {
    container -d --name web --restart on-failure:1 $image sh -c "echo begun; trap 'exit 3' TERM; while :; do sleep 0.05; done"
    docker pause web
    is web paused
    docker unpause web
    docker update --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 50 web
    equals 67108864 docker exec web sh -c "$memory_limit"
    docker restart --timeout 5 web
    logged() { [ "$(docker logs web)" = $'begun\nbegun' ]; }
    eventually logged
    docker kill --signal KILL web
    equals 137 docker wait web
    docker start web
    docker stop --timeout 5 web
    equals 3 inspect web .State.ExitCode
}

check_run_exec_and_attach_on_a_terminal() {
    says '30 100' on_terminal docker run --rm -it $image sh -c "$sizes"
    container -d -t --name c1 $image sh -c 'tty; sleep 1000'
    says /dev/pts/0 docker logs c1
    says /dev/pts/ on_terminal docker exec -it c1 tty
}

check_privileged() {
    says 'Seccomp:	0' container --rm --privileged $image cat /proc/self/status
    says kmsg container --rm --privileged $image ls /dev
}

check_checkpoint_leaves_it_running() {
    run_counter c1
    local before
    before=$(counted c1 0)
    checkpoint --leave-running c1 first
    is c1 running
    counted c1 "$before"
    says first docker checkpoint ls c1
    docker checkpoint rm c1 first
}

check_checkpoint_and_start_in_rounds() {
    run_counter c1 -t --health-cmd 'test -e /etc' --health-interval 200ms
    docker exec c1 sh -c 'echo own >/etc/own'
    local round before=0
    for round in 1 2 3; do
        before=$(counted c1 "$before")
        checkpoint c1 round$round
        restore c1 round$round
        before=$(counted c1 "$before")
        equals own docker exec c1 cat /etc/own
    done
    docker stop --timeout 0 c1
}

check_checkpoint_in_anothers_network() {
    container -d --name other $image sleep 1000
    container -d --network container:other --name c1 $image sh -c "$counter"
    local before
    before=$(counted c1 0)
    checkpoint c1 first
    restore c1 first
    counted c1 "$before"
}

check_redis_through_checkpoints_in_rounds() {
    # shellcheck disable=SC2046 # flags without blanks
    container -d --network host --name redis $(mounts) $image "${redis[@]}" --port 0
    local round state
    for round in 1 2 3; do
        state=$(fill_redis redis $round)
        checkpoint redis round$round
        restore redis round$round
        equals "$state" redis_state redis
    done
    [ "${state% *}" = 6000 ]
}
