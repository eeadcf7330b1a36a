# Limits and the restart policy of a running container.
# says: 67108864
# says: 536870912
# says: 30
# says: max
# says: {on-failure 1}
# says: running 1
begin
limits='cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares'
limits="$limits pids/pids.max cpuset/cpuset.cpus cpu/cpu.cfs_quota_us memory.max pids.max cpu.max cpu.weight 2>/dev/null"
docker update --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 30 --cpuset-cpus 0 --cpu-shares 99 $c
docker exec $c sh -c "$limits"
docker update --memory 1m $c
docker update --cpuset-cpus 99 $c
docker update --memory 512m --memory-swap 512m --pids-limit -1 $c
docker exec $c sh -c "$limits"
docker update --restart on-failure:1 $c
docker inspect -f '{{.HostConfig.RestartPolicy}} {{.HostConfig.Memory}}' $c
docker exec $c kill 1
wait_for '[ "$(docker inspect -f "{{.RestartCount}} {{.State.Status}}" $c)" = "1 running" ]'
docker inspect -f '{{.State.Status}} {{.RestartCount}}' $c
docker exec $c sh -c "$limits"
