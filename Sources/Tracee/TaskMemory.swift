import LinuxSystem

/// Reading and writing another task's memory. process_vm_readv(2).
public struct TaskMemory: Sendable {
    public let pid: pid_t

    public init(_ pid: pid_t) { self.pid = pid }

    /// Fills `buffer` from `address`; stops at the first page that cannot be read.
    ///
    /// - Returns: bytes read.
    public func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(TraceeError) -> Int {
        var local = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
        var remote = iovec(iov_base: UnsafeMutableRawPointer(bitPattern: UInt(address.raw)), iov_len: buffer.count)
        do {
            return try withUnsafeMutablePointer(to: &local) { local throws(SystemError) in
                try withUnsafeMutablePointer(to: &remote) { remote throws(SystemError) in
                    try systemCall(
                        "read memory of task \(pid) at \(address)", Int(SYS_process_vm_readv), Int(pid),
                        Int(bitPattern: local), 1, Int(bitPattern: remote), 1, 0)
                }
            }
        } catch {
            throw error.errno == .noSuchProcess ? .gone(pid) : .failed(error)
        }
    }

    public func read(_ address: RemoteAddress, count: Int) throws(TraceeError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: TraceeError?
        let done = bytes.withUnsafeMutableBytes { buffer in
            do throws(TraceeError) { return try read(address, into: buffer) } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        guard done == count else { throw .unexpected(pid, "memory at \(address) ends after \(done) of \(count) bytes") }
        return bytes
    }

    public func value<T: BitwiseCopyable>(_ address: RemoteAddress, as type: T.Type) throws(TraceeError) -> T {
        try read(address, count: MemoryLayout<T>.size).withUnsafeBytes { $0.loadUnaligned(as: T.self) }
    }

    public func write(_ address: RemoteAddress, _ bytes: UnsafeRawBufferPointer) throws(TraceeError) {
        guard bytes.count > 0 else { return }
        var local = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
        var remote = iovec(iov_base: UnsafeMutableRawPointer(bitPattern: UInt(address.raw)), iov_len: bytes.count)
        let done: Int
        do {
            done = try withUnsafeMutablePointer(to: &local) { local throws(SystemError) in
                try withUnsafeMutablePointer(to: &remote) { remote throws(SystemError) in
                    try systemCall(
                        "write memory of task \(pid) at \(address)", Int(SYS_process_vm_writev), Int(pid),
                        Int(bitPattern: local), 1, Int(bitPattern: remote), 1, 0)
                }
            }
        } catch {
            throw error.errno == .noSuchProcess ? .gone(pid) : .failed(error)
        }
        guard done == bytes.count else { throw .unexpected(pid, "memory at \(address) cannot be written") }
    }

    public func write(_ address: RemoteAddress, _ bytes: [UInt8]) throws(TraceeError) {
        var failure: TraceeError?
        bytes.withUnsafeBytes { raw in
            do throws(TraceeError) { try write(address, raw) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Writes where the task itself may not: into its own copy of a page. /proc/PID/mem, as debuggers do.
    public func force(_ address: RemoteAddress, _ bytes: [UInt8]) throws(TraceeError) {
        do throws(SystemError) {
            let file = try openAt(AT_FDCWD, "/proc/\(pid)/mem", O_WRONLY)
            let count = try system("write memory of task \(pid) at \(address)") {
                bytes.withUnsafeBytes {
                    pwrite(file.raw, $0.baseAddress, $0.count, off_t(truncatingIfNeeded: address.raw))
                }
            }
            guard count == bytes.count else {
                throw SystemError(.badAddress, "write memory of task \(pid) at \(address)")
            }
        } catch { throw error.errno == .noSuchFileOrDirectory ? .gone(pid) : .failed(error) }
    }
}
