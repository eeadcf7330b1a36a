# Programs put into a running container: their ends, errors, users, folders and streams.
# says: executable file not found
# says: 5 /tmp
# says: words
# says: exit 137
run --detach $image $c sh -c 'while :; do sleep 0.05; done'
try() { ctr task exec --fifo-dir $files/$c --exec-id "$@" || echo "exit $?"; }
# ctr 1.6 ends now and then before it has passed on what the program said: silence is asked again.
say() {
    id=$1
    shift
    for i in 1 2 3 4 5; do
        said=$(echo words | ctr task exec --fifo-dir $files/$c --exec-id $id-$i "$@" 2>&1)
        [ "$said" ] && break
    done
    echo "$said"
}
try 1 $c sh -c 'exit 5'
try 2 $c no-such
try 3 $c /etc/passwd
try 4 --cwd /no/such $c true
try 5 --user no-such $c true
say 6 --user 5:6 --cwd /tmp $c sh -c 'echo $(id -u) $(pwd)'
say 7 $c cat
try 8 $c sh -c 'kill -9 $$'
try 9 --detach $c sleep 1000
runs() {
    cat $(ctr task ps $c | sed -n 's#^\([0-9][0-9]*\).*#/proc/\1/cmdline#p') | tr '\0' ' ' | grep -q 'sleep 1000'
}
wait_for runs
ctr task kill --exec-id 9 --signal KILL $c
wait_for '! runs'
