# A paused container: what it refuses, and what docker does through a pause of its own.
# says: paused
# says: is paused
begin
docker pause $c
docker pause $c
docker exec $c true
docker inspect -f {{.State.Status}} $c
docker top $c -o pid,comm | grep -o '[a-z]*$' | sort -u
docker rm $c
docker update --memory 64m --memory-swap 64m $c
docker unpause $c
docker unpause $c
docker exec $c touch /new
docker commit $c image-$c
run --rm image-$c ls /new
docker rmi image-$c >/dev/null
docker cp $c:/etc/passwd - | tar -t
docker diff $c
docker pause $c
docker restart -t 5 $c
docker pause $c
docker rm -f $c
