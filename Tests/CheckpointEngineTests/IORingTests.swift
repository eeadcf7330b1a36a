import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages
@testable import Tracee

/// Rings of io_uring: what an image may say of one, and how a new one gets to where it was.
@Suite
struct IORingTests {
    /// A ring of some entries and twice as many completions, after so many operations.
    private struct Ring: ~Copyable {
        let descriptor: OwnedDescriptor
        let image: [UInt8]

        init(
            _ flags: RingParameters.Flags = [], after count: UInt32, unread: UInt32 = 0, entries: UInt32 = 4
        ) throws {
            var parameters = RingParameters(submissions: entries, completions: entries * 2, flags: flags)
            let made = try parameters.make()
            let memory = try RingMemory(of: made.raw, parameters)
            try memory.advance(to: count, unread: unread, isPolled: flags.contains(.polled))
            image = parameters.bytes + memory.bytes
            descriptor = made
        }
    }

    /// The kernel's own counters are those that the ring shows.
    @Test(arguments: [(0, 0), (3, 0), (8, 8), (1001, 5), (4096, 8)] as [(UInt32, UInt32)], [false, true])
    func advanced(_ counts: (all: UInt32, unread: UInt32), hasArray: Bool) throws {
        let ring = try Ring(hasArray ? [] : .noArray, after: counts.all, unread: counts.unread)
        let info = try DescriptorInfo(process: getpid(), number: ring.descriptor.raw)
        for key in ["SqHead", "SqTail", "CachedSqHead", "CqTail", "CachedCqTail"] as [Substring] {
            #expect(info.value(key) == "\(counts.all)")
        }
        #expect(info.value("CqHead") == "\(counts.all - counts.unread)")
    }

    /// By its thread, which is awake at first and sleeps later.
    @Test func advancedByItsThread() throws {
        let ring = try Ring([.polled, .noArray], after: 5000, unread: 7)
        let info = try DescriptorInfo(process: getpid(), number: ring.descriptor.raw)
        for key in ["SqHead", "SqTail", "CachedSqHead", "CqTail", "CachedCqTail"] as [Substring] {
            #expect(info.value(key) == "5000")
        }
        #expect(info.value("CqHead") == "4993")
    }

    /// To look at a ring changes nothing in it.
    @Test func described() throws {
        let ring = try Ring(after: 21, unread: 2)
        let parameters = try #require(RingParameters(ring.image.prefix(RingParameters.byteCount)))
        let memory = try RingMemory(of: ring.descriptor.raw, parameters)
        let told = try memory.describe()
        #expect(told.contains("SQEs:\t1\n") && told.contains("CQEs:\t1\n") && told.contains("opcode:"))
        #expect(parameters.bytes + memory.bytes == ring.image)
    }

    /// What a checkpoint asks a ring that is not enabled gives it no restrictions.
    @Test func askedWhileDisabled() throws {
        // IORING_SETUP_R_DISABLED
        var parameters = RingParameters(submissions: 4, completions: 8, flags: RingParameters.Flags(rawValue: 1 << 6))
        let made = try parameters.make()
        let probe = RingProbe(made.raw)
        #expect(probe.register(11, nil, count: 1000)?.rawValue == EINVAL)
        // EBADFD
        #expect(probe.enter(submitting: 0)?.rawValue == 77)
        // IORING_REGISTER_ENABLE_RINGS
        try systemCall("io_uring_register", Int(SYS_io_uring_register), Int(made.raw), 12)
        #expect(probe.enter(submitting: 0) == nil)
        #expect(probe.register(11, nil, count: 1000)?.rawValue == 77)
        try RingMemory(of: made.raw, parameters).advance(to: 3, unread: 0)
    }

