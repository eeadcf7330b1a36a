# What the scripts in the folders beside this one share. Each is run with Debian's runc and with the runtime under test.
# $docker or $ctr, and $run are commands; $c names the script's container, $files a folder.
docker() { command $docker "$@"; }
ctr() { command $ctr "$@"; }
run() { command $run "$@"; }
wait_for() {
    for i in $(seq 100); do
        eval "$1" 2>/dev/null && return
        sleep 0.2
    done
    echo "never: $1"
}
# A container of docker's, and until its program has begun for the Nth time.
begin() {
    run -d --name $c "$@" bb sh -c 'echo begun; trap "exit 3" TERM; while :; do sleep 0.05; done'
    begun 1
}
begun() { wait_for "[ \$(docker logs $c | grep -c begun) = $1 ]"; }
events() {
    docker events --since 1h --until=-1s --filter container=$c --format \
        '{{.Action}} {{index .Actor.Attributes "exitCode"}} {{index .Actor.Attributes "signal"}}'
}
end() {
    echo "ended with $1"
    if [ "$docker" ]; then docker rm --force --volumes $c; else ctr task rm --force $c; ctr container rm $c; fi >/dev/null 2>&1
}
exec 2>&1
