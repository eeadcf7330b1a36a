# Memory that runs out kills a program, and docker says so.
# says: the program ended with 137
# says: true 137
# says: oom
program='until [ -e /go ]; do sleep 0.05; done
    sh -c "echo 1000 >/proc/self/oom_score_adj; exec dd if=/dev/zero of=/dev/null bs=100M count=1"
    echo the program ended with $?; exec sleep 1000'
run -d --name $c --memory 20m bb sh -c "$program"
docker exec $c touch /go
wait_for 'docker logs $c | grep -q ended'
docker logs $c 2>/dev/null
wait_for "events | grep -q oom"
docker kill $c
docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' $c
events | grep oom | sort -u
