import CheckpointImages
import LinuxSystem

/// Copies runs of memory into image files with two threads: while one reads a task's memory, the other writes.
///
/// Without a directory it only reads: the checksums tell whether restored memory is what was dumped.
///
/// Large files are written past the page cache where the file system can (O_DIRECT): it is several times faster, and
/// nothing is charged to anybody's memory cgroup.
final class PageCopier: @unchecked Sendable {
    private static let chunk = 4 << 20
    /// Below this many bytes in all, a write through the page cache is over sooner.
    static let directFrom: UInt64 = 16 << 20

    private let pieces: [PageDump.Run]
    private let files: [(name: String, size: UInt64)]
    private var descriptors: [CInt] = []
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private var next = 0
    private var failure: (any Error)?
    /// One for each file.
    private(set) var sums: [PageSum]

    init(runs: [PageDump.Run], files: [(name: String, size: UInt64)], into directory: CInt?) throws {
        self.files = files
        sums = files.map { _ in PageSum() }
        lock = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        pieces = runs.flatMap { run in
            stride(from: 0, to: run.length, by: Self.chunk).map { start in
                var piece = run
                piece.address += UInt64(start)
                piece.offset += UInt64(start)
                piece.length = min(Self.chunk, run.length - start)
                return piece
            }
        }
        guard let directory else { return }
        let isLarge = files.reduce(0) { $0 + $1.size } >= Self.directFrom
        for file in files { descriptors.append(try Self.create(file.name, file.size, direct: isLarge, in: directory)) }
    }

    deinit {
        for descriptor in descriptors { close(descriptor) }
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    private static func create(_ name: String, _ size: UInt64, direct: Bool, in directory: CInt) throws -> CInt {
        let made = try openAt(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode: 0o600).release()
        // Not every file system can; then the page cache takes it.
        if direct { _ = clinux_fcntl(made, F_SETFL, Int(CLINUX_O_DIRECT)) }
        // On tmpfs room is made by clearing pages, which costs as much as the copying.
        var system = statfs()
        let isMemory = fstatfs(made, &system) == 0 && Int(system.f_type) == Int(TMPFS_MAGIC)
        if size > 0, !isMemory {
            // Room for all of it now or never: a full disk is better met before anything is copied.
            let length = off_t(truncatingIfNeeded: size)
            let result = posix_fallocate_raw(made, length)
            if result != 0 && result != EOPNOTSUPP && result != ENOSYS {
                close(made)
                throw SystemError(Errno(rawValue: result), "room for \(size) bytes of memory in \(name)")
            }
        }
        return made
    }

    private static func posix_fallocate_raw(_ file: CInt, _ length: off_t) -> CInt {
        clinux_syscall(Int(SYS_fallocate), Int(file), 0, 0, Int(length), 0, 0) == 0 ? 0 : Errno.current.rawValue
    }

    func run() throws {
        let total = pieces.reduce(0) { $0 + $1.length }
        if total <= Self.chunk {
            work()
        } else {
            var helper = pthread_t()
            let context = Unmanaged.passUnretained(self).toOpaque()
            let started =
                pthread_create(
                    &helper, nil,
                    { context in
                        if let context { Unmanaged<PageCopier>.fromOpaque(context).takeUnretainedValue().work() }
                        return nil
                    }, context) == 0
            work()
            if started { pthread_join(helper, nil) }
        }
        if let failure { throw failure }
    }

    private func take() -> PageDump.Run? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        guard failure == nil, next < pieces.count else { return nil }
        next += 1
        return pieces[next - 1]
    }

    private func work() {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunk, alignment: 4096)
        defer { buffer.deallocate() }
        var task: TaskPages?
        while let piece = take() {
            let room = UnsafeMutableRawBufferPointer(rebasing: buffer[..<piece.length])
            do { try copy(piece, from: &task, through: room) } catch {
                pthread_mutex_lock(lock)
                failure = failure ?? error
                pthread_mutex_unlock(lock)
            }
        }
    }

    private func copy(
        _ piece: PageDump.Run, from task: inout TaskPages?, through buffer: UnsafeMutableRawBufferPointer
    ) throws {
        try Self.read(piece, from: &task, into: buffer)
        var sum = PageSum()
        sum.add(UnsafeRawBufferPointer(buffer), at: piece.offset)
        pthread_mutex_lock(lock)
        sums[piece.file].add(sum)
        pthread_mutex_unlock(lock)
        guard !descriptors.isEmpty else { return }
        var done = 0
        while done < buffer.count {
            let position = off_t(piece.offset) + off_t(done)
            done += try system("write \(files[piece.file].name)") {
                pwrite(descriptors[piece.file], buffer.baseAddress?.advanced(by: done), buffer.count - done, position)
            }
        }
    }

    /// - Parameter task: the one that the thread has read before, which is mostly the next one too.
    private static func read(
        _ piece: PageDump.Run, from task: inout TaskPages?, into buffer: UnsafeMutableRawBufferPointer
    ) throws {
        switch piece.source {
        case .memory(let source):
            if task?.task.hostPid != source.hostPid { task = try TaskPages(source) }
            try task?.read(piece.address, into: buffer)
        case .file(let file):
            try read(file, at: piece.address, into: buffer)
        }
    }

    private static func read(_ file: CInt, at address: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        var done = 0
        while done < buffer.count {
            let position = off_t(truncatingIfNeeded: address) + off_t(done)
            let count = try system("read memory at \(String(address, radix: 16))") {
                pread(file, buffer.baseAddress?.advanced(by: done), buffer.count - done, position)
            }
            guard count > 0 else {
                throw CheckpointError("memory at \(String(address, radix: 16)) is not there any more")
            }
            done += count
        }
    }
}
