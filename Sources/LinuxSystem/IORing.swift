/// struct io_uring_params, as io_uring_setup(2) answers: what a ring is, and where it has what.
public struct RingParameters: Equatable, Sendable {
    public struct Flags: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// A thread of the kernel's submits what the program puts there. Linux 5.11 without a capability.
        public static let polled = Flags(rawValue: 1 << 1)
        /// That thread stays on ``processor``.
        public static let bound = Flags(rawValue: 1 << 2)
        /// The sizes of both queues are asked for.
        public static let completionSize = Flags(rawValue: 1 << 3)
        /// What is wrong with one entry does not keep those behind it from being submitted. Linux 5.18.
        public static let submitAll = Flags(rawValue: 1 << 7)
        /// Entries are submitted in the order in which they lie there. Linux 6.6.
        public static let noArray = Flags(rawValue: 1 << 16)
    }

    /// A counter, or another word of the ring's own.
    public enum Word: Int, CaseIterable, Sendable {
        case submissionHead = 10
        case submissionTail = 11
        case submissionFlags = 14
        case dropped = 15
        case completionHead = 20
        case completionTail = 21
        case overflow = 24
        case completionFlags = 26
    }

    public static let byteCount = 120
    private var words: [UInt32]

    /// To ask for a ring of these sizes.
    public init(submissions: UInt32, completions: UInt32, flags: Flags) {
        words = Array(repeating: 0, count: Self.byteCount / 4)
        words[0] = submissions
        words[1] = completions
        words[2] = flags.union(.completionSize).rawValue
    }

    /// Bytes of ``byteCount``.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        let bytes = Array(bytes)
        words = stride(from: 0, to: bytes.count, by: 4).compactMap { bytes.integer(UInt32.self, at: $0) }
    }

    public var bytes: [UInt8] { [UInt8](integers: words) }

    public var submissions: UInt32 { words[0] }
    public var completions: UInt32 { words[1] }
    public var flags: Flags {
        get { Flags(rawValue: words[2]) }
        set { words[2] = newValue.rawValue }
    }
    /// Of ``Flags/bound``.
    public var processor: UInt32 {
        get { words[3] }
        set { words[3] = newValue }
    }
    /// After how many milliseconds without work the thread of a polled ring sleeps; one second for 0.
    public var idleTime: UInt32 {
        get { words[4] }
        set { words[4] = newValue }
    }
    public var features: UInt32 { words[5] }

    /// Those of a ring that has everything in the same places, but no thread.
    public var unpolled: RingParameters {
        var parameters = self
        parameters.flags.subtract([.polled, .bound])
        return parameters
    }

    /// Where it lies in the ring.
    public func place(of word: Word) -> Int { Int(words[word.rawValue]) }
    /// Of the completions, 16 bytes each.
    public var completionPlace: Int { Int(words[25]) }
    /// Of the numbers of entries that are submitted, four bytes each.
    public var arrayPlace: Int? { flags.contains(.noArray) ? nil : Int(words[16]) }

    /// How much memory the ring has, and its entries of 64 bytes beside it.
    public var ringSize: Int {
        let ends = [completionPlace + Int(completions) * 16, (arrayPlace ?? 0) + Int(submissions) * 4]
        return Self.wholePages(ends.reduce(0, max))
    }
    public var entriesSize: Int { Self.wholePages(Int(submissions) * 64) }

    private static func wholePages(_ bytes: Int) -> Int { (bytes + 4095) & ~4095 }

    /// Whether a ring has what another one had, in the same places.
    public func stands(for other: RingParameters) -> Bool {
        features & other.features == other.features && flags == other.flags && words[..<2] == other.words[..<2]
            && words[10...] == other.words[10...]
    }

    /// Makes a ring. io_uring_setup(2), Linux 5.1.
    public mutating func make() throws(SystemError) -> OwnedDescriptor {
        let count = Int(submissions)
        let (made, error) = words.withUnsafeMutableBytes {
            let made = clinux_syscall(
                Int(SYS_io_uring_setup), count, Int(bitPattern: $0.baseAddress), 0, 0, 0, 0)
            return (made, Errno.current)
        }
        guard made >= 0 else { throw SystemError(error, "io_uring_setup") }
        return OwnedDescriptor(CInt(made))
    }
}

/// What a ring shares with programs, mapped here: io_uring(7).
public struct RingMemory: ~Copyable {
    private let ring: UnsafeMutableRawBufferPointer
    private let entries: UnsafeMutableRawBufferPointer
    private let descriptor: CInt
    public let parameters: RingParameters

    /// - Parameter descriptor: stays the caller's.
    public init(of descriptor: CInt, _ parameters: RingParameters) throws(SystemError) {
        let ring = try Self.map(descriptor, at: 0, parameters.ringSize)
        let entries: UnsafeMutableRawBufferPointer
        do throws(SystemError) {
            entries = try Self.map(descriptor, at: 0x1000_0000, parameters.entriesSize)
        } catch {
            munmap(ring.baseAddress, ring.count)
            throw error
        }
        (self.ring, self.entries) = (ring, entries)
        self.descriptor = descriptor
        self.parameters = parameters
    }

    deinit {
        munmap(ring.baseAddress, ring.count)
        munmap(entries.baseAddress, entries.count)
    }

