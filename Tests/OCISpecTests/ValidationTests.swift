import Testing

@testable import OCISpec

@Suite struct ValidationTests {
    private func refusal(_ change: (inout Spec) -> Void) throws -> String? {
        var spec = try Spec.decode(Array(Spec.starterText().utf8))
        change(&spec)
        do {
            try spec.validate()
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func whatACreateNeedsIsAskedFor() throws {
        #expect(try refusal { $0.root = nil } == "config.json: root: missing")
        #expect(try refusal { $0.root?.path = "" } == "config.json: root.path: empty")
        #expect(try refusal { $0.process = nil } == "config.json: process: property must not be empty")
    }

    /// One entry for each range and pattern of the schema, and for what the kernel would only call invalid.
    @Test(arguments: [
        Case("process.cwd: must be an absolute path") { $0.process?.cwd = "tmp" },
        Case("process.cwd: empty") { $0.process?.cwd = "" },
        Case("process.args: must not be empty") { $0.process?.args = [] },
        Case("process.env[0]: \"A\" has no \"=\"") { $0.process?.env = ["A"] },
        Case("process.env[1]: \"=A\" has no name") { $0.process?.env = ["A=", "=A"] },
        Case("process.consoleSize.width: 65536 is not between 0 and 65535") {
            $0.process?.consoleSize = ConsoleSize(height: 1, width: 65536)
        },
        Case("process.rlimits[0].type: unknown value \"NOFILE\"") {
            $0.process?.rlimits = [Rlimit(type: "NOFILE", hard: 1, soft: 1)]
        },
        Case("process.rlimits[1].type: duplicated RLIMIT_NOFILE") {
            $0.process?.rlimits.append(Rlimit(type: "RLIMIT_NOFILE", hard: 1, soft: 1))
        },
        Case("process.rlimits[0].soft: above the hard limit of RLIMIT_CORE") {
            $0.process?.rlimits = [Rlimit(type: "RLIMIT_CORE", hard: 1, soft: 2)]
        },
        Case("process.oomScoreAdj: -1001 is not between -1000 and 1000") { $0.process?.oomScoreAdj = -1001 },
        Case("process.ioPriority.priority: 8 is not between 0 and 7") {
            $0.process?.ioPriority = IOPriority(class: .bestEffort, priority: 8)
        },
        Case("process.scheduler.nice: 20 is not between -20 and 19") {
            $0.process?.scheduler = Scheduler(policy: .other, nice: 20)
        },
        Case("process.scheduler.priority: 0 is not between 1 and 99") {
            $0.process?.scheduler = Scheduler(policy: .fifo)
        },
        Case("process.scheduler.priority: only SCHED_FIFO and SCHED_RR have one") {
            $0.process?.scheduler = Scheduler(policy: .batch, priority: 1)
        },
        Case("process.scheduler.policy: only SCHED_DEADLINE has a runtime, deadline and period") {
            $0.process?.scheduler = Scheduler(policy: .idle, runtime: 1)
        },
        Case("process.execCPUAffinity.final: \"0;1\" is not a list of CPUs") {
            $0.process?.execCPUAffinity = ExecCPUAffinity(initial: "0-1, 3", final: "0;1")
        },
        Case("mounts[1].destination: empty") { $0.mounts[1].destination = "" },
        Case("annotations: empty name") { $0.annotations = ["": "x"] },
        Case("hooks.poststart[0].path: must be absolute") {
            $0.hooks = Hooks()
            $0.hooks?.poststart = [Hook(path: "relative")]
        },
        Case("hooks.prestart[1].timeout: must be greater than zero") {
            $0.hooks = Hooks()
            $0.hooks?.prestart = [Hook(path: "/a"), Hook(path: "/b")]
            $0.hooks?.prestart[1].timeout = 0
        },
        Case("linux.namespaces[5].type: duplicated ns \"pid\"") {
            $0.linux?.namespaces.append(Namespace(type: .pid, path: "/proc/1/ns/pid"))
        },
        Case("linux.namespaces[0].path: must be absolute") { $0.linux?.namespaces[0].path = "ns" },
        Case("hostname: unable to set hostname without a private UTS namespace") { $0.without(.uts) },
        Case("domainname: unable to set domainname without a private UTS namespace") {
            $0.without(.uts)
            ($0.hostname, $0.domainname) = (nil, "d")
        },
        Case("linux.maskedPaths: unable to restrict sys entries without a private MNT namespace") {
            $0.without(.mount)
        },
        Case("linux.gidMappings: user namespace mappings specified, but no user namespace") {
            $0.linux?.gidMappings = [IDMapping(containerID: 0, hostID: 0, size: 1)]
        },
        Case("linux.uidMappings[0].size: must be greater than zero") {
            $0.map(users: [IDMapping(containerID: 0, hostID: 0, size: 0)])
        },
        Case("linux.gidMappings: user namespace enabled, but no mappings specified") {
            $0.map(users: [IDMapping(containerID: 0, hostID: 1, size: 1)], groups: [])
        },
        Case("linux.uidMappings: the container's id 0 is not mapped") {
            $0.map(users: [IDMapping(containerID: 1, hostID: 1, size: 1)])
        },
        Case("linux.uidMappings[1].containerID: overlaps the ids of mapping 0") {
            $0.map(users: [
                IDMapping(containerID: 0, hostID: 1, size: 2), IDMapping(containerID: 1, hostID: 9, size: 1),
            ])
        },
        Case("linux.uidMappings[1].hostID: overlaps the ids of mapping 0") {
            $0.map(users: [
                IDMapping(containerID: 0, hostID: 5, size: 2), IDMapping(containerID: 2, hostID: 0, size: 6),
            ])
        },
        Case("linux.uidMappings[0].size: hostID 5 and 4294967295 more exceed 32 bits") {
            $0.map(users: [IDMapping(containerID: 0, hostID: 5, size: .max)])
        },
        Case("linux.uidMappings: the kernel takes at most 340 mappings") {
            $0.map(users: (0...340).map { IDMapping(containerID: $0, hostID: $0, size: 1) })
        },
        Case("mounts[0].gidMappings: missing: both are needed") {
            $0.mounts[0].uidMappings = [IDMapping(containerID: 0, hostID: 1, size: 1)]
        },
        Case("linux.timeOffsets: specified, but no time namespace") { $0.linux?.timeOffsets = TimeOffsets() },
        Case("linux.timeOffsets.boottime.nanosecs: 1000000000 is not between 0 and 999999999") {
            $0.linux?.namespaces.append(Namespace(type: .time))
            $0.linux?.timeOffsets = TimeOffsets(boottime: TimeOffsets.Offset(secs: 0, nanosecs: 1_000_000_000))
        },
        Case("linux.rootfsPropagation: unknown value \"rrshared\"") { $0.linux?.rootfsPropagation = "rrshared" },
        Case("linux.sysctl: sysctl \"vm.swappiness\" is not in a separate kernel namespace") {
            $0.linux?.sysctl = ["vm.swappiness": "1"]
        },
        Case("linux.sysctl: sysctl \"net.ipv4.ip_forward\" is not allowed in the hosts network namespace") {
            $0.linux?.sysctl = ["net.ipv4.ip_forward": "1"]
            $0.without(.network)
        },
        Case("linux.devices[0].type: unknown value \"x\"") {
            $0.linux?.devices = [Device(type: "x", path: "/dev/x")]
        },
        Case("linux.devices[0]: major and minor are needed") {
            $0.linux?.devices = [Device(type: "c", path: "/dev/x")]
        },
        Case("linux.devices[0].minor: -1 is not between 0 and 1048575") {
            $0.linux?.devices = [Device(type: "c", path: "/dev/x", major: 1, minor: -1)]
        },
        Case("linux.devices[0].fileMode: 65536 is not between 0 and 65535") {
            $0.linux?.devices = [Device(type: "c", path: "/dev/x", major: 1, minor: 1, fileMode: 65536)]
        },
        Case("linux.netDevices: unable to move network devices without a network namespace") {
            $0.linux?.netDevices = ["eth0": NetDevice()]
            $0.without(.network)
        },
        Case("linux.netDevices.eth0.name: \"a/b\" is not the name of a network device") {
            $0.linux?.netDevices = ["eth0": NetDevice(name: "a/b")]
        },
        Case("linux.netDevices.eth1.name: \"x\" is taken twice") {
            $0.linux?.netDevices = ["eth0": NetDevice(name: "x"), "eth1": NetDevice(name: "x")]
        },
        Case("linux.resources.devices[0].access: unknown value \"rx\"") {
            $0.linux?.resources?.devices = [DeviceCgroup(allow: true, access: "rx")]
        },
        Case("linux.resources.devices[0].type: unknown value \"p\"") {
            $0.linux?.resources?.devices = [DeviceCgroup(allow: true, type: "p")]
        },
        Case("linux.resources.devices[0].major: -2 is out of range") {
            $0.linux?.resources?.devices = [DeviceCgroup(allow: true, type: "c", major: -2)]
        },
        Case("linux.resources.memory.swappiness: 101 is not between 0 and 100") {
            $0.linux?.resources?.memory = Memory()
            $0.linux?.resources?.memory?.swappiness = 101
        },
        Case("linux.resources.unified: \"../x\" is not the name of a cgroup file") {
            $0.linux?.resources?.unified = ["../x": "1"]
        },
        Case("linux.intelRdt.closID: \"..\" is not the name of a directory") {
            $0.linux?.intelRdt = IntelRdt(closID: "..")
        },
        Case("linux.intelRdt.memBwSchema: \"L3:0=1\" is not one line that begins with MB:") {
            $0.linux?.intelRdt = IntelRdt(memBwSchema: "L3:0=1")
        },
        Case("linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW has none") {
            $0.linux?.seccomp = Seccomp(defaultAction: .allow)
            $0.linux?.seccomp?.defaultErrnoRet = 1
        },
        Case("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action") {
            $0.linux?.seccomp = Seccomp(defaultAction: .notify)
        },
        Case("linux.seccomp.syscalls[0].names: empty") {
            $0.setRule(Syscall(names: [], action: .errno))
        },
        Case("linux.seccomp.syscalls[0].errnoRet: 65536 is not between 0 and 65535") {
            $0.setRule(Syscall(names: ["getcwd"], action: .errno), errnoRet: 65536)
        },
        Case("linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL has none") {
            $0.setRule(Syscall(names: ["getcwd"], action: .kill), errnoRet: 1)
        },
        Case("linux.seccomp.syscalls[0].args[0].index: 6 is not between 0 and 5") {
            var rule = Syscall(names: ["getcwd"], action: .errno)
            rule.args = [Syscall.Argument(index: 6, value: 0, op: .equal)]
            $0.setRule(rule)
        },
        Case("linux.seccomp.listenerPath: missing, and SCMP_ACT_NOTIFY needs it") {
            $0.setRule(Syscall(names: ["mkdir"], action: .notify))
        },
        Case("linux.seccomp.syscalls[0].names: SCMP_ACT_NOTIFY cannot be used for the write syscall") {
            $0.setRule(Syscall(names: ["mkdir", "write"], action: .notify))
            $0.linux?.seccomp?.listenerPath = "/s"
        },
    ])
    func badValuesAreRefusedByField(_ example: Case) throws {
        #expect(try refusal(example.change) == "config.json: " + example.message)
    }

    @Test(arguments: [
        Case("types of files in a mode") {
            $0.linux?.devices = [Device(type: "c", path: "/dev/x", major: 1, minor: 3, fileMode: 0o20666)]
        },
        Case("sysctls of own namespaces") { $0.linux?.sysctl = ["kernel.sem": "1", "net/ipv4/ip_forward": "1"] },
        Case("any device") {
            $0.linux?.resources?.devices = [DeviceCgroup(allow: true, type: "c", major: -1, minor: -1)]
        },
        Case("runc's propagation") { $0.linux?.rootfsPropagation = "rslave" },
        Case("realtime") { $0.process?.scheduler = Scheduler(policy: .roundRobin, priority: 99) },
    ])
    func goodValuesAreNot(_ example: Case) throws { #expect(try refusal(example.change) == nil) }

    @Test func versions() throws {
        #expect(try refusal { $0.ociVersion = "1.9.0-rc1" } == nil)
        #expect(try refusal { $0.ociVersion = "2.0.0" } == "config.json: ociVersion: 2.0.0 is not supported (1.3.0 is)")
        #expect(try refusal { $0.ociVersion = "new" } == "config.json: ociVersion: \"new\" is not a version")
        #expect(try refusal { $0.ociVersion = "" } == "config.json: ociVersion: \"\" is not a version")
    }
}

/// A change to the starter bundle, and what is said of it.
struct Case: CustomTestStringConvertible, Sendable {
    var message: String
    var change: @Sendable (inout Spec) -> Void

    init(_ message: String, _ change: @escaping @Sendable (inout Spec) -> Void) {
        (self.message, self.change) = (message, change)
    }

    var testDescription: String { message }
}

extension Spec {
    fileprivate mutating func without(_ kind: Namespace.Kind) { linux?.namespaces.removeAll { $0.type == kind } }

    fileprivate mutating func map(
        users: [IDMapping], groups: [IDMapping] = [IDMapping(containerID: 0, hostID: 1, size: 1)]
    ) {
        linux?.namespaces.append(Namespace(type: .user))
        linux?.uidMappings = users
        linux?.gidMappings = groups
    }

    fileprivate mutating func setRule(_ rule: Syscall, errnoRet: UInt32? = nil) {
        var rule = rule
        rule.errnoRet = errnoRet
        linux?.seccomp = Seccomp(defaultAction: .allow)
        linux?.seccomp?.syscalls = [rule]
    }
}
