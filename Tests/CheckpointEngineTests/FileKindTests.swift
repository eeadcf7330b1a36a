import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// What the kernel and images tell of open files.
@Suite struct FileKindTests {
    @Test func notes() throws {
        let notes = try FileNote.parse("hung-up 7\npipe-packets 3 5 6\nexit-code 9 256\n")
        #expect(notes[.hungUp] == [7: []] && notes[.pipePackets] == [3: [5, 6]] && notes[.exitCode] == [9: [256]])
        #expect(try FileNote.parse("").isEmpty)
    }

    @Test(arguments: ["hung-up", "hung-up x", "hung-up -1", "stray 1", "pipe-packets 1 2 x", "hung-up 1\nhung-up 1"])
    func otherLines(text: String) {
        #expect(failure { _ = try FileNote.parse(text) }.hasSuffix("is no note"))
    }

    @Test func watchesAsTheKernelTellsThem() throws {
        let line =
            "1f ino:2a sdev:fd00003 mask:80000fff ignored_mask:0 fhandle-bytes:9 fhandle-type:f8 f_handle:0102030405060708ff"
        let watch = try Inotify.parse(Substring(line), id: 5)
        #expect(watch.wd == 31 && watch.iIno == 42 && watch.sDev == 0xfd0_0003 && watch.mask == 0x8000_0fff)
        #expect(watch.fHandle.type == 0xf8 && watch.fHandle.bytes == 9)
        #expect(watch.fHandle.handle.prefix(2) == [0x0807_0605_0403_0201, 0xff])
        let without = failure { _ = try Inotify.parse("1 ino:2a sdev:1 mask:1 ignored_mask:0", id: 5) }
        #expect(without.contains("no handle of inode 42"))
        #expect(failure { _ = try Inotify.parse("x", id: 5) }.contains("describes a watch as `x`"))
    }

