# Who owns files and processes, seen from the container and from the host.
# says: 0:0 5:6
# says: 300000:300000 300005:300006
# says: the process is 300000's
run --rm -v vol-$c:/v bb sh -c 'touch /v/a /v/b; chown 5:6 /v/b; echo $(stat -c %u:%g /v/a /v/b)'
echo $(cd $(docker volume inspect -f {{.Mountpoint}} vol-$c) && stat -c %u:%g a b)
begin
echo "the process is $(stat -c %u /proc/$(docker inspect -f {{.State.Pid}} $c))'s"
docker cp $c:/etc/passwd - | tar -t
docker exec $c sh -c 'touch /new; stat -c %u:%g /new /etc/passwd'
docker stop $c
