# A health check that fails and then succeeds.
# says: 0 looked
# says: 1 looked
run -d --name $c --health-cmd 'echo looked; test -e /ok' --health-interval 200ms --health-retries 1 bb sleep 1000
wait_for '[ $(docker inspect -f {{.State.Health.Status}} $c) = unhealthy ]'
docker exec $c touch /ok
wait_for '[ $(docker inspect -f {{.State.Health.Status}} $c) = healthy ]'
docker inspect -f '{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}' $c | sort -u
