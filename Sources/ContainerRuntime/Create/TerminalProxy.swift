import LinuxSystem

/// Copies between the runtime's own standard streams and the outer end of a container's terminal.
final class TerminalProxy {
    private let terminal: OwnedDescriptor
    private let settings: TerminalSettings?
    private var inputIsOpen = true
    private var outputIsOpen = true
    /// Typed, and not yet taken by the terminal.
    private var pending: [UInt8] = []

    /// Puts the caller's terminal, if its input is one, into raw mode until this goes away.
    init(_ terminal: consuming OwnedDescriptor) throws(SystemError) {
        settings = isatty(0) == 1 ? try TerminalSettings(of: 0) : nil
        _ = clinux_fcntl(terminal.raw, F_SETFL, Int(O_RDWR | O_NONBLOCK))
        self.terminal = terminal
        try settings?.raw().apply(to: 0)
        resize()
    }

    deinit { try? settings?.apply(to: 0) }

    /// The container's terminal takes on the size of the caller's.
    func resize() {
        if settings != nil, let size = try? TerminalSize(of: 0) { try? size.apply(to: terminal.raw) }
    }

    /// What to wait for: the terminal, and the input while there is room for it.
    var interests: [pollfd] {
        let wanted = Int16(POLLIN) | (pending.isEmpty ? 0 : Int16(POLLOUT))
        return [
            pollfd(fd: outputIsOpen ? terminal.raw : -1, events: wanted, revents: 0),
            pollfd(fd: inputIsOpen && pending.isEmpty ? 0 : -1, events: Int16(POLLIN), revents: 0),
        ]
    }

    func serve(_ polls: ArraySlice<pollfd>) {
        let (outer, input) = (polls[polls.startIndex], polls[polls.startIndex + 1])
        if outer.revents != 0 { copyOutput() }
        if input.revents != 0 {
            pending = Self.read(0) ?? []
            inputIsOpen = !pending.isEmpty
        }
        flushInput()
    }

    /// What the process wrote before it ended.
    func drain() {
        while outputIsOpen, copyOutput() {}
    }

    @discardableResult private func copyOutput() -> Bool {
        guard let bytes = Self.read(terminal.raw) else { return false }
        // Every holder of the inner end is gone.
        if bytes.isEmpty {
            outputIsOpen = false
            return false
        }
        try? writeAll(1, bytes)
        return true
    }

    private func flushInput() {
        guard !pending.isEmpty else { return }
        let count = pending.withUnsafeBytes { write(terminal.raw, $0.baseAddress, $0.count) }
        if count > 0 { pending.removeFirst(count) }
    }

    /// Nil when there is nothing for now, empty at the end.
    private static func read(_ descriptor: CInt) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        let count = LinuxSystem.read(descriptor, &buffer, buffer.count)
        if count < 0 { return [.wouldBlock, .interrupted].contains(Errno.current) ? nil : [] }
        return Array(buffer[..<count])
    }
}
