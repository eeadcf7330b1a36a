# What a process sees of its container, without what no two have in common.
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|Sig[BIC]|Shd)' /proc/self/status
id
pwd
umask
hostname
env | sort
cat /proc/self/oom_score_adj /proc/self/limits /proc/1/comm /proc/self/uid_map
ls /proc/self/fd | wc -l
sed 's/.*://' /proc/self/cgroup | sort -u
stat -c '%A %u %g %t %T %N' $(find /dev | sort)
cut -d ' ' -f 4- /proc/self/mountinfo | sort -k 2
for kind in cgroup ipc mnt net pid user uts; do
    grep -qF "$(readlink /proc/self/ns/$kind)" /f/host_namespaces && echo "$kind is the host's"
done
sysctl net.ipv4.ip_forward kernel.shmmax
cd /sys/fs/cgroup
cat memory/memory.*limit* cpu/cpu.shares cpu/cpu.cfs_* cpuset/cpuset.cpus pids/pids.max blkio/blkio.*weight 2>/dev/null
cat memory.low memory.max memory.swap.max cpu.max cpu.weight pids.max io.weight 2>/dev/null
sort devices/devices.list 2>/dev/null
true
