# containerd's CRI, as a kubelet calls it, with the runtime under test as its default.

prepare() {
    mkdir -p /tmp/cri /var/lib/registry /etc/containers
    # An option that Debian's protoc does not know.
    sed 's/\[debug_redact = true\]//' /usr/share/cri.proto >/tmp/cri/cri.proto
    protoc -I /tmp/cri --python_out /tmp/cri cri.proto
    # A container is restored upon an image that can be pulled.
    setsid docker-registry serve /peers/registry.yml >/tmp/registry.log 2>&1 </dev/null &
    registered() { skopeo copy -q --insecure-policy --dest-tls-verify=false oci:/tmp/oci:bb docker://$image; }
    eventually registered
    start_containerd
    images PullImage "{image: {image: \"$image\"}}"
}

call() { /peers/cri.py "$1" "$2" "$(jq -n "$3")"; }
runtime() { call RuntimeService "$@"; }
images() { call ImageService "$@"; }

# pod NAME: a sandbox; its id.
pod_config() {
    echo "{metadata: {name: \"$1\", uid: \"$1\", namespace: \"default\"}, log_directory: \"/tmp/logs/$1\", linux: {}}"
}
pod() { runtime RunPodSandbox "{config: $(pod_config "$1")}" | jq -r .pod_sandbox_id; }

# container POD-ID POD NAME IMAGE WORD…: created and started; its id.
container() {
    local id words
    words=$(jq -nc '$ARGS.positional' --args -- "${@:5}")
    id=$(runtime CreateContainer "{pod_sandbox_id: \"$1\", sandbox_config: $(pod_config "$2"),
        config: {metadata: {name: \"$3\"}, image: {image: \"$4\"}, log_path: \"$3.log\", linux: {}, command: $words}}" |
        jq -r .container_id)
    runtime StartContainer "{container_id: \"$id\"}" >&2
    echo "$id"
}
in_container() {
    local id=$1 answer
    shift
    answer=$(runtime ExecSync "{container_id: \"$id\", timeout: 10, cmd: $(jq -nc '$ARGS.positional' --args -- "$@")}")
    jq -r '.stdout // "" | @base64d' <<<"$answer"
    return "$(jq '.exit_code // 0' <<<"$answer")"
}
state() { runtime ContainerStatus "{container_id: \"$1\"}" | jq -r ".status.$2"; }
clean() {
    local id
    for id in $(runtime ListPodSandbox '{}' | jq -r '.items[]?.id'); do
        runtime StopPodSandbox "{pod_sandbox_id: \"$id\"}"
        runtime RemovePodSandbox "{pod_sandbox_id: \"$id\"}"
    done
}

check_features_are_asked_for() {
    runtime Status '{}' | jq -e '.runtime_handlers[] | select(.name == "tested")
        | .features.recursive_read_only_mounts and .features.user_namespaces'
}

check_exit_codes_logs_and_exec() {
    local pod id
    pod=$(pod one)
    id=$(container "$pod" one c $image sh -c 'echo begun; exit 7')
    ended() { [ "$(state "$id" state)" = CONTAINER_EXITED ]; }
    eventually ended
    equals 7 state "$id" exit_code
    grep -q 'stdout F begun' /tmp/logs/one/c.log
    id=$(container "$pod" one d $image sleep 1000)
    equals hello in_container "$id" echo hello
    ends_with 5 in_container "$id" sh -c 'exit 5'
    says 'executable file not found' in_container "$id" no-such-program
    says 'no-such-program' container "$pod" one e $image no-such-program
}

check_stop_update_and_stats() {
    local pod id
    pod=$(pod one)
    id=$(container "$pod" one c $image sh -c "trap 'exit 3' TERM; while :; do sleep 0.05; done")
    runtime UpdateContainerResources "{container_id: \"$id\", linux: {memory_limit_in_bytes: 67108864, cpu_shares: 512}}"
    equals 67108864 in_container "$id" sh -c "$memory_limit"
    runtime ContainerStats "{container_id: \"$id\"}" | tee /tmp/stats |
        jq -e '.stats.memory.working_set_bytes.value | tonumber > 0' || { cat /tmp/stats; exit 1; }
    runtime StopContainer "{container_id: \"$id\", timeout: 10}"
    equals 3 state "$id" exit_code
}

check_containers_of_a_pod_share_its_network() {
    local pod id
    pod=$(pod one)
    id=$(container "$pod" one c $image httpd -f -p 80 -h /etc)
    id=$(container "$pod" one d $image sleep 1000)
    eventually in_container "$id" wget -q -O /dev/null http://127.0.0.1/passwd
    in_container "$id" ip address | grep -q 10.99.
}

# With the paths that containerd 2.1 gives to the runtime.
check_archives_restored_in_new_pods_in_rounds() {
    local pod id round before=0
    pod=$(pod pod0)
    id=$(container "$pod" pod0 c $image sh -c "$counter")
    for round in 1 2 3; do
        before=$(counted "$id" "$before")
        in_container "$id" sh -c "echo $round >>/etc/own"
        runtime CheckpointContainer "{container_id: \"$id\", location: \"/tmp/c$round.tar\", timeout: 30}"
        equals CONTAINER_RUNNING state "$id" state
        counted "$id" "$before"
        says checkpoint/inventory.img tar -tf /tmp/c$round.tar
        says stats-dump tar -tf /tmp/c$round.tar
        pod=$(pod pod$round)
        id=$(container "$pod" pod$round c /tmp/c$round.tar)
        counted "$id" "$before"
        equals "$(seq $round)" in_container "$id" cat /etc/own
    done
    grep -q ' checkpoint.* --work-path [^ ]*/ctrd-checkpoint ' /tmp/calls
    grep -q ' restore.* --image-path [^ ]*/ctrd-restore/checkpoint ' /tmp/calls
}
