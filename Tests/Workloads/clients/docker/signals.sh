# Signals by name and number, starts again, stops in time, and the order of what docker tells of it.
# says: die 3
# says: die 137
# says: kill  15
# says: stop
# says: restart
begin
docker kill -s NOPE $c
docker kill -s sigterm $c
docker wait $c
docker kill $c
docker start $c
begun 2
docker kill -s 15 $c
docker wait $c
docker start $c
begun 3
docker kill -s WINCH $c
docker kill $c
docker wait $c
docker start $c
begun 4
docker restart -t 5 $c
begun 5
docker stop -t 5 $c
docker inspect -f {{.State.ExitCode}} $c
events