    /// What is refused before anything is touched.
    private func plan(_ change: (inout [FileEntry]) -> Void, notes: String? = nil) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("files.img", as: FileEntry.self, change)
        if let notes { try copy.put(FileNote.fileName, Array(notes.utf8)) }
        return failure { try Rehearsal(copy).run() }
    }

    private func watch(_ number: UInt32, _ mask: UInt32, _ path: String?) -> InotifyWdEntry {
        .with {
            ($0.id, $0.iIno, $0.mask, $0.ignoredMask, $0.sDev, $0.wd) = (900, 1, mask, 0, 1, number)
            $0.fHandle = .with {
                ($0.bytes, $0.type) = (0, 1)
                if let path { $0.path = path }
            }
        }
    }

    private func instance(_ watches: [InotifyWdEntry]) throws -> String {
        try plan({ files in
            files.append(
                .with {
                    ($0.type, $0.id) = (.inotify, 900)
                    $0.ify = .with { ($0.id, $0.flags, $0.fown, $0.wd) = (900, 0, .none, watches) }
                })
        })
    }

    @Test func watchesOfImages() throws {
        #expect(try instance([watch(1, 2, "etc"), watch(2, 0x8400_0fff, ".")]) == "no error")
        // IN_MASK_ADD, IN_MASK_CREATE and no event at all
        for mask: UInt32 in [0x2000_0001, 0x1000_0001, 0, 0x8000_0000] {
            #expect(try instance([watch(1, mask, "etc")]).contains("no watch has number 1"))
        }
        for number: UInt32 in [0, 1 << 31] {
            #expect(try instance([watch(number, 2, "etc")]).contains("no watch has number \(number)"))
        }
        #expect(try instance([watch(1, 2, "etc"), watch(1, 2, "usr")]).contains("no watch has number 1"))
        for path in [nil, "", "a\0b", String(repeating: "x", count: 5000)] {
            #expect(try instance([watch(1, 2, path)]).contains("watch 1 has no path"))
        }
    }

    private func process(_ pid: Int32, notes: String? = nil) throws -> String {
        try plan(
            { files in
                files.append(
                    .with {
                        ($0.type, $0.id) = (.pidfd, 900)
                        $0.pidfd = .with { ($0.id, $0.ino, $0.flags, $0.nspid, $0.fown) = (900, 1, 0, pid, .none) }
                    })
            }, notes: notes)
    }

    @Test func pidfdsOfImages() throws {
        #expect(try process(-1) == "no error")
        #expect(try process(1) == "no error")
        for pid: Int32 in [0, -2, 4711, .max] {
            #expect(try process(pid).contains("a pidfd of \(pid), which is no process of the checkpoint"))
        }
        #expect(try process(-1, notes: "exit-code 900 9\n") == "no error")
        for code in ["19", "127", "", "1 2"] {
            #expect(try process(-1, notes: "exit-code 900 \(code)\n").contains("no process ends with exit code"))
        }
    }

    /// More packets than a pipe has places for would make their writer wait for ever.
    @Test func packets() throws {
        let pipe = try makePipe()
        let writer = pipe.second.raw
        func fill(_ count: Int, _ packets: [UInt32]) -> String {
            failure {
                try PipeContent.fill(writer, count: UInt64(count), packets: packets, name: "pipe") {
                    [UInt8](repeating: 1, count: count)
                }
            }
        }
        #expect(fill(20, Array(repeating: 1, count: 20)).contains("20 packets that are not its 20 bytes"))
        #expect(fill(4097, [4097]).contains("1 packets"))
        #expect(fill(5, [0, 5]).contains("2 packets"))
        #expect(fill(5, [.max, 6]).contains("2 packets"))
        #expect(fill(70_000, []).contains("70000 bytes do not fit into 65536"))
        #expect(fill(9, [3, 6]) == "no error")
        let content = try PipeContent(of: pipe.first.raw)
        #expect(content.bytes.count == 9 && content.size == 65_536)
        #expect(try content.packets(writesPackets: false) == [3, 6])
        #expect(try PipeContent.hasNoWriter(pipe.first.raw) == false)
    }

    /// - Returns: what a restore says of an unlinked file, before anything is touched.
    private func unlinked(
        as name: String = "/state/gone", links: Int = 1, _ change: (inout GhostFileEntry) -> Void = { _ in },
        chunks: [(count: Int, offset: UInt64)] = [(3, 0)]
    ) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            files.append(
                .with {
                    ($0.type, $0.id) = (.reg, 900)
                    $0.reg = .with { ($0.id, $0.flags, $0.pos, $0.fown, $0.name) = (900, 0, 0, .none, name) }
                })
        }
        var linkImage = ImageWriter(.remapFilePath)
        for _ in 0..<links {
            try linkImage.append(
                RemapFilePathEntry.with { ($0.origID, $0.remapID, $0.remapType) = (900, 1, .ghost) })
        }
        try copy.put("remap-fpath.img", linkImage.take())
        var ghost = ImageWriter(.ghostFile, 1)
        var entry = GhostFileEntry.with {
            ($0.uid, $0.gid, $0.mode, $0.chunks, $0.size) = (0, 0, UInt32(S_IFREG) | 0o600, true, 10)
        }
        change(&entry)
        try ghost.append(entry)
        for chunk in chunks {
            try ghost.append(GhostChunkEntry.with { ($0.len, $0.off) = (UInt64(chunk.count), chunk.offset) })
            ghost.append(raw: [UInt8](repeating: 7, count: chunk.count))
        }
        try copy.put("ghost-file-1.img", ghost.take())
        return failure { try Rehearsal(copy).run() }
    }

    @Test func unlinkedFilesOfImages() throws {
        #expect(try unlinked() == "no error")
        #expect(try unlinked(chunks: [(3, 0), (3, 7)]) == "no error")
        // More than a stub has room for, and what is no path.
        for name in ["/" + String(repeating: "x", count: 2 << 20), "state/gone", "", "/a\0b"] {
            #expect(try unlinked(as: name).contains("is not called by an absolute path"))
        }
        #expect(try unlinked(links: 2).contains("is none that can be unlinked"))
        for (count, offset) in [(4, UInt64(7)), (1, 10), (3, .max), (11, 0)] {
            #expect(try unlinked(chunks: [(count, offset)]).contains("no file or directory that can be restored"))
        }
        #expect(try unlinked({ $0.size = 1 << 60 }).contains("no file or directory that can be restored"))
        for kind in [S_IFBLK, S_IFCHR, S_IFLNK, S_IFSOCK] {
            #expect(try unlinked({ $0.mode = UInt32(kind) }).contains("no file or directory that can be restored"))
        }
    }

    /// Nobody without CAP_SYS_ADMIN may lock a terminal's settings.
    @Test func lockedTerminals() throws {
        var terminal = TtyInfoEntry.with { $0.id = 1 }
        var policy = RestorePolicy(
            capabilities: ~(1 << 21), noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)
        try terminal.check(policy)
        terminal.termiosLocked = TermiosEntry()
        try terminal.check(policy)
        terminal.termiosLocked.cLflag = 1
        #expect(failure { try terminal.check(policy) }.hasSuffix("config.json does not grant CAP_SYS_ADMIN"))
        policy.capabilities = 1 << 21
        try terminal.check(policy)
    }

    /// No image gives a file rights by its attributes.
    @Test func attributesOfUnlinkedFiles() throws {
        func numbers(_ texts: String...) -> [UInt32] {
            texts.flatMap { [UInt32($0.utf8.count)] + $0.utf8.map { UInt32($0) } }
        }
        let kept = try #require(UnlinkedFile.attributes(numbers("user.a", "1", "user.b", "")))
        #expect(kept.map(\.name) == ["user.a", "user.b"] && kept.map(\.value) == [[49], []])
        for lie in [
            numbers("security.capability", "1"), numbers("trusted.a", "1"), numbers("system.posix_acl_access", "1"),
            numbers("user.a"), numbers("user.a\0", "1"), [.max], [7] + numbers("user.a"),
            numbers("user.a", "1") + [1, 256],
            numbers("user." + String(repeating: "a", count: 300), "1"), Array(repeating: 0, count: 2 << 20),
        ] {
            #expect(UnlinkedFile.attributes(lie)?.count == nil)
        }
    }
}
