/// A pseudoterminal: the end that stays outside and the end that a process gets. pty(7).
@frozen public struct PseudoTerminal: ~Copyable {
    public let primary: OwnedDescriptor
    public let secondary: OwnedDescriptor

    /// - Parameter ptmx: the multiplexer of the devpts instance that the terminal shall belong to.
    ///
    /// The secondary end comes from the primary one (TIOCGPTPEER, kernel 4.13) and not from a path in /dev/pts that
    /// the container's image could have prepared.
    public init(ptmx: consuming OwnedDescriptor) throws(SystemError) {
        var unlock: CInt = 0
        let raw = ptmx.raw
        try system("unlock terminal") {
            withUnsafePointer(to: &unlock) { clinux_ioctl(raw, UInt(CLINUX_TIOCSPTLCK), UInt(bitPattern: $0)) }
        }
        // Not with O_CLOEXEC: this call leaves it in the open file's flags for good, and /proc/PID/fdinfo then shows it
        // for every descriptor.
        let peer = OwnedDescriptor(
            try system("open terminal peer") {
                clinux_ioctl(raw, UInt(CLINUX_TIOCGPTPEER), UInt(O_RDWR | O_NOCTTY))
            })
        let inner = peer.raw
        try system("set flags of terminal") { clinux_fcntl(inner, F_SETFD, Int(FD_CLOEXEC)) }
        secondary = peer
        primary = ptmx
    }

    /// The number N of its file /dev/pts/N.
    public func number() throws(SystemError) -> CInt {
        var number: CInt = 0
        let raw = primary.raw
        try system("number of terminal") {
            withUnsafeMutablePointer(to: &number) { clinux_ioctl(raw, UInt(CLINUX_TIOCGPTN), UInt(bitPattern: $0)) }
        }
        return number
    }
}

/// Rows and columns. ioctl_tty(2).
public struct TerminalSize: Sendable, Equatable {
    public var rows: UInt16
    public var columns: UInt16

    public init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }

    public init(of terminal: CInt) throws(SystemError) {
        var size = winsize()
        try system("get terminal size") {
            withUnsafeMutablePointer(to: &size) { clinux_ioctl(terminal, UInt(TIOCGWINSZ), UInt(bitPattern: $0)) }
        }
        self.init(rows: size.ws_row, columns: size.ws_col)
    }

    public func apply(to terminal: CInt) throws(SystemError) {
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        try system("set terminal size") {
            withUnsafePointer(to: &size) { clinux_ioctl(terminal, UInt(TIOCSWINSZ), UInt(bitPattern: $0)) }
        }
    }
}

/// Makes a terminal the controlling one of a session leader. ioctl_tty(2) TIOCSCTTY.
public func setControllingTerminal(_ terminal: CInt) throws(SystemError) {
    try system("set controlling terminal") { clinux_ioctl(terminal, UInt(TIOCSCTTY), 0) }
}

/// The line settings of a terminal, to be put back later. termios(3).
public struct TerminalSettings: Sendable {
    private var settings: termios

    public init(of terminal: CInt) throws(SystemError) {
        var current = termios()
        try system("get terminal settings") { tcgetattr(terminal, &current) }
        settings = current
    }

    public func apply(to terminal: CInt) throws(SystemError) {
        var settings = settings
        try system("set terminal settings") { tcsetattr(terminal, 0, &settings) }
    }

    /// Every byte that is typed goes through as it is; what is shown is treated as before. cfmakeraw(3).
    public func raw() -> TerminalSettings {
        var copy = self
        cfmakeraw(&copy.settings)
        copy.settings.c_oflag |= tcflag_t(OPOST)
        return copy
    }

    /// The end of a line stays what the program wrote.
    public func withoutCarriageReturns() -> TerminalSettings {
        var copy = self
        copy.settings.c_oflag &= ~tcflag_t(ONLCR)
        return copy
    }
}
