# Programs put into a running container: their ends, errors, users, streams and events.
# says: executable file not found
# says: uid=5 gid=6
# says: words
# says: exec_die 5
# says: exec_die 137
begin
docker exec $c sh -c 'exit 5' || echo $?
docker exec $c no-such || echo $?
docker exec $c /etc/passwd || echo $?
docker exec -w /no/such $c true || echo $?
docker exec -u no-such $c true || echo $?
docker exec -u 5:6 -e A=1 -w /tmp $c sh -c 'id; echo $A; pwd'
echo words | docker exec -i $c cat
docker exec $c sh -c 'kill -9 $$' || echo $?
docker exec -d $c sleep 1000
wait_for 'docker top $c -o pid,args | grep -q "sleep 1000"'
docker top $c -o pid,args | grep -v "0.05\|defunct\|\[sleep\]" | sed 's/^[0-9]* *//' | sort
docker top $c -o nonsense
docker stats --no-stream --format '{{.Name}}' $c
events | grep exec
