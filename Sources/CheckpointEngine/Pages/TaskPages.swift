import LinuxSystem
import Tracee

/// Reads a task's pages, and leaves what they cost the container as it is.
///
/// process_vm_readv(2) is twice as fast as /proc/PID/mem, but it pins what it reads, and to be pinned a page that
/// processes share copy-on-write is copied. So it reads only pages that no other page table has. What was swapped out
/// and had to come in is swapped out again.
final class TaskPages: PageSource {
    private let task: SourceTask
    private let memory: OwnedDescriptor
    private let pagemap: OwnedDescriptor

    init(_ task: SourceTask) throws {
        self.task = task
        do throws(SystemError) {
            memory = try openAt(AT_FDCWD, "/proc/\(task.task)/mem", O_RDONLY)
            pagemap = try openAt(AT_FDCWD, "/proc/\(task.task)/pagemap", O_RDONLY)
        } catch {
            throw [.noSuchFileOrDirectory, .noSuchProcess].contains(error.errno) ? task.isGone : error
        }
    }

    private enum Kind {
        case exclusive, shared, swapped

        init(_ word: PagemapWord) { self = word.isSwapped ? .swapped : word.isExclusive ? .exclusive : .shared }
    }

    func read(_ piece: PagePiece, into buffer: inout PageBuffer) throws {
        var parts: [(kind: Kind, range: Range<UInt64>)] = []
        var words: [PagemapWord] = []
        for range in piece.ranges {
            try PagemapWord.read(pagemap.raw, range.lowerBound, count: range.count / 4096, into: &words)
            guard words.count == range.count / 4096 else { throw task.isGone }
            var page = 0
            while page < words.count {
                let kind = Kind(words[page])
                let end = words[page...].firstIndex { Kind($0) != kind } ?? words.count
                parts.append((kind, range.lowerBound + UInt64(page) * 4096..<range.lowerBound + UInt64(end) * 4096))
                page = end
            }
        }
        var done = 0
        while let first = parts.first {
            let like = parts.prefix { $0.kind == first.kind }
            try read(like.map(\.range)[...], first.kind, into: &buffer, at: &done)
            parts.removeFirst(like.count)
        }
    }

    private func read(
        _ ranges: ArraySlice<Range<UInt64>>, _ kind: Kind, into buffer: inout PageBuffer, at done: inout Int
    ) throws {
        var atOnce = kind == .exclusive ? TaskMemory(task.task).read(ranges, into: &buffer, at: done) : 0
        for range in ranges {
            if atOnce >= range.count {
                atOnce -= range.count
            } else {
                // What the task itself may not read (PROT_NONE) is read as a debugger would.
                atOnce = 0
                let count = try about(task.name) {
                    try buffer.fill(
                        done..<done + range.count, from: memory.raw, at: range.lowerBound,
                        "read memory at \(RemoteAddress(range.lowerBound))")
                }
                guard count == range.count else { throw task.isGone }
            }
            done += range.count
            // Where it fails, more memory is used, and nothing is wrong.
            if kind == .swapped { TaskMemory(task.task).pageOut(range) }
        }
    }
}

/// Memory that processes share, read through its file.
final class SharedMemoryPages: PageSource {
    private let file: OwnedDescriptor

    init(_ file: borrowing OwnedDescriptor) throws { self.file = try file.duplicate() }

    func read(_ piece: PagePiece, into buffer: inout PageBuffer) throws {
        var done = 0
        for range in piece.ranges {
            let place = RemoteAddress(range.lowerBound)
            let count = try buffer.fill(
                done..<done + range.count, from: file.raw, at: range.lowerBound, "read shared memory at \(place)")
            if count < range.count {
                // Of its last page only a part may be the file's; all of it is memory.
                let page = done + count / 4096 * 4096
                guard page + 4096 == done + range.count else {
                    throw CheckpointError("shared memory at \(place) is not there any more")
                }
                try buffer.fillPage(page..<page + 4096, from: file.raw, at: range.lowerBound + UInt64(page - done))
            }
            done += range.count
        }
    }
}

/// A task whose memory is read, and its name in messages.
struct SourceTask {
    let task: pid_t
    let name: String

    init(_ process: CapturedProcess) { (task, name) = (process.task, "\(process)") }
    init(_ process: pid_t) { (self.task, name) = (process, "process \(process)") }

    var isGone: CheckpointError { CheckpointError("\(name) was killed meanwhile") }
}