    /// What the plan says to a ring whose image was changed.
    private func plan(
        after count: UInt32 = 20, unread: UInt32 = 3, mappedAt place: UInt64? = nil, held: Bool = true,
        times: UInt32 = 1, entries: UInt32 = 4, sharing: Bool = false, _ policy: RestorePolicy = policy,
        _ change: (inout [UInt8], RingParameters) -> Void = { _, _ in }
    ) throws -> String {
        let copy = try ImageCopy()
        var image = try Ring(after: count, unread: unread, entries: entries).image
        let parameters = try #require(RingParameters(image.prefix(RingParameters.byteCount)))
        change(&image, parameters)
        let name = IORing.fileName(4000)
        try copy.put(name, image)
        for id in 4001..<4000 + max(times, 1) {
            try #require(link("\(copy.path)/\(name)", "\(copy.path)/\(IORing.fileName(id))") == 0)
        }
        try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
            for id in 4000..<4000 + times {
                var entry = FileEntry.with { ($0.type, $0.id) = (.reg, id) }
                entry.reg = RegFileEntry.with {
                    ($0.id, $0.flags, $0.pos, $0.fown, $0.name) = (id, 2, 0, .none, IORing.name)
                }
                files.append(entry)
            }
        }
        if let place {
            try copy.edit("mm-1.img", as: MmEntry.self) { (mm: inout MmEntry) in
                var mapping = VmaEntry(guardPages: 0x10000..<0x11000)
                (mapping.status, mapping.shmid, mapping.pgoff, mapping.flags) = (1 | 1 << 7, 4000, place, 1)
                mm.vmas.insert(mapping, at: 0)
            }
        }
        if held {
            try copy.edit("fdinfo-2.img", as: FdinfoEntry.self) { (entries: inout [FdinfoEntry]) in
                entries.append(.with { ($0.id, $0.flags, $0.type, $0.fd) = (4000, 0, .reg, 900) })
            }
        }
        if sharing {
            try copy.edit("ids-6.img", as: TaskKobjIdsEntry.self) { (ids: inout TaskKobjIdsEntry) in ids.filesID = 2 }
        }
        return copy.plan([IORing.self], policy)
    }

    private static let policy = RestorePolicy(
        capabilities: .max, noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)

    @Test func countersThatCannotBe() throws {
        func word(_ word: RingParameters.Word, _ value: UInt32) throws -> String {
            try plan { image, parameters in
                let place = RingParameters.byteCount + parameters.place(of: word)
                for byte in 0..<4 { image[place + byte] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(byte))) }
            }
        }
        #expect(try plan() == "no error")
        #expect(try word(.submissionTail, .max) == "no error")
        let unsubmitted = try plan { image, parameters in
            image[8] |= 2
            image[RingParameters.byteCount + parameters.place(of: .submissionTail)] += 1
        }
        #expect(unsubmitted.contains("counters"))
        for (name, value) in [
            (.submissionHead, 21), (.completionHead, 11), (.completionHead, 21), (.completionTail, 0),
        ]
            as [(RingParameters.Word, UInt32)]
        {
            #expect(try word(name, value).contains("counters"), "\(name) \(value)")
        }
    }

    /// Of a processor only a thread of the kernel's has need.
    @Test func flags() throws {
        let answers: [(flags: UInt8, error: String)] = [
            (2, "no error"), (6, "no error"), (4, "sizes and flags"), (1, "sizes and flags"),
        ]
        for (flags, error) in answers {
            #expect(try plan { image, _ in image[8] |= flags }.contains(error))
        }
    }

    /// A restore would be busy for as long as an image likes.
    @Test func moreOperationsThanCanBeMadeUpFor() throws {
        func set(_ count: UInt32, times: UInt32 = 1) throws -> String {
            try plan(unread: 0, times: times) { image, parameters in
                for word in [.submissionHead, .completionHead, .completionTail] as [RingParameters.Word] {
                    let place = RingParameters.byteCount + parameters.place(of: word)
                    for byte in 0..<4 { image[place + byte] = UInt8(truncatingIfNeeded: count >> (8 * UInt32(byte))) }
                }
            }
        }
        #expect(try set(IORing.mostOperations) == "no error")
        #expect(try set(IORing.mostOperations + 1).contains("counters"))
        #expect(try set(IORing.mostOperations / 2, times: 2) == "no error")
        #expect(try set(IORing.mostOperations / 2 + 1, times: 2).contains("rings have done more operations"))
    }

    /// A restore would hold as much memory as an image likes.
    @Test func moreMemoryThanARestoreHolds() throws {
        let one = try Ring(after: 20, unread: 3, entries: 4096).image.count
        let fit = UInt32(IORing.mostMemory / one)
        #expect(try plan(times: fit, entries: 4096) == "no error")
        #expect(try plan(times: fit + 1, entries: 4096).contains("rings have more memory"))
    }

    @Test func whatIsNoRing() throws {
        func change(_ word: Int, to value: UInt32) throws -> String {
            try plan { image, _ in
                for byte in 0..<4 { image[word * 4 + byte] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(byte))) }
            }
        }
        // Sizes; the flag of a thread that submits; places of a counter and of the completions.
        for (word, value) in [
            (0, 3), (0, 0), (0, .max), (1, 12), (2, 2), (10, 4093), (10, .max), (25, .max), (16, .max),
        ]
            as [(Int, UInt32)]
        {
            #expect(try change(word, to: value).contains("is no io_uring"), "word \(word), \(value)")
        }
        #expect(try plan { image, _ in image.removeLast() }.contains("is no io_uring"))
        #expect(try plan { image, _ in image.removeLast(image.count - 100) }.contains("is too short"))
    }

    @Test func gaps() {
        let taken: [Range<UInt64>] = [1..<3, 5..<6, 6..<8, 20..<30]
        #expect(IORing.gaps(in: 2..<10, between: taken) == [3..<5, 8..<10])
        #expect(IORing.gaps(in: 0..<25, between: taken) == [0..<1, 3..<5, 8..<20])
        #expect(IORing.gaps(in: 21..<25, between: taken) == [])
        #expect(IORing.gaps(in: 4..<9, between: []) == [4..<9])
    }

    @Test func mappingsOfRings() throws {
        for place in IORing.places { #expect(try plan(mappedAt: place) == "no error") }
        #expect(try plan(mappedAt: 4096).contains("of a part of one"))
        #expect(try plan(mappedAt: 0x8000_0000).contains("of a part of one"))
        #expect(try plan(mappedAt: 0, held: false).contains("neither it nor a process before it"))
        // Who has its table last gets the descriptors, and that is another process.
        #expect(try plan(sharing: true) == "no error")
        #expect(try plan(mappedAt: 0, sharing: true).contains("descriptors with a process after it"))
    }

    /// An image gets no ring where config.json keeps programs from making one.
    @Test func seccompFilters() throws {
        func statement(_ code: UInt16, _ value: UInt32, then: UInt8 = 0, else other: UInt8 = 0) -> [UInt8] {
            [UInt8(code & 0xff), UInt8(code >> 8), then, other] + withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        func verdict(_ number: Int, _ action: UInt32, otherwise: UInt32) -> SeccompPolicy {
            let program =
                statement(0x20, 4) + statement(0x15, 0xc000_003e, then: 1) + statement(0x06, 0) + statement(0x20, 0)
                + statement(0x15, UInt32(number), else: 1) + statement(0x06, action) + statement(0x06, otherwise)
            return SeccompPolicy(program: program, flags: 0)
        }
        let (allow, refuse) = (UInt32(0x7fff_0000), UInt32(0x0005_0001))
        let setup = Int(SYS_io_uring_setup)
        #expect(verdict(setup, allow, otherwise: refuse).allows(call: setup))
        #expect(!verdict(setup, refuse, otherwise: allow).allows(call: setup))
        #expect(verdict(setup, refuse, otherwise: allow).allows(call: 0))
        #expect(!SeccompPolicy(program: statement(0x05, .max), flags: 0).allows(call: setup))
        #expect(!SeccompPolicy(program: statement(0x60, 0), flags: 0).allows(call: setup))
        var policy = Self.policy
        policy.seccomp = verdict(setup, allow, otherwise: refuse)
        #expect(try plan(policy) == "no error")
        policy.seccomp = verdict(setup, refuse, otherwise: allow)
        #expect(try plan(policy).contains("seccomp filter of config.json"))
    }
}
