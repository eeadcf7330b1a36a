# Containers in namespaces of another one, which are joined by path; the end of the first process is their end.
# says: the same
# says: 137
begin --ipc shareable
look='for kind in pid ipc net; do readlink /proc/self/ns/$kind; done'
docker exec $c sh -c "$look" >$files/$c
run --rm --pid container:$c --network container:$c --ipc container:$c bb sh -c "$look" | cmp - $files/$c &&
    echo the same
run -d --name third-$c --pid container:$c bb sleep 1000
docker exec $c ps -o args | grep -v "0.05\|\[sleep\]"
docker kill $c
docker wait third-$c
docker rm third-$c
run --rm --pid container:$c bb true
