import CheckpointImages
import LinuxSystem
import Tracee

/// How far the processes of a container may go in what the kernel counts: what config.json gives them at their start,
/// and what this machine gives everybody.
package struct ProcessLimits: Sendable {
    /// The hard limits, by their RLIMIT_ numbers.
    package var hard: [UInt64]
    /// Those of them that config.json names. The others are this machine's, and another one may have given more.
    package var named: Set<Int>
    /// The most urgent nice value.
    package var nice: Int32
    /// The highest priority of a real-time policy; 0 for none.
    package var realTime: UInt32
    package var memoryPressure: Int32
    /// vm.mmap_min_addr.
    var lowestAddress: UInt64
    /// fs.pipe-max-size, and fs.pipe-user-pages-soft for each user; in bytes.
    var pipe: UInt64
    var pipes: UInt64
    /// Of sockets, in bytes as the kernel counts them.
    var sendBuffer: UInt32
    var receiveBuffer: UInt32

    /// No limits at all.
    package static let most = ProcessLimits(
        hard: Array(repeating: .max, count: 16), named: Set(0..<16), nice: -20, realTime: 99, memoryPressure: -1000,
        lowestAddress: 0,
        pipe: .max, pipes: .max, sendBuffer: .max, receiveBuffer: .max)

    /// What a process gets that this one starts, unless config.json says something else. A runtime that is less urgent
    /// than usual takes nothing from the container.
    package static func inherited() throws -> ProcessLimits {
        func number(_ path: String) throws -> Int64 {
            Int64(try readText(path).split(whereSeparator: \.isWhitespace).last ?? "") ?? 0
        }
        // The kernel doubles what it is asked for; TCP goes to the last of its three numbers by itself.
        func buffer(_ direction: String) throws -> UInt32 {
            let core = try number("/proc/sys/net/core/\(direction)mem_max") * 2
            let first = try number("/proc/sys/net/core/\(direction)mem_default")
            return UInt32(clamping: max(core, first, try number("/proc/sys/net/ipv4/tcp_\(direction)mem")))
        }
        let nice = 20 - (try systemCall("getpriority", Int(SYS_getpriority), 0, 0))
        var priority: Int32 = 0
        try withUnsafeMutablePointer(to: &priority) {
            _ = try systemCall("sched_getparam", Int(SYS_sched_getparam), 0, Int(bitPattern: $0))
        }
        let pages = try number("/proc/sys/fs/pipe-user-pages-soft")
        return ProcessLimits(
            hard: try ResourceLimits.capture(getpid()).rlimits.map(\.max), named: [], nice: Int32(min(0, nice)),
            realTime: UInt32(priority), memoryPressure: Int32(min(0, try number("/proc/self/oom_score_adj"))),
            lowestAddress: UInt64(try number("/proc/sys/vm/mmap_min_addr")),
            pipe: UInt64(try number("/proc/sys/fs/pipe-max-size")), pipes: pages == 0 ? .max : UInt64(pages) * 4096,
            sendBuffer: try buffer("w"), receiveBuffer: try buffer("r"))
    }
}

extension RestorePolicy {
    /// Whether config.json grants a capability that counts on the whole machine, and not in the container's user
    /// namespace alone.
    private func grantsOutside(_ capability: UInt64) -> Bool { userNamespace == .own && grants(capability) }

    /// Whether a process could have made itself more urgent than any other.
    var grantsUrgency: Bool { grantsOutside(Self.sysNice) }

    private func grants(_ capability: UInt64) -> Bool { capabilities & 1 << capability != 0 }

    static let sysChroot: UInt64 = 18
    private static let setPcap: UInt64 = 8, netAdmin: UInt64 = 12, netRaw: UInt64 = 13, rawIO: UInt64 = 17
    private static let sysAdmin: UInt64 = 21, sysNice: UInt64 = 23, sysResource: UInt64 = 24

