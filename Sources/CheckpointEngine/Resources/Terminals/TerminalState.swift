import CheckpointImages
import LinuxSystem

/// struct termios2 of the kernel: modes 4 x 4, line 1, characters 19, speeds 2 x 4. ioctl_tty(2).
struct TerminalState {
    private static let characters = 17..<36
    private var bytes = [UInt8](repeating: 0, count: 44)

    /// - Parameter isLocked: whether it is about what nobody may change, for which the kernel has no speeds.
    init(of terminal: CInt, locked isLocked: Bool = false) throws {
        // TIOCGLCKTRMIOS, TCGETS2
        let request: UInt = isLocked ? 0x5456 : 0x802c_542a
        try system("settings of terminal") {
            bytes.withUnsafeMutableBytes { clinux_ioctl(terminal, request, UInt(bitPattern: $0.baseAddress)) }
        }
    }

    init(_ entry: TermiosEntry) {
        set(entry.cIflag, at: 0)
        set(entry.cOflag, at: 4)
        set(entry.cCflag, at: 8)
        set(entry.cLflag, at: 12)
        bytes[16] = UInt8(truncatingIfNeeded: entry.cLine)
        for (place, value) in zip(Self.characters, entry.cCc) { bytes[place] = UInt8(truncatingIfNeeded: value) }
        set(entry.cIspeed, at: 36)
        set(entry.cOspeed, at: 40)
    }

    var entry: TermiosEntry {
        .with {
            $0.cIflag = word(0)
            $0.cOflag = word(4)
            $0.cCflag = word(8)
            $0.cLflag = word(12)
            $0.cLine = UInt32(bytes[16])
            $0.cIspeed = word(36)
            $0.cOspeed = word(40)
            $0.cCc = bytes[Self.characters].map { UInt32($0) }
        }
    }

    var isEmpty: Bool { bytes.allSatisfy { $0 == 0 } }

    func apply(to terminal: CInt, locked isLocked: Bool = false) throws {
        // TIOCSLCKTRMIOS, TCSETS2
        let request: UInt = isLocked ? 0x5457 : 0x402c_542b
        try system("set settings of terminal") {
            bytes.withUnsafeBytes { clinux_ioctl(terminal, request, UInt(bitPattern: $0.baseAddress)) }
        }
    }

    /// Whether only those with CAP_SYS_ADMIN may open the end of which this is a descriptor. TIOCGEXCL
    static func isExclusive(_ terminal: CInt) throws -> Bool {
        var value: CInt = 0
        try system("exclusiveness of terminal") {
            withUnsafeMutablePointer(to: &value) { clinux_ioctl(terminal, 0x8004_5440, UInt(bitPattern: $0)) }
        }
        return value != 0
    }

    /// Fails if something was typed that nobody has read. poll(2) does not tell of less than VMIN bytes, as FIONREAD does.
    ///
    /// - Parameter terminal: an inner end. One whose outer end is closed has nothing to tell.
    static func refuseInput(of terminal: CInt, _ name: String) throws {
        var count: CInt = 0
        let told: CInt? = try? system("input of terminal") {
            withUnsafeMutablePointer(to: &count) { clinux_ioctl(terminal, 0x541b, UInt(bitPattern: $0)) }
        }
        guard told != nil, count > 0 else { return }
        throw CheckpointError(
            passing: "\(name): \(count) bytes that were typed into the terminal wait to be read; it cannot be "
                + "checkpointed yet")
    }

    /// TIOCEXCL
    static func makeExclusive(_ terminal: CInt) throws {
        try system("make terminal exclusive") { clinux_ioctl(terminal, 0x540c, 0) }
    }

    private func word(_ offset: Int) -> UInt32 {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    }

    private mutating func set(_ word: UInt32, at offset: Int) {
        for byte in 0..<4 { bytes[offset + byte] = UInt8(truncatingIfNeeded: word >> (8 * byte)) }
    }
}

extension TtyInfoEntry {
    /// CRIU's images have an empty lock for every terminal.
    private var locksSettings: Bool { hasTermiosLocked && !TerminalState(termiosLocked).isEmpty }

    /// Fails on what config.json does not let a program do: to lock settings takes CAP_SYS_ADMIN.
    func check(_ policy: RestorePolicy) throws {
        guard !locksSettings || policy.capabilities & 1 << 21 != 0 else {
            throw CheckpointError(
                "tty-info.img: terminal \(id) has locked settings, and config.json does not grant CAP_SYS_ADMIN")
        }
    }

    /// Settings, locks and size, by either end.
    func applySettings(to terminal: CInt) throws {
        if hasTermios { try TerminalState(termios).apply(to: terminal) }
        if locksSettings { try TerminalState(termiosLocked).apply(to: terminal, locked: true) }
        guard hasWinsize else { return }
        let size = TerminalSize(rows: UInt16(clamping: winsize.wsRow), columns: UInt16(clamping: winsize.wsCol))
        try size.apply(to: terminal)
    }

    /// What either end of a pseudoterminal tells of it. Number, device, session and group are for the caller to fill in.
    init(of terminal: CInt, index: UInt32, owner: stat) throws {
        let size = try TerminalSize(of: terminal)
        self.init()
        type = .pty
        locked = false
        exclusive = try TerminalState.isExclusive(terminal)
        packetMode = false
        termios = try TerminalState(of: terminal).entry
        let locks = try TerminalState(of: terminal, locked: true)
        if !locks.isEmpty { termiosLocked = locks.entry }
        winsize = .with {
            $0.wsRow = UInt32(size.rows)
            $0.wsCol = UInt32(size.columns)
            $0.wsXpixel = 0
            $0.wsYpixel = 0
        }
        pty = .with { $0.index = index }
        uid = owner.st_uid
        gid = owner.st_gid
    }
}
