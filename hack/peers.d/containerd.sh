# containerd's shim for runc with the runtime under test (`--runc-binary`), driven by ctr.

prepare() {
    start_containerd
    ctr image import --base-name localhost:5000/bb /tmp/oci.tar
}

container() { ctr run --runc-binary "$runtime" "$@"; }
# Debian's image has the name that it got in the layout.
bb=localhost:5000/bb:bb
within() { ctr task exec --exec-id "exec$RANDOM$RANDOM" "$@"; }
in_container() { within "$@"; }
status() { ctr task list | awk -v name="$1" '$1 == name { print $NF }'; }
is() { [ "$(status "$1")" = "$2" ]; }
run_counter() { container --detach "${@:2}" $bb "$1" sh -c "$counter"; }
mounts() {
    local pair
    for pair in $shared_folders; do echo --mount "type=bind,src=${pair%:*},dst=${pair#*:},options=rbind:ro"; done
}
remove() { ctr task rm --force "$1" && ctr container rm "$1"; }
clean() {
    local name
    for name in $(ctr container list --quiet); do
        ctr task rm --force "$name" || :
        ctr container rm "$name"
    done
    for name in $(ctr image list --quiet); do [ "$name" = $bb ] || ctr image rm --sync "$name"; done
}

check_exit_codes() {
    ends_with 0 container --rm $bb c true
    ends_with 7 container --rm $bb c sh -c 'exit 7'
    says 'exec: "no-such-program": executable file not found in $PATH' container --rm $bb c no-such-program
    says 'exec: "/no/such": stat /no/such: no such file or directory' container --rm $bb c /no/such
    says 'exec: "/etc": is a directory' container --rm $bb c /etc
    ends_with 137 container --rm --memory-limit 20000000 $bb c sh -c 'exec dd if=/dev/zero of=/dev/null bs=100M count=1'
    ends_with 1 container --rm --read-only $bb c touch /x
    equals '' ctr container list --quiet
}

check_exec_logs_ps_and_metrics() {
    container --detach --log-uri file:///tmp/c.log $bb c sh -c 'echo begun; sleep 1000'
    logged() { grep -qx begun /tmp/c.log; }
    eventually logged
    equals hello within c echo hello
    ends_with 5 within c sh -c 'exit 5'
    ends_with 0 within --cwd /tmp c test -d ../tmp
    says 'executable file not found' within c no-such-program
    within --detach c sleep 100
    [ "$(ctr task ps c | wc -l)" -ge 3 ]
    says memory ctr task metrics c
}

check_pause_kill_delete_and_start_again() {
    container --detach $bb c sh -c "trap 'exit 3' TERM; touch /state/ready; while :; do sleep 0.05; done"
    eventually within c test -e /state/ready
    ctr task pause c
    is c PAUSED
    says 'cannot exec in a paused' within c true
    ctr task resume c
    ctr task kill --signal TERM c
    eventually is c STOPPED
    ends_with 1 ctr task kill c
    says 'exit code 3' ctr task delete c
    ctr task start --detach c
    is c RUNNING
}

check_run_and_exec_on_a_terminal() {
    says '30 100' on_terminal ctr run --rm --tty --runc-binary "$runtime" $bb c sh -c "$sizes"
    container --detach $bb d sleep 1000
    says /dev/pts/0 on_terminal ctr task exec --exec-id one --tty d tty
}

check_checkpoint_into_a_folder_and_into_an_image() {
    run_counter c
    local before reference
    before=$(counted c 0)
    ctr task checkpoint --image-path /tmp/images --work-path /tmp/work c
    [ -e /tmp/images/inventory.img ]
    [ -e /tmp/work/stats-dump ]
    is c RUNNING
    before=$(counted c "$before")
    reference=$(ctr task checkpoint --exit c)
    ctr image list --quiet | grep -qxF "$reference"
    eventually is c STOPPED
    says 'exit code 137' ctr task delete c
}

check_checkpoint_and_restore_under_new_names_in_rounds() {
    # shellcheck disable=SC2046 # flags without blanks
    container --detach $(mounts) $bb c1 flock /state/lock sh -c "$counter"
    local round before=0
    for round in 1 2 3; do
        before=$(counted c$round "$before")
        within c$round sh -c "echo $round >>/etc/own"
        ctr container checkpoint --rw --image --task c$round local/checkpoint:$round
        is c$round RUNNING
        counted c$round "$before"
        remove c$round
        ctr container restore --rw --live c$((round + 1)) local/checkpoint:$round
        counted c$((round + 1)) "$before"
        equals "$(seq $round)" within c$((round + 1)) cat /etc/own
        ends_with 1 within c$((round + 1)) flock -n /state/lock true
        ctr image rm --sync local/checkpoint:$round
    done
}

check_redis_through_checkpoints_in_rounds() {
    # shellcheck disable=SC2046 # flags without blanks
    container --detach $(mounts) $bb r1 "${redis[@]}"
    local round state
    for round in 1 2 3; do
        state=$(fill_redis r$round $round)
        ctr container checkpoint --rw --image --task r$round local/redis:$round
        remove r$round
        ctr container restore --rw --live r$((round + 1)) local/redis:$round
        ctr image rm --sync local/redis:$round
        equals "$state" redis_state r$((round + 1))
    done
    [ "${state% *}" = 6000 ]
}
