# Namespaces of another container, joined by path.
# says: the same
run --detach $image $c sleep 1000
pid=$(ctr task list | sed -n "s/^$c *\([0-9]*\) .*/\1/p")
join=$(for kind in pid ipc uts network; do echo --with-ns $kind:/proc/$pid/ns/$(echo $kind | sed s/network/net/); done)
look='for kind in pid ipc uts net; do readlink /proc/self/ns/$kind; done'
wait_for 'ctr task exec --exec-id 1-$i $c sh -c "$look" >$files/$c; [ -s $files/$c ]'  # ctr may lose what is said
run --rm $join $image second-$c sh -c "$look" | cmp - $files/$c && echo the same
run --rm $join $image second-$c cat /proc/1/comm
run --detach $join $image third-$c sleep 1001
ctr task kill --signal KILL $c
wait_for 'ctr task list | grep -q "third-$c .*STOPPED"'
ctr task delete third-$c
ctr container delete third-$c
run --rm --with-ns pid:/no/such $image third-$c true 2>&1 | grep -o 'no such file or directory'
