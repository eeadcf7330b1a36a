#!/bin/sh
# A pipeline in the background, a job that sleeps, and a zombie whose parent never looks; it answers like workload.h.
(while true; do echo tick; sleep 0.02; done | while read -r word; do
    n=$((n + 1))
    echo "$n $word" >/state/piped.new && mv /state/piped.new /state/piped
done) &
pipeline=$!
sleep 100000 &
job=$!
sh -c '(sleep 0.3; exit 3) & echo $! >/state/zombie; exec sleep 100000' &
parent=$!
while [ ! -s /state/zombie ]; do sleep 0.01; done
zombie=$(cat /state/zombie)
question=0

state_of() { sed 's/.*) \(.\) .*/\1/' "/proc/$1/stat" 2>/dev/null || echo gone; }
parent_of() { sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$1/stat" 2>/dev/null || echo none; }

answer() {
    question=$((question + 1))
    faults=
    read -r before tick </state/piped
    i=0
    while read -r after tick </state/piped; [ "$after" -le "$before" ] && [ $i -lt 200 ]; do
        sleep 0.02
        i=$((i + 1))
    done
    [ "$after" -gt "$before" ] && [ "$tick" = tick ] || faults="$faults; the pipeline stands still at $before"
    kill -0 "$pipeline" && kill -0 "$job" && kill -0 "$parent" || faults="$faults; a job is gone"
    [ "$(state_of "$zombie")" = Z ] || faults="$faults; the zombie is $(state_of "$zombie")"
    [ "$(parent_of "$zombie")" = "$parent" ] || faults="$faults; the zombie's parent is $(parent_of "$zombie")"
    jobs >/state/jobs   # not in $(...): a subshell has no jobs
    [ "$(grep -c Running /state/jobs)" = 3 ] || faults="$faults; jobs says $(cat /state/jobs)"
    [ $$ = 1 ] || faults="$faults; the shell is $$"
    if [ -n "$faults" ]; then echo FAIL $question: ${faults#; }; else echo "PASS $question"; fi >>/state/verdict
}

trap answer USR1
while [ "$(state_of "$zombie")" != Z ] || [ ! -s /state/piped ]; do sleep 0.01; done
echo ready >/state/ready
while true; do
    steps=$((steps + 1))
    sleep 0.05
done
