/// A user that this machine does not have: a mount namespace knows it, by /etc and with ids beneath it, for as long as a
/// process sleeps there. It also knows `containers`, whose ids podman's `--userns=auto` hands out.
struct OwnUser {
    static let (name, id) = ("tester", 70123)
    private var holder: Daemon
    private let cgroup: String?

    /// - Parameter cgroup: one to be made in the namespace's only hierarchy, v2, as the user's own; without one the
    ///   cgroups are the machine's.
    init(in folder: String, cgroup: String? = nil) throws(Failure) {
        self.cgroup = cgroup
        for (name, rest) in [("passwd", "\(Self.id)::\(folder):/bin/sh"), ("group", "")] {
            let known = Files.text(of: "/etc/" + name) ?? ""
            try Files.write("\(known)\(Self.name):x:\(Self.id):\(rest)\n", to: "\(folder)/etc-\(name)")
        }
        let ranges = "\(Self.name):300000:65536\ncontainers:400000:65536\n"
        for name in ["subuid", "subgid"] { try Files.write(ranges, to: "\(folder)/etc-\(name)") }
        let script = """
            set -e
            for name in passwd group subuid subgid; do mount --bind "$0/etc-$name" "/etc/$name"; done
            # slirp4netns opens it. On most machines anybody may.
            [ ! -e /dev/net/tun ] || { mknod -m 666 "$0/tun" c 10 200; mount --bind "$0/tun" /dev/net/tun; }
            if [ "$1" ]; then
                umount --lazy /sys/fs/cgroup
                mount -t cgroup2 none /sys/fs/cgroup
                mkdir -p "/sys/fs/cgroup/$1/podman"
                chown -R \(Self.id) "/sys/fs/cgroup/$1"
            fi
            mount --make-rshared /  # which podman warns about otherwise
            echo ready
            exec sleep infinity
            """
        let log = folder + "/user.log"
        let unshare = ["unshare", "--mount", "--propagation", "private"]
        var command = Command(unshare + ["bash", "-c", script, folder, cgroup ?? ""])
        command.environment.append("STASIS_TEST=" + folder)  // for the leak check
        holder = try Daemon(command, log: log) { Files.text(of: log) == "ready\n" }
    }

    /// What root calls there.
    func command(_ words: [String]) -> Command {
        Command(["nsenter", "--mount=/proc/\(holder.pid)/ns/mnt"] + words)
    }

    /// What the user calls there, in its own cgroup if it has one.
    func unprivileged(_ words: [String]) -> Command {
        let enter = "echo $$ >/sys/fs/cgroup/\(cgroup ?? "")/podman/cgroup.procs && exec \"$@\""
        let id = String(Self.id)
        let user = ["setpriv", "--reuid", id, "--regid", id, "--clear-groups"] + words
        return command(cgroup == nil ? user : ["sh", "-c", enter, "sh"] + user)
    }

    mutating func end() { holder.stop() }
}
