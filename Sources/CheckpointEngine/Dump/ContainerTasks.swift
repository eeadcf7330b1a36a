import LinuxSystem
import Tracee

/// Everything that runs in the container, standing still under ptrace.
///
/// No freezer is needed: each task is seized and interrupted, what it created meanwhile is met in the next pass, and
/// when a pass meets nothing new, nothing runs any more. Whatever becomes of the engine, the kernel lets seized tasks go
/// on. Where the caller has paused the container by the v1 freezer, `thaw` lets its tasks reach their stop (a task that
/// this freezer holds cannot stop for ptrace), with the interrupt already on its way.
final class ContainerTasks {
    private(set) var processes: [CapturedProcess] = []
    /// Those of `exec` that are to be left out of the image. They stand still like the others.
    private var leftOut: [CapturedProcess] = []
    private var guests: [pid_t] = []
    private var seized: Set<pid_t> = []
    /// Threads of the kernel's.
    private var workers: Set<pid_t> = []
    private let news = StopNews()

    init(of request: CheckpointRequest) throws {
        refreeze = request.isPaused ? request.refreeze : {}
        do {
            try stop(request)
            for process in processes + leftOut where !process.isZombie { try takeOver(process) }
        } catch {
            release()
            throw error
        }
    }

    /// The last pass has met nothing new and nobody who just died, so what it saw stands still.
    private func stop(_ request: CheckpointRequest) throws {
        var isThawed = false
        let patience = Guest.Patience(milliseconds: 1000)
        let end = Deadline(seconds: 20)
        repeat {
            guard !end.hasPassed else {
                throw CheckpointError(
                    "its \(processes.count) processes make new ones faster than they can be stopped; try again, or pause it"
                )
            }
            sawChange = !isThawed
            if isThawed {
                processes = try look(request.firstProcess)
                try lookAtGuests(request.options.execPolicy)
            } else {
                // Where most are met, and all move still. Nobody stands longer than it takes to find the others.
                try interrupt(request.firstProcess)
                // All tasks known so far are interrupted.
                if request.isPaused { try request.thaw() }
                isThawed = true
                for task in waiting { try awaitStop(task) }
                waiting = []
            }
            // What a guest leaves behind becomes a child of the first process, and is met in another pass.
            let inside = Set((processes + leftOut).map(\.hostPid))
            if !sawChange, let guest = try request.members().first(where: { !inside.contains($0) }) {
                if try Guest.isIn(guest, request.options.execPolicy, patience) { guests.append(guest) }
                sawChange = true
            }
        } while sawChange
    }

    private let refreeze: () throws -> Void
    private var sawChange = false
    private var waiting: [pid_t] = []
    private var stops: [pid_t: Stop] = [:]

    private func lookAtGuests(_ policy: Guest.Policy) throws {
        leftOut = []
        for guest in guests {
            let met = try look(guest, below: processes.first)
            if policy == .keep { processes += met } else { leftOut += met }
        }
    }

    /// Goes through a tree that runs, parents first, and asks everybody to stop.
    private func interrupt(_ root: pid_t) throws {
        var next = [root]
        while let pid = next.popLast() {
            guard let threads = try? directoryEntries("/proc/\(pid)/task").compactMap({ pid_t($0) }) else { continue }
            try seize(threads, of: pid, isThawed: false)
            next += threads.flatMap { children(of: $0) }.reversed()
        }
    }

    /// Goes through a tree, parents first, and seizes what is new in it.
    ///
    /// - Parameter parent: whose child its root is in the image; nil for the first process.
    private func look(_ root: pid_t, below parent: CapturedProcess? = nil) throws -> [CapturedProcess] {
        var processes: [CapturedProcess] = []
        var next: [(pid: pid_t, parent: CapturedProcess?)] = [(root, parent)]
        while let (pid, parent) = next.popLast() {
            let process: CapturedProcess
            let threads: [pid_t]
            do {
                process = try CapturedProcess(hostPid: pid, parent: parent)
                threads = process.isZombie ? [] : try Self.threads(of: process)
            } catch let error as SystemError {
                // It ended between two looks; its parent has already been told.
                if parent != nil, error.errno == .noSuchFileOrDirectory || error.errno == .noSuchProcess { continue }
                throw error
            }
            process.isGuest = pid == root && parent != nil
            // One that has ended is its parent's affair, outside.
            if process.isGuest, process.isZombie { continue }
            processes.append(process)
            try seize(threads, of: pid, isThawed: true)
            next += threads.flatMap { children(of: $0) }.reversed().map { ($0, process) }
        }
        return processes
    }

    /// In the order in which they were made. After a restore, numbers are given out anew from below.
    private static func threads(of process: CapturedProcess) throws -> [pid_t] {
        try directoryEntries("/proc/\(process.hostPid)/task").compactMap { pid_t($0) }.filter {
            process.endedLeader == nil || $0 != process.hostPid
        }
    }

    /// Whether it is the kernel's own thread that works for io_uring (PF_IO_WORKER). It executes nothing of the program's, and
    /// an interrupt would end with EINTR what it waits for.
    private func isWorker(_ task: pid_t, of process: pid_t) -> Bool {
        let place = "/proc/\(process)/task/\(task)"
        guard (try? commandName(at: place))?.hasPrefix("iou-") == true else { return false }
        return (try? ProcessStatus(task, path: place))?.isWorker ?? false
    }

    /// Whether it is one of those, whatever its name by now, or has ended.
    private func isPassing(_ task: pid_t, of process: CapturedProcess) throws -> Bool {
        do {
            return try ProcessStatus(task, path: "/proc/\(process.hostPid)/task/\(task)").isWorker
        } catch let error as SystemError where [.noSuchFileOrDirectory, .noSuchProcess].contains(error.errno) {
            return true
        }
    }

