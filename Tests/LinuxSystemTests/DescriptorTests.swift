import Glibc
import LinuxSystem
import Testing

/// Numbers of closed descriptors are taken again by whatever runs beside: these tests own numbers far above.
@Suite(.serialized) struct DescriptorTests {
    /// An open file with a number that nobody else gets.
    private func high(_ number: CInt) throws -> CInt {
        let file = try openAt(AT_FDCWD, "/dev/null", O_RDWR)
        return try system("dup") { clinux_fcntl(file.raw, F_DUPFD_CLOEXEC, Int(number)) }
    }

    @Test func closedWhenTheOwnerGoes() throws {
        let raw = try high(900)
        do {
            let owner = OwnedDescriptor(raw)
            #expect(isOpen(owner.raw))
            #expect(owner.descriptor.rawValue == raw)
        }
        #expect(!isOpen(raw))
    }

    @Test func givenAwayItStaysOpen() throws {
        let raw = try high(910)
        do {
            let owner = OwnedDescriptor(raw)
            #expect(owner.release() == raw)
        }
        #expect(isOpen(raw))
        close(raw)
    }

    @Test func aDuplicateLivesByItself() throws {
        let owner = OwnedDescriptor(try high(920))
        let other: CInt
        do {
            let second = try owner.duplicate()
            other = second.raw
            #expect(other != owner.raw)
            #expect(clinux_fcntl(other, F_GETFD, 0) & FD_CLOEXEC != 0)
        }
        #expect(isOpen(owner.raw))
    }

    @Test func ofNothingThereIsNoDuplicate() throws {
        let owner = OwnedDescriptor(CInt(-1))
        do {
            _ = try owner.duplicate()
            Issue.record("duplicated")
        } catch {
            #expect(error.errno == .badFileDescriptor)
        }
    }
}

@Suite struct MessageTests {
    @Test(arguments: [0, 1, 3, 253]) func descriptorsPass(count: Int) throws {
        let pair = try socketPair(CInt(5))
        let pipe = try makePipe()
        let sent = [CInt](repeating: pipe.second.raw, count: count)
        try sendMessage(pair.first.raw, [1, 2, 3], descriptors: sent)
        let message = try receiveMessage(pair.second.raw, limit: 100, descriptors: 253)
        defer { for descriptor in message.descriptors { close(descriptor) } }
        #expect(message.bytes == [1, 2, 3])
        #expect(!message.truncated)
        #expect(message.descriptors.count == count)
        #expect(Set(message.descriptors + [pipe.second.raw]).count == count + 1)
        let inode = try status(of: pipe.first.raw).st_ino
        for descriptor in message.descriptors {
            #expect(try status(of: descriptor).st_ino == inode)
            #expect(clinux_fcntl(descriptor, F_GETFD, 0) & FD_CLOEXEC != 0)
        }
    }

    @Test func descriptorsAreOpenFiles() throws {
        let pair = try socketPair(CInt(1))
        let pipe = try makePipe()
        try sendMessage(pair.first.raw, [0], descriptors: [pipe.second.raw])
        let message = try receiveMessage(pair.second.raw, limit: 1, descriptors: 1)
        let other = OwnedDescriptor(try #require(message.descriptors.first))
        try writeAll(other.raw, Array("through".utf8))
        var bytes = [UInt8](repeating: 0, count: 7)
        #expect(read(pipe.first.raw, &bytes, 7) == 7)
        #expect(String(decoding: bytes, as: UTF8.self) == "through")
    }

    @Test func moreThanThereIsRoomForIsTold() throws {
        let pair = try socketPair(CInt(5))
        try sendMessage(pair.first.raw, [UInt8](repeating: 9, count: 10))
        let short = try receiveMessage(pair.second.raw, limit: 4)
        #expect(short.bytes == [9, 9, 9, 9])
        #expect(short.truncated)

        try sendMessage(pair.first.raw, [1], descriptors: [CInt](repeating: pair.first.raw, count: 8))
        let few = try receiveMessage(pair.second.raw, limit: 4, descriptors: 2)
        defer { for descriptor in few.descriptors { close(descriptor) } }
        #expect(few.truncated)
        #expect(few.descriptors.count == 2)
    }

    @Test func theEndIsAnEmptyMessage() throws {
        let pair = try socketPair(CInt(5))
        let other = pair.second.raw
        try system("shut down") { shutdown(pair.first.raw, CInt(SHUT_RDWR)) }
        let message = try receiveMessage(other, limit: 10, descriptors: 1)
        #expect(message.bytes == [])
        #expect(message.descriptors == [])
        // Not a signal: SIGPIPE would end this process.
        #expect(errno { try sendMessage(other, [1]) } == .brokenPipe)
    }
}

@Suite struct PidfdTests {
    private func start(_ script: String) throws -> pid_t {
        let words = ["/bin/sh", "-c", script]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var child: pid_t = 0
        let error = posix_spawn(&child, "/bin/sh", nil, nil, &arguments, clinux_environ())
        guard error == 0 else { throw SystemError(Errno(rawValue: error), "start a shell") }
        return child
    }

    @Test func exits() throws {
        #expect(try Pidfd(pid: start("exit 7")).wait() == .exited(7))
        let sleeper = try Pidfd(pid: start("exec sleep 100"))
        #expect(try !sleeper.ends(within: 10))
        try sleeper.send(SIGKILL)
        #expect(try sleeper.ends(within: 5000))
        let end = try sleeper.wait()
        #expect(end == .killed(signal: SIGKILL))
        #expect(end.code == 137)
        #expect(errno { try sleeper.send(SIGTERM) } == .noSuchProcess)
    }
}
