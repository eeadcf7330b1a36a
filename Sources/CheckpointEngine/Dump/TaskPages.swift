import LinuxSystem

/// Reads a task's pages, and leaves what they cost the container as it is.
///
/// process_vm_readv(2) is twice as fast as /proc/PID/mem, but it pins what it reads, and to be pinned a page that
/// processes share copy-on-write is copied. So it reads only pages that no other page table has. What was swapped out
/// and had to come in is swapped out again.
final class TaskPages {
    let task: SourceTask
    private let memory: OwnedDescriptor
    private let pagemap: OwnedDescriptor
    private var words: [PagemapWord] = []

    init(_ task: SourceTask) throws {
        self.task = task
        do throws(SystemError) {
            memory = try openAt(AT_FDCWD, "/proc/\(task.hostPid)/mem", O_RDONLY)
            pagemap = try openAt(AT_FDCWD, "/proc/\(task.hostPid)/pagemap", O_RDONLY)
        } catch {
            throw [.noSuchFileOrDirectory, .noSuchProcess].contains(error.errno) ? task.isGone : error
        }
    }

    private enum Kind {
        case exclusive, shared, swapped

        init(_ word: PagemapWord) { self = word.isSwapped ? .swapped : word.isExclusive ? .exclusive : .shared }
    }

    func read(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        try PagemapWord.read(pagemap.raw, address, count: buffer.count / 4096, into: &words)
        guard words.count == buffer.count / 4096 else { throw task.isGone }
        var page = 0
        while page < words.count {
            let kind = Kind(words[page])
            let end = words[page...].firstIndex { Kind($0) != kind } ?? words.count
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[page * 4096..<end * 4096])
            try read(address + UInt64(page) * 4096, kind, into: part)
            page = end
        }
    }

    private func read(_ address: UInt64, _ kind: Kind, into buffer: UnsafeMutableRawBufferPointer) throws {
        let range = iovec(iov_base: UnsafeMutableRawPointer(bitPattern: UInt(address)), iov_len: buffer.count)
        // What the task itself may not read (PROT_NONE) is read as a debugger would, too.
        if kind == .exclusive, readAtOnce(range, into: buffer) { return }
        var done = 0
        while done < buffer.count {
            let place = address + UInt64(done)
            let count = try about(task.name) {
                try system("read memory at 0x\(String(place, radix: 16))") {
                    pread(
                        memory.raw, buffer.baseAddress?.advanced(by: done), buffer.count - done,
                        off_t(truncatingIfNeeded: place))
                }
            }
            guard count > 0 else { throw task.isGone }
            done += count
        }
        if kind == .swapped { pageOut(range) }
    }

    private func readAtOnce(_ range: iovec, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var local = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
        var remote = range
        return withUnsafeMutablePointer(to: &local) { local in
            withUnsafeMutablePointer(to: &remote) { remote in
                clinux_syscall(
                    Int(SYS_process_vm_readv), Int(task.hostPid), Int(bitPattern: local), 1, Int(bitPattern: remote), 1,
                    0) == buffer.count
            }
        }
    }

    /// process_madvise(2) MADV_PAGEOUT, kernel 5.10. Where it fails, more memory is used, and nothing is wrong.
    private func pageOut(_ range: iovec) {
        var range = range
        guard let process = try? Pidfd(pid: task.hostPid) else { return }
        withUnsafePointer(to: &range) {
            _ = clinux_syscall(
                Int(CLINUX_SYS_process_madvise), Int(process.raw), Int(bitPattern: $0), 1, Int(CLINUX_MADV_PAGEOUT), 0,
                0)
        }
    }
}

/// A task whose memory is read, and its name in messages.
struct SourceTask {
    let hostPid: pid_t
    let name: String

    init(_ process: CapturedProcess) { (hostPid, name) = (process.hostPid, "\(process)") }
    init(_ hostPid: pid_t) { (self.hostPid, name) = (hostPid, "process \(hostPid)") }

    var isGone: CheckpointError { CheckpointError("\(name) was killed meanwhile") }
}
