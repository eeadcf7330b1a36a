import LinuxSystem

package struct RunOptions: Sendable {
    package var detach = false
    /// Leave the stopped container for `delete`.
    package var keep = false
    package var noSubreaper = false

    package init() {}
}

/// `run`: create and start in one, and in the foreground wait for the end and delete.
///
/// - Returns: the exit code of the container's process, 0 when detached.
package func runContainer(_ request: CreateRequest, _ options: RunOptions) throws(RuntimeError) -> CInt {
    var request = request
    request.firstProcess = .commandAtOnce
    let hasTerminal = request.spec.process?.terminal == true
    try checkConsole(hasTerminal: hasTerminal, socket: request.consoleSocket, detach: options.detach)
    if !options.detach {
        request.signals = SignalMask.blockAll()
        if !options.noSubreaper { try launching { () throws(SystemError) in try CallingProcess.setSubreaper(true) } }
    }
    var staged = try createContainer(request)
    do throws(RuntimeError) {
        try staged.publish()
        try staged.launch()
        try staged.runHooks(request.spec.hooks?.poststart ?? [])
    } catch {
        throw staged.abandon(because: error)
    }
    let started = staged.settle()
    if options.detach {
        try launching { () throws(SystemError) in try started.waitUntilReady() }
        return 0
    }
    let code = try launching { () throws(SystemError) in
        try AttachedSession(
            pid: started.pid, pidfd: started.pidfd.raw, terminal: started.terminal, relay: started.relay
        ).run()
    }
    if !options.keep {
        try Container(started.state, in: StateStore(root: request.stateRoot))
            .destroy(thenRun: request.spec.hooks?.poststop ?? [])
    }
    return code
}

/// What runc says of terminals that nobody could ever use.
package func checkConsole(hasTerminal: Bool, socket: String?, detach: Bool) throws(RuntimeError) {
    let hasSocket = socket?.isEmpty == false
    if detach && hasTerminal && !hasSocket {
        throw RuntimeError("cannot allocate tty if stasis will detach without setting console socket")
    }
    if hasSocket && (!detach || !hasTerminal) {
        throw RuntimeError("cannot use console socket if stasis will not detach or allocate tty")
    }
}