    private static func map(
        _ descriptor: CInt, at offset: off_t, _ size: Int
    ) throws(SystemError) -> UnsafeMutableRawBufferPointer {
        let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, offset)
        guard let address, Int(bitPattern: address) != -1 else { throw SystemError(.current, "map an io_uring") }
        return UnsafeMutableRawBufferPointer(start: address, count: size)
    }

    public subscript(word: RingParameters.Word) -> UInt32 {
        get { ring.load(fromByteOffset: parameters.place(of: word), as: UInt32.self) }
        nonmutating set { ring.storeBytes(of: newValue, toByteOffset: parameters.place(of: word), as: UInt32.self) }
    }

    /// Everything: the ring, then the entries.
    public var bytes: [UInt8] { Array(ring) + Array(entries) }

    /// Puts the completions, the array and the entries of another ring's ``bytes`` here; the counters stay.
    public func fill(from bytes: [UInt8]) {
        var ranges = [parameters.completionPlace..<parameters.completionPlace + Int(parameters.completions) * 16]
        if let array = parameters.arrayPlace { ranges.append(array..<array + Int(parameters.submissions) * 4) }
        for range in ranges { UnsafeMutableRawBufferPointer(rebasing: ring[range]).copyBytes(from: bytes[range]) }
        entries.copyBytes(from: bytes[ring.count..<ring.count + entries.count])
    }

    /// Brings the counters of a new ring to where another's are: by doing nothing (IORING_OP_NOP, the operation of empty
    /// entries) so many times. That is the only way, for the kernel believes no counters but its own.
    ///
    /// - Parameters:
    ///   - unread: how many completions are left, which are all in the right places.
    ///   - isPolled: whether a thread of the kernel's submits, which is woken and waited for.
    public func advance(to count: UInt32, unread: UInt32, isPolled: Bool = false) throws(SystemError) {
        if let array = parameters.arrayPlace {
            for entry in 0..<parameters.submissions {
                ring.storeBytes(of: entry, toByteOffset: array + Int(entry) * 4, as: UInt32.self)
            }
        }
        var done: UInt32 = 0
        while done < count {
            // The kernel must not believe for a moment that there is more room for completions than there will be.
            let read = min(done, count - unread)
            self[.completionHead] = read
            let batch = min(count - done, parameters.submissions, parameters.completions - (done - read))
            self[.submissionTail] = done + batch
            done += batch
            // IORING_ENTER_GETEVENTS and IORING_ENTER_SQ_WAKEUP
            let (waited, flags) = isPolled ? (Int(done - read), 0x3) : (0, 0)
            let taken = try systemCall(
                "io_uring_enter", Int(SYS_io_uring_enter), Int(descriptor), Int(batch), waited, flags)
            guard taken == Int(batch), self[.completionTail] == done else {
                throw SystemError(.ioError, "advance an io_uring to \(done)")
            }
        }
        self[.completionHead] = count - unread
    }

    /// What /proc tells of the ring while it seems to have an entry that is not submitted, and a completion that is not read:
    /// only then their formats are told. Whoever uses the ring must stand still. The two counters are back even if this
    /// process is killed meanwhile.
    public func describe() throws -> String {
        let file = try openAt(AT_FDCWD, "/proc/self/fdinfo/\(descriptor)", O_RDONLY)
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
        defer { room.deallocate() }
        let (raw, address, count) = (file.raw, room.baseAddress, room.count)
        let heads: [RingParameters.Word] = [.submissionHead, .completionHead]
        let places = heads.map { ring.baseAddress?.advanced(by: parameters.place(of: $0)) }
        let (submission, completion) = (places[0], places[1])
        let (wasSubmission, wasCompletion) = (self[.submissionHead], self[.completionHead])
        let (oneSubmission, oneCompletion) = (self[.submissionTail] &- 1, self[.completionTail] &- 1)
        var length = 0
        try withUnsafeMutablePointer(to: &length) { length in
            nonisolated(unsafe) let length = length
            try uninterrupted { _ in
                submission?.storeBytes(of: oneSubmission, as: UInt32.self)
                completion?.storeBytes(of: oneCompletion, as: UInt32.self)
                length.pointee = pread(raw, address, count, 0)
                submission?.storeBytes(of: wasSubmission, as: UInt32.self)
                completion?.storeBytes(of: wasCompletion, as: UInt32.self)
            }
        }
        guard length > 0 else { throw SystemError(.ioError, "read what /proc tells of an io_uring") }
        return String(decoding: room[..<length], as: UTF8.self)
    }
}

/// Calls whose errors tell what a ring is. The caller sees to it that they fail, or do nothing where they succeed: the
/// kernel checks few arguments of some, and a ring that is not enabled takes restrictions.
public struct RingProbe {
    let ring: CInt
    public init(_ ring: CInt) { self.ring = ring }

    /// io_uring_register(2).
    ///
    /// - Parameter words: what its argument points at; `nil` for an address where nothing is.
    public func register(_ operation: Int, _ words: [Int32]?, count: Int) -> Errno? {
        var words = words
        let result = words?.withUnsafeMutableBytes { call(operation, Int(bitPattern: $0.baseAddress), count) }
        return result ?? call(operation, 1, count)
    }

    private func call(_ operation: Int, _ address: Int, _ count: Int) -> Errno? {
        let result = clinux_syscall(Int(SYS_io_uring_register), Int(ring), operation, address, count, 0, 0)
        return result < 0 ? .current : nil
    }

    /// io_uring_enter(2) that waits for nothing, with a time-out at an address where nothing is.
    public func enter(submitting count: Int, flags: Int = 0) -> Errno? {
        // struct io_uring_getevents_arg
        var argument = (UInt64(0), UInt32(8), UInt32(0), UInt64(1))
        let result = withUnsafeMutableBytes(of: &argument) {
            clinux_syscall(
                Int(SYS_io_uring_enter), Int(ring), count, 0, flags, Int(bitPattern: $0.baseAddress), $0.count)
        }
        return result < 0 ? .current : nil
    }
}
