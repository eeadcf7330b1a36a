import Glibc
import LinuxSystem
import TestSupport
import Testing

@Suite struct FileTests {
    private let scratch = Scratch()

    @Test(arguments: [0, 1, 16 << 10, (16 << 10) + 1, 3 << 20]) func theWholeFileIsRead(size: Int) throws {
        let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 * 31 + $0 >> 8) }
        let file = try openAt(AT_FDCWD, "\(scratch.path)/file", O_RDWR | O_CREAT, mode: 0o600)
        try writeAll(file.raw, content)
        #expect(try readFile("\(scratch.path)/file") == content)
        #expect(try readAll(file.raw) == [], "from the descriptor's position")
    }

    @Test func theLimitHolds() throws {
        let path = try scratch.put("file", String(repeating: "x", count: 100))
        #expect(try readFile(path, limit: 100).count == 100)
        #expect(errno { _ = try readFile(path, limit: 99) } == .fileTooLarge)
        // A file without an end.
        #expect(errno { _ = try readFile("/dev/zero", limit: 1 << 20) } == .fileTooLarge)
    }

    @Test func textOfAnyBytes() throws {
        let path = try scratch.put("file", "")
        let file = try openAt(AT_FDCWD, path, O_WRONLY)
        try writeAll(file.raw, [0x61, 0xff, 0x62])
        #expect(try readText(path) == "a\u{fffd}b")
    }

    @Test func controlFilesAreNotCreated() throws {
        #expect(errno { try writeControl("\(scratch.path)/none", "1") } == .noSuchFileOrDirectory)
        let path = try scratch.put("control", "12345")
        try writeControl(path, "67")
        #expect(try readText(path) == "67345", "written in place, not truncated")
    }

    @Test func entriesOfADirectory() throws {
        #expect(try directoryEntries(scratch.path) == [])
        let names = (0..<500).map { "file-\($0)" } + ["with space", "ü", ".hidden", String(repeating: "n", count: 255)]
        for name in names { try scratch.put(name, "") }
        try scratch.makeDirectory("directory")
        #expect(try Set(directoryEntries(scratch.path)) == Set(names + ["directory"]))
        let directory = try scratch.open()
        #expect(try directoryEntries(at: directory.raw, "directory") == [])
        #expect(try directoryEntries(at: directory.raw, ".").count == names.count + 1)
        #expect(isOpen(directory.raw))
        #expect(errno { _ = try directoryEntries("\(scratch.path)/file-1") } == .notDirectory)
    }

    @Test func kindsOfFile() throws {
        let path = try scratch.put("file", "abc")
        try scratch.link("link", to: "file")
        let file = try status(at: AT_FDCWD, path)
        #expect(file.isRegular && !file.isDirectory && !file.isSymbolicLink && file.st_size == 3)
        #expect(try status(at: AT_FDCWD, "\(scratch.path)/link").isRegular)
        #expect(try status(at: AT_FDCWD, "\(scratch.path)/link", flags: AT_SYMLINK_NOFOLLOW).isSymbolicLink)
        #expect(try status(at: AT_FDCWD, scratch.path).isDirectory)
        #expect(try status(at: AT_FDCWD, "/dev/null").isCharacterDevice)
        let pipe = try makePipe()
        #expect(try status(of: pipe.first.raw).isFIFO)
        let pair = try socketPair(CInt(1))
        #expect(try status(of: pair.first.raw).isSocket)
    }

    @Test func linkTargets() throws {
        try scratch.link("link", to: "/some/where")
        #expect(try linkTarget("\(scratch.path)/link") == "/some/where")
        #expect(errno { _ = try linkTarget(scratch.path) } == .invalidArgument)
    }
}

@Suite struct SystemErrorTests {
    @Test func text() {
        #expect(SystemError(.noSuchFileOrDirectory, "open /x").description == "open /x: no such file or directory")
        #expect(SystemError(.fileTooLarge, "read file").description == "read file: file too large")
    }

    @Test func theCallsErrnoIsKept() {
        #expect(errno { try system("close") { close(-1) } } == .badFileDescriptor)
        #expect(errno { try systemCall("nothing", 100_000) } == .noFunction)
    }

    @Test func onlyMinusOneIsAFailure() throws {
        #expect(try system("call") { CInt(-2) } == -2)
        #expect(try system("call") { 0 } == 0)
    }

    @Test func interruptedCallsAreMadeAgain() throws {
        var calls = 0
        let result: CInt = try system("call") {
            calls += 1
            if calls == 3 { return 7 }
            Glibc.errno = EINTR
            return -1
        }
        #expect(result == 7)
        #expect(calls == 3)
    }
}