    private func seize(_ threads: [pid_t], of process: pid_t, isThawed: Bool) throws {
        for task in threads where !seized.contains(task) && !workers.contains(task) {
            if threads.count > 1, isWorker(task, of: process) {
                workers.insert(task)
            } else {
                try seize(task, of: process, isThawed: isThawed)
            }
        }
    }

    private func seize(_ task: pid_t, of process: pid_t, isThawed: Bool) throws {
        do {
            try Ptrace(task).seize(TracedThread.options)
            try Ptrace(task).interrupt()
        } catch let error as SystemError where error.errno == .notPermitted {
            guard let status = try? ProcessStatus(task), !status.isZombie else {
                sawChange = true
                return
            }
            let tracer = status.tracer
            // Created by a task that was seized already, and so traced from birth.
            guard tracer == getpid() else {
                let process = try CapturedProcess(hostPid: process, parent: nil)
                throw CheckpointError(
                    "\(process): \(tracer == 0 ? "the kernel does not let it be traced" : "is traced by process \(tracer) (\(commandName(tracer)))")"
                )
            }
        } catch let error as SystemError where error.errno == .noSuchProcess {
            sawChange = true
            return
        }
        sawChange = true
        seized.insert(task)
        if isThawed { try awaitStop(task) } else { waiting.append(task) }
    }

    private func awaitStop(_ task: pid_t) throws {
        guard stops[task] == nil else { return }
        do {
            stops[task] = try Ptrace(task).waitUntilInterrupted(until: Deadline(milliseconds: 5))
            if stops[task] != nil { return }
            // Of the end of a first thread the kernel tells nothing while others of its process live.
            if (try? ProcessStatus(task))?.isZombie == true {
                _ = try Ptrace(task).news()
                throw TraceeError.gone(task)
            }
            let children = try letVforkEnd(of: task)
            let end = Deadline.patience
            while stops[task] == nil, !end.hasPassed {
                // What a child meets on its way, a signal or a child of its own, it gets.
                for child in children { try? passOn(child) }
                stops[task] = try Ptrace(task).waitUntilInterrupted(until: Deadline(milliseconds: 1))
            }
            guard stops[task] != nil else {
                let place = (try? readText("/proc/\(task)/wchan")) ?? "?"
                throw CheckpointError(
                    "task \(task) (\(commandName(task))) does not stop: it is in an uninterruptible sleep, in \(place)")
            }
            for child in children {
                try? Ptrace(child).interrupt()
                try awaitStop(child)
            }
        } catch TraceeError.gone {
            sawChange = true
            seized.remove(task)
        }
    }

    /// A parent in vfork(2) comes to its stop only when its child has another program or has ended. A child that stands
    /// still already is let run until then. It is the one that has its parent's memory.
    private func letVforkEnd(of task: pid_t) throws -> [pid_t] {
        try children(of: task).filter { child in
            let isSame = (try? systemCall("kcmp", Int(SYS_kcmp), Int(task), Int(child), 1, 0, 0)) == 0  // KCMP_VM
            guard isSame, (try? ProcessStatus(child).tracer) == getpid() else { return false }
            seized.insert(child)
            try awaitStop(child)
            guard stops[child] == .interrupted else { return false }
            stops[child] = nil
            try Ptrace(child).resume()
            return true
        }
    }

    private func passOn(_ child: pid_t) throws {
        while let stop = try Ptrace(child).news() {
            if case .signal(let signal) = stop {
                try Ptrace(child).resume(signal: signal)
            } else {
                try Ptrace(child).resume()
            }
        }
    }

    private func children(of task: pid_t) -> [pid_t] {
        let text = (try? readText("/proc/\(task)/task/\(task)/children")) ?? ""
        return text.parts(between: UInt8(ascii: " ")).compactMap { pid_t($0) }
    }

    private func takeOver(_ process: CapturedProcess) throws {
        for task in try Self.threads(of: process) where !workers.contains(task) {
            // The kernel makes workers at any time, and they end by themselves.
            if stops[task] == nil, try isPassing(task, of: process) { continue }
            let status = try ProcessStatus(thread: task, of: process.hostPid)
            guard !status.isZombie, let stop = stops[task] else {
                throw CheckpointError(
                    "\(process): thread \(status.innerPid) has ended while others of its process live")
            }
            let thread = try TracedThread(stopped: Ptrace(task), by: stop, isFirst: process.pid == 1)
            guard thread.registers.cs == 0x33 else {
                throw CheckpointError("\(process): runs 32-bit code; this cannot be checkpointed yet")
            }
            process.threads.append(thread)
            process.innerThreads.append(status.innerPid)
        }
    }

    /// Lets everything go on as if nothing had happened. Never fails: what is gone needs no letting go.
    func release() {
        // A paused container stays paused: its tasks are frozen again before ptrace lets them go.
        try? refreeze()
        for process in processes {
            try? process.session?.leave()
            process.session = nil
        }
        var left = seized
        for thread in (processes + leftOut).flatMap(\.threads) {
            try? thread.settle()
            try? thread.detach()
            left.remove(thread.tid)
        }
        for task in left { try? Ptrace(task).detach() }
        processes = []
        leftOut = []
        seized = []
    }

    /// Ends every process of the container, first the first one: in a pid namespace of its own it takes the others along.
    func kill() {
        for process in processes + leftOut where !process.isZombie { LinuxSystem.kill(process.hostPid, SIGKILL) }
        // In whatever order they die: the first process of a pid namespace ends only after all the others are buried.
        Ptrace.buryAll()
        processes = []
        leftOut = []
        seized = []
    }
}
