# Signals by name and number, a pause, and a second task of the same container.
# says: RUNNING
# says: PAUSED
# says: STOPPED
# says: exit code 3
# says: got words
status() { ctr task list | sed -n "s/^$c .* //p"; }
has() { wait_for "[ \"\$(ctr task list | sed -n 's/^$c .* //p')\" = $1 ]"; }
run --detach --log-uri file://$files/$c.log $image $c \
    sh -c 'trap "exit 3" TERM; echo begun; while :; do sleep 0.05; done'
wait_for '[ -s $files/$c.log ]'
status
ctr task start $c
ctr task kill --signal NOPE $c
ctr task kill --signal 0 $c
ctr task pause $c
ctr task pause $c
status
ctr task exec --exec-id 1 $c true
ctr task delete $c
ctr container delete $c
ctr task resume $c
ctr task resume $c
ctr task kill --signal 15 $c
has STOPPED
status
ctr task kill $c
ctr task pause $c
ctr task delete $c
ctr task start --null-io --detach $c
status
ctr task kill --all --signal SIGKILL $c
has STOPPED
ctr task delete $c
ctr container delete $c
echo words | run --rm --fifo-dir $files/$c $image $c sh -c 'read x; echo got $x; exit 7'