    /// Fails if a process is to have more than it could have come to.
    func checkLimits(of plan: ProcessPlan) throws {
        if let mapping = plan.mm.vmas.first, mapping.start < limits.lowestAddress, !grantsOutside(Self.rawIO) {
            throw CheckpointError(
                "\(plan): has memory at \(RemoteAddress(mapping.start)), below vm.mmap_min_addr "
                    + "(\(limits.lowestAddress)), and config.json does not grant CAP_SYS_RAWIO")
        }
        if !grantsOutside(Self.sysResource) {
            for (resource, ((name, wanted), hard)) in zip(ResourceLimits.named(plan.task.rlimits), limits.hard)
                .enumerated()
            where wanted.max > hard && limits.named.contains(resource) {
                throw CheckpointError(
                    "\(plan): its limit `\(name)` is \(Self.text(wanted.max)), but config.json gives \(Self.text(hard)); "
                        + "raise it in process.rlimits, or grant CAP_SYS_RESOURCE")
            }
            if plan.task.hasOomScoreAdj, plan.task.oomScoreAdj < limits.memoryPressure {
                throw CheckpointError(
                    "\(plan): its oom_score_adj is \(plan.task.oomScoreAdj), but config.json gives "
                        + "\(limits.memoryPressure); lower process.oomScoreAdj, or grant CAP_SYS_RESOURCE")
            }
        }
        for (thread, core) in plan.everyThread where core.hasThreadCore {
            let state = core.threadCore
            // SECBIT_KEEP_CAPS is everybody's.
            guard state.creds.secbits & ~0x10 == 0 || grants(Self.setPcap) else {
                throw CheckpointError(
                    "\(plan): thread \(thread) has securebits 0x\(String(state.creds.secbits, radix: 16)), and "
                        + "config.json does not grant CAP_SETPCAP")
            }
            try about("\(plan): thread \(thread)") { try checkScheduling(state) }
        }
    }

    /// The limits that a process gets: its own, but no higher than this machine's where config.json says nothing.
    ///
    /// - Returns: also the names of those that had to be lowered.
    func limits(of plan: ProcessPlan) -> (limits: TaskRlimitsEntry, lowered: [String]) {
        var entry = plan.task.rlimits
        guard !grantsOutside(Self.sysResource) else { return (entry, []) }
        var lowered: [String] = []
        for (resource, (name, wanted)) in ResourceLimits.named(entry).enumerated()
        where wanted.max > limits.hard[resource] {
            entry.rlimits[resource].max = limits.hard[resource]
            entry.rlimits[resource].cur = min(wanted.cur, limits.hard[resource])
            lowered.append("\(name) \(Self.text(wanted.max)) to \(Self.text(limits.hard[resource]))")
        }
        return (entry, lowered)
    }

    private static func text(_ limit: UInt64) -> String { limit == .max ? "unlimited" : "\(limit)" }

    private func checkScheduling(_ state: ThreadCoreEntry) throws {
        // SCHED_RESET_ON_FORK is everybody's. Normal, FIFO, round robin, batch, idle.
        let policy = state.schedPolicy & ~0x4000_0000
        guard [0, 1, 2, 3, 5].contains(policy) else {
            throw CheckpointError("scheduling policy \(policy) cannot be restored")
        }
        if grantsOutside(Self.sysNice) { return }
        // RLIMIT_NICE counts from 20 downwards. RLIMIT_RTPRIO.
        let nice = min(Int64(limits.nice), 20 - Int64(clamping: limits.hard[13]))
        guard state.schedNice >= nice else {
            throw CheckpointError(
                "its nice value is \(state.schedNice), but config.json gives \(nice); lower process.scheduler's nice, "
                    + "raise RLIMIT_NICE in process.rlimits, or grant CAP_SYS_NICE")
        }
        let priority = max(UInt64(limits.realTime), limits.hard[14])
        guard policy == 0 || policy > 2 || state.schedPrio <= priority else {
            throw CheckpointError(
                "its real-time priority is \(state.schedPrio), but config.json gives \(priority); set "
                    + "process.scheduler, raise RLIMIT_RTPRIO in process.rlimits, or grant CAP_SYS_NICE")
        }
    }

