# Restarts by policy, and their end.
# says: 2 6
# says: once
run -d --name $c --restart on-failure:2 bb sh -c 'echo once; exit 6'
wait_for '[ $(docker inspect -f {{.State.Status}} $c) = exited ]'
docker inspect -f '{{.RestartCount}} {{.State.ExitCode}}' $c
docker logs $c
docker rm $c
run -d --name $c --restart always bb true
wait_for '[ $(docker inspect -f {{.RestartCount}} $c) -ge 2 ]'
docker stop $c
docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' $c
