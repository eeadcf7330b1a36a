import LinuxSystem

/// A batch of system calls for the agent, as a value: it can be printed, compared, and run.
///
/// Calls and their data are laid out for one ``Space`` in the tracee. A call's result lands in the last word of its
/// own entry, or, with ``pass(_:to:argument:)``, in an argument of a later one, so that data flows from call to call
/// without leaving the task. Until then something lies there that no call returns: what was not made is no success.
public struct Program: Sendable, CustomStringConvertible {
    /// The part of the tracee's injected area that a program may use.
    public struct Space: Sendable {
        public var table: RemoteAddress
        public var callLimit: Int
        public var data: RemoteAddress
        public var dataLimit: Int

        public init(table: RemoteAddress, callLimit: Int, data: RemoteAddress, dataLimit: Int) {
            self.table = table
            self.callLimit = callLimit
            self.data = data
            self.dataLimit = dataLimit
        }
    }

    public struct Call: Sendable {
        public var name: String
        public var number: Int
        public var arguments: [UInt64]
        /// Results that are no failure although they lie in −4095…−1; `nil` accepts everything.
        public var tolerated: Set<CInt>?
        /// The only result that is right, for calls that may do less than they were asked to.
        public var expected: Int?
        var resultAt: RemoteAddress?
    }

    /// Names a call of this program, to read its result or pass it on.
    public struct Reference: Sendable {
        let index: Int
    }

    public let space: Space
    public private(set) var calls: [Call] = []
    public private(set) var data: [UInt8] = []

    static let entrySize = 64

    public init(_ space: Space) { self.space = space }

    public var isEmpty: Bool { calls.isEmpty }

    /// Whether `more` calls with `bytes` of data still fit.
    public func fits(calls more: Int, bytes: Int = 0) -> Bool {
        calls.count + more + Self.ends <= space.callLimit && data.count + bytes + 64 < space.dataLimit
    }

    /// Adds a system call.
    ///
    /// - Parameters:
    ///   - tolerated: errors that do not make ``Results/check()`` fail; `nil` for all.
    ///   - expected: what the call must return; `nil` for anything but an error.
    ///   - result: where its result goes instead of into its own entry.
    @discardableResult
    public mutating func call(
        _ name: String, _ number: Int, _ arguments: [UInt64] = [], tolerated: Set<CInt>? = [],
        expecting expected: Int? = nil, result: RemoteAddress? = nil
    ) -> Reference {
        precondition(calls.count < space.callLimit, "a program of more than \(space.callLimit) calls")
        calls.append(
            Call(
                name: name, number: number, arguments: arguments, tolerated: tolerated, expected: expected,
                resultAt: result))
        return Reference(index: calls.count - 1)
    }

    /// Lets `call`'s result become an argument (0…5) of `later`.
    public mutating func pass(_ call: Reference, to later: Reference, argument: Int) {
        calls[call.index].resultAt = space.table + (later.index * Self.entrySize + 8 * (argument + 1))
    }

    /// Places bytes in the tracee before the program runs. Aligned to 16 bytes.
    public mutating func place(_ bytes: [UInt8]) -> RemoteAddress {
        data.append(contentsOf: repeatElement(0, count: (16 - data.count % 16) % 16))
        let address = space.data + data.count
        data.append(contentsOf: bytes)
        precondition(data.count <= space.dataLimit, "more than \(space.dataLimit) bytes of program data")
        return address
    }

    /// Places a string with its terminating zero.
    public mutating func place(path: String) -> RemoteAddress { place(Array(path.utf8) + [0]) }

    /// Places a plain C structure, byte for byte.
    public mutating func place<T: BitwiseCopyable>(value: T) -> RemoteAddress {
        place(withUnsafeBytes(of: value) { Array($0) })
    }

    /// Room for `count` bytes that the program will write.
    public mutating func reserve(_ count: Int) -> RemoteAddress { place([UInt8](repeating: 0, count: count)) }

    /// The table as the agent reads it: per call number, six arguments, and where its result goes.
    var table: [UInt64] {
        var words: [UInt64] = []
        words.reserveCapacity(calls.count * 8)
        for (index, call) in calls.enumerated() {
            words.append(UInt64(bitPattern: Int64(call.number)))
            for slot in 0..<6 { words.append(slot < call.arguments.count ? call.arguments[slot] : 0) }
            words.append((call.resultAt ?? ownResult(index)).raw)
        }
        for call in calls {
            if let word = word(of: call.resultAt) { words[word] = Self.notMade }
        }
        return words
    }

    /// Neither a number that the kernel returns (it would be an error, or an address of its own) nor a valid argument.
    private static let notMade: UInt64 = 0x8000_0000_0000_0000

    /// The word of an entry that the agent has read when it writes the result there: the result's own address.
    private func ownResult(_ index: Int) -> RemoteAddress { space.table + (index * Self.entrySize + 56) }

    /// Where in the table a call's result lies.
    private func resultWord(_ index: Int) -> Int? { word(of: calls[index].resultAt ?? ownResult(index)) }

    /// What lies there until the call is made.
    private func preset(_ index: Int) -> UInt64 {
        calls[index].resultAt == nil ? ownResult(index).raw : Self.notMade
    }

    /// Which word of the table lies at an address.
    private func word(of address: RemoteAddress?) -> Int? {
        guard let address, address.raw >= space.table.raw else { return nil }
        let word = Int(truncatingIfNeeded: address.raw - space.table.raw) / 8
        return word < calls.count * 8 ? word : nil
    }

    public var description: String {
        calls.map { call in
            "\(call.name)(" + call.arguments.map { "0x" + String($0, radix: 16) }.joined(separator: ", ") + ")"
        }.joined(separator: "\n")
    }

    /// What the calls of a program that ran returned, and the bytes they wrote.
    public struct Results: Sendable {
        let program: Program
        let words: [UInt64]
        let task: pid_t
        var bytes: [UInt8] = []

        /// A call's result: −errno on failure. Where it was passed on to somewhere outside of the table, 0.
        public subscript(_ call: Reference) -> Int {
            guard let word = program.resultWord(call.index) else { return 0 }
            return Int(truncatingIfNeeded: words[word])
        }

        /// Throws the first failure that its call does not tolerate.
        public func check() throws(TraceeError) {
            for (index, call) in program.calls.enumerated() {
                guard let word = program.resultWord(index) else { continue }
                guard words[word] != program.preset(index) else {
                    throw .unexpected(task, "\(call.name): was not made")
                }
                let result = Int(truncatingIfNeeded: words[word])
                guard result < 0, result >= -4095, let tolerated = call.tolerated else {
                    if let expected = call.expected, result != expected {
                        throw .unexpected(task, "\(call.name): returned \(result) instead of \(expected)")
                    }
                    continue
                }
                let errno = CInt(-result)
                if !tolerated.contains(errno) {
                    throw .refused(task, call: call.name, errno: Errno(rawValue: errno))
                }
            }
        }

        /// A structure in the program's data after it ran.
        public func value<T: BitwiseCopyable>(_ address: RemoteAddress, as type: T.Type) -> T? {
            let offset = Int(truncatingIfNeeded: address.raw &- program.space.data.raw)
            guard offset >= 0, offset + MemoryLayout<T>.size <= bytes.count else { return nil }
            return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
        }
    }
}
