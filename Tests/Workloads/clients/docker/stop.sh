# A program that ignores SIGTERM is killed when docker's patience ends.
# says: 137 false
run -d --name $c bb sh -c 'trap "" TERM; echo begun; while :; do sleep 0.05; done'
begun 1
docker stop -t 1 $c
docker inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' $c
docker start $c
docker rm $c
docker rm -f $c
