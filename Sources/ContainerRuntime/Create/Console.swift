import LinuxSystem
import OCISpec

/// The terminal of a container's process. The caller stands in the container's root.
struct Console {
    var size: TerminalSize?
    /// What it says goes through the runtime, whose own terminal, if that is one, puts carriage returns in.
    var isForeground: Bool
    /// Where the outer end goes: to the runtime, or to whoever listens on `--console-socket`.
    var socket: CInt

    /// Makes the terminal in the container's own devpts and hands out its outer end; the inner one becomes standard
    /// input, output and error and the controlling terminal of this session.
    func open(asDeviceConsole: Bool) throws(SystemError) {
        let root = ContainerRoot(try openAt(AT_FDCWD, "/", CLINUX_O_PATH | O_DIRECTORY))
        let ptmx = try root.open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW)
        guard try filesystemMagic(of: ptmx.raw) == UInt64(DEVPTS_SUPER_MAGIC) else {
            throw SystemError(.invalidArgument, "/dev/pts is not devpts")
        }
        let terminal = try PseudoTerminal(ptmx: ptmx)
        try size?.apply(to: terminal.secondary.raw)
        if isForeground {
            try TerminalSettings(of: terminal.secondary.raw).withoutCarriageReturns().apply(to: terminal.secondary.raw)
        }
        if asDeviceConsole {
            let target = try root.makeFile("/dev/console")
            let mount = try cloneMount(at: terminal.secondary.raw)
            try attachMount(mount.raw, to: target.raw, name: "/dev/console")
        }
        try sendMessage(socket, Array("/dev/pts/ptmx".utf8), descriptors: [terminal.primary.raw])
        for number in CInt(0)...2 {
            try system("connect descriptor \(number) to terminal") { dup2(terminal.secondary.raw, number) }
        }
        try setControllingTerminal(0)
    }
}
