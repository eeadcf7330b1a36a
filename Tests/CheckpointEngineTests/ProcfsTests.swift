import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine

@Suite struct MemoryMapTests {
    @Test func aMappedFile() throws {
        let line = try #require(
            MemoryMapLine("7f1c2a000000-7f1c2a021000 r-xp 00002000 fe:00 131090                     /usr/lib/a b.so"))
        #expect(line.start == 0x7f1c_2a00_0000)
        #expect(line.range == 0x7f1c_2a00_0000..<0x7f1c_2a02_1000)
        #expect(line.protection == 5)
        #expect(!line.isShared)
        #expect(line.offset == 0x2000)
        #expect(line.device == "fe:00")
        #expect(line.inode == 131_090)
        #expect(line.name == "/usr/lib/a b.so")
        #expect(line.link == "7f1c2a000000-7f1c2a021000")
    }

    @Test(arguments: [
        ("---p", UInt32(0), false), ("r--p", 1, false), ("-w-s", 2, true), ("rw-p", 3, false), ("--xp", 4, false),
        ("rwxs", 7, true),
    ])
    func protection(flags: String, protection: UInt32, isShared: Bool) throws {
        let line = try #require(MemoryMapLine("1000-2000 \(flags) 00000000 00:00 0 "))
        #expect(line.protection == protection)
        #expect(line.isShared == isShared)
        #expect(line.name == "")
    }

    @Test func namesOfTheKernels() throws {
        let high = try #require(MemoryMapLine("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]"))
        #expect(high.end == 0xffff_ffff_ff60_1000)
        #expect(high.name == "[vsyscall]")
        let gone = try #require(MemoryMapLine("1000-2000 rw-s 00000000 00:01 7    /dev/zero (deleted)"))
        #expect(gone.name == "/dev/zero (deleted)")
    }

    @Test(arguments: [
        "", "1000", "1000-2000", "1000-2000 r--p", "1000-2000 r-- 0 00:00 0", "x-2000 r--p 0 00:00 0",
        "1000-2000 r--p g 00:00 0", "1000-2000 r--p 0 00:00 -1", "VmFlags: rd wr mr mw me ac",
    ])
    func otherLines(line: String) {
        #expect(MemoryMapLine(line[...]) == nil)
    }

    @Test func thisProcess() throws {
        let size = 3 * 4096
        let made = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
        let address = try #require(made)
        defer { munmap(address, size) }
        madvise(address, size, 16)  // MADV_DONTDUMP
        let start = UInt64(UInt(bitPattern: address))
        let line = try #require(try memoryMap(of: getpid()).first { $0.range == start..<start + UInt64(size) })
        #expect(line.protection == 3)
        #expect(line.isShared)
        let flags = try #require(try mappingFlags(of: getpid())[line.range])
        #expect(flags.isSuperset(of: ["rd", "wr", "sh", "dd"]))
        #expect(!flags.contains("ex"))
    }
}

@Suite struct ProcessStatusTests {
    /// Files as proc_pid_status(5) and proc_pid_stat(5) show them.
    private func status(_ text: String, stat: String) throws -> ProcessStatus {
        let scratch = Scratch()
        try scratch.put("status", text)
        try scratch.put("stat", stat)
        return try ProcessStatus(4711, path: scratch.path)
    }

    private static let sample = """
        Name:\tevil) S 1
        Umask:\t0027
        State:\tS (sleeping)
        TracerPid:\t12
        Uid:\t1000\t1001\t1002\t1003
        Gid:\t100\t101\t102\t103
        Groups:\t4 24 4294967294 
        NSpid:\t4711\t31\t1
        NSpgid:\t4700\t30\t7
        NSsid:\t4600\t29\t0
        CapInh:\t0000000000000000
        CapPrm:\t000001ffffffffff
        CapBnd:\t00000000a80425fb
        NoNewPrivs:\t1
        Seccomp:\t2
        """

    @Test func fields() throws {
        let status = try status(Self.sample, stat: "4711 (evil) S 1) S 1 2 3\n")
        #expect(status.state == "S")
        #expect(!status.isZombie)
        #expect(status.umask == 0o27)
        #expect(status.tracer == 12)
        #expect(status.users == [1000, 1001, 1002, 1003])
        #expect(status.groups == [100, 101, 102, 103])
        #expect(status.supplementaryGroups == [4, 24, 4_294_967_294])
        #expect([status.innerPid, status.innerGroup, status.innerSession] == [1, 7, 0])
        #expect(status.noNewPrivileges)
        #expect(status.seccompMode == 2)
        #expect(status.capabilities("Prm") == 0x1ff_ffff_ffff)
        #expect(status.capabilities("Bnd") == 0xa804_25fb)
        #expect(status.capabilities("Inh") == 0)
    }

    /// The command may look like the fields behind it.
    @Test func numbersAreThoseOfTheManPage() throws {
        let status = try status(Self.sample, stat: "4711 (a) R 9 (b) S 77 88 99 18446744073709551615\n")
        #expect(try status.stat(4) == 77)
        #expect(try status.stat(5) == 88)
        #expect(try status.stat(7) == UInt64.max)
        #expect(failure { _ = try status.stat(8) } == "/proc/4711/stat: no field 8")
        #expect(failure { _ = try status.stat(3) } == "/proc/4711/stat: no field 3")
    }

    @Test func nothingInIt() throws {
        let status = try status("", stat: "1 () Z 0\n")
        #expect(status.users == [])
        #expect(status.innerPid == 0)
        #expect(status.umask == 0o22)
        #expect(status.seccompMode == 0)
        #expect(failure { _ = try self.status("", stat: "") }.hasSuffix("stat: no command in it"))
    }

    @Test func thisProcess() throws {
        let status = try ProcessStatus(getpid())
        #expect(status.users == [getuid(), geteuid(), geteuid(), geteuid()])
        #expect(try status.stat(4) == UInt64(getppid()))
        #expect(commandName(getpid()) != "?")
        #expect(commandName(pid_t.max) == "?")
    }
}

@Suite struct DescriptorInfoTests {
    @Test func aFile() throws {
        let file = try openAt(AT_FDCWD, "/proc/self/exe", O_RDONLY | O_NONBLOCK)
        try system("seek") { lseek(file.raw, 1234, SEEK_SET) }
        let info = try DescriptorInfo(process: getpid(), number: file.raw)
        #expect(info.position == 1234)
        #expect(info.closesOnExec)
        #expect(info.flags & UInt32(O_NONBLOCK) != 0)
        #expect(info.flags & UInt32(O_CLOEXEC) == 0)
        #expect(info.mount > 0)
        #expect(info.value("pos") == "1234")
        #expect(info.value("none") == nil)
    }

    @Test func linesOfAnEventCounter() throws {
        let counter = OwnedDescriptor(eventfd(77, 0))
        let info = try DescriptorInfo(process: getpid(), number: counter.raw)
        #expect(!info.closesOnExec)
        #expect(info.value("eventfd-count").flatMap { UInt64($0, radix: 16) } == 77)
    }
}
