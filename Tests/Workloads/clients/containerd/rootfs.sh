# A root that no snapshotter gives, a pid file, and what cannot be made.
# says: from the folder
# says: not a directory
# says: inside /proc
mkdir -p $files/$c/bin && cp /bin/busybox $files/$c/bin/busybox && chmod 755 $files/$c/bin/busybox
run --rm --pid-file $files/$c/pid --rootfs $files/$c $c /bin/busybox echo from the folder
grep -c '^[0-9]*$' $files/$c/pid
run --rm --rootfs $files/$c/lost $c true
run --rm --mount type=bind,src=$files/plain,dst=/etc,options=bind $image $c true 2>&1 | grep -o 'not a directory'
run --rm --mount type=bind,src=$files,dst=/proc/x,options=bind $image $c true 2>&1 | grep -o 'inside /proc'
run --rm --mount type=bind,src=/no/such,dst=/x,options=bind $image $c true 2>&1 | grep -o 'no such file or directory'
run --rm --seccomp --seccomp-profile $files/seccomp.json $image $c mkdir /x