    /// Fails if open files are to have more than the processes could have made them have.
    func checkFiles(_ images: RestoreImages, of first: ProcessPlan) throws {
        let processes = first.all
        let targets = [processes.flatMap(\.threads), processes.map(\.pid), processes.map(\.group)].map { Set($0) }
        for file in images.files.all {
            try about("file \(file.id)") {
                if let owner = file.signalOwner, owner.pid != 0 { try check(owner, targets) }
                if let options = file.socketOptions { try check(options) }
            }
        }
        try checkPipes(images, processes)
    }

    /// - Parameter targets: threads, processes and groups that may get SIGIO.
    private func check(_ owner: FownEntry, _ targets: [Set<pid_t>]) throws {
        guard owner.pidType < targets.count,
            targets[Int(owner.pidType)].contains(pid_t(truncatingIfNeeded: owner.pid))
        else {
            throw CheckpointError("its signals go to \(owner.pid), which is none of the checkpoint's processes")
        }
        for user in [owner.uid, owner.euid] where !allows(user: user) {
            throw CheckpointError("its signals are those of user id \(user), which config.json does not give")
        }
    }

    private func check(_ options: SkOptsEntry) throws {
        if !grants(Self.netAdmin), !grants(Self.netRaw) {
            guard options.soMark == 0, options.soPriority <= 6 else {
                throw CheckpointError(
                    "a socket with mark \(options.soMark) and priority \(options.soPriority), and config.json grants "
                        + "neither CAP_NET_ADMIN nor CAP_NET_RAW")
            }
        }
        guard !grants(Self.netAdmin) else { return }
        guard options.soSndbuf <= limits.sendBuffer, options.soRcvbuf <= limits.receiveBuffer else {
            throw CheckpointError(
                "a socket with buffers of \(options.soSndbuf) and \(options.soRcvbuf) bytes, but this machine gives "
                    + "\(limits.sendBuffer) and \(limits.receiveBuffer); raise net.core.wmem_max and rmem_max, or grant "
                    + "CAP_NET_ADMIN in config.json")
        }
    }

    /// The most bytes that may wait in a unix socket: its buffer, and the message that was begun when it was nearly full.
    var longestUnixQueue: Int { grants(Self.netAdmin) ? 1 << 30 : 2 * Int(limits.sendBuffer) }

    /// Fails if queues of a TCP connection hold more than any socket's.
    func checkQueues(received: UInt32, sent: UInt32) throws {
        let isFree = grants(Self.netAdmin)
        let (most, most2) = isFree ? (1 << 30, 1 << 30) : (limits.receiveBuffer, limits.sendBuffer)
        guard received <= most, sent <= most2 else {
            throw CheckpointError(
                "a TCP connection with \(received) bytes to read and \(sent) to send, but this machine's sockets hold "
                    + "\(limits.receiveBuffer) and \(limits.sendBuffer); raise net.ipv4.tcp_rmem and tcp_wmem")
        }
    }

    private func checkPipes(_ images: RestoreImages, _ processes: [ProcessPlan]) throws {
        let sizes = [images.pipeData, images.fifoData].flatMap(\.values).filter(\.entry.hasSize).map {
            UInt64($0.entry.size)
        }
        if let size = sizes.max(), size > limits.pipe, !grantsOutside(Self.sysResource) {
            throw CheckpointError(
                "a pipe of \(size) bytes, but fs.pipe-max-size gives \(limits.pipe), and config.json does not grant "
                    + "CAP_SYS_RESOURCE")
        }
        if grantsOutside(Self.sysResource) || grantsOutside(Self.sysAdmin) { return }
        // Those that somebody has made larger than pipe(2) does.
        let enlarged = sizes.filter { $0 > 65_536 }.reduce(0, +)
        let users = Set(processes.flatMap(\.credentials).map(\.uid))
        guard enlarged / UInt64(max(users.count, 1)) <= limits.pipes else {
            throw CheckpointError(
                "pipes of \(enlarged) bytes, but fs.pipe-user-pages-soft gives each of \(users.count) users "
                    + "\(limits.pipes), and config.json grants neither CAP_SYS_RESOURCE nor CAP_SYS_ADMIN")
        }
    }
}
