import LinuxSystem

/// A further process of a container between clone and exec.
///
/// It holds descriptors of the host's, so it must not be traced or looked into before they are closed by the exec
/// (CVE-2016-9962): it is not dumpable before it joins the first namespace.
struct ExecInit: ~Copyable {
    let namespaces: Namespaces
    let hasUser: Bool
    /// By a process in between: the runtime tells this one when it knows it.
    let isAnnounced: Bool
    /// pidfd of the container's first process.
    let target: CInt
    let entry: CgroupEntry
    let channel: InitChannel
    let setup: ProcessSetup
    let console: Console?
    let signals: SignalMask?

    func run() -> Never {
        do {
            try setUp()
        } catch {
            try? channel.send(.failed(error.message))
        }
        _exit(255)
    }

    private func setUp() throws(RuntimeError) {
        CallingProcess.setName("stasis:exec")
        if isAnnounced { try channel.expect(.proceed, orDied: "the runtime is gone") }
        try launching { () throws(SystemError) in
            try CallingProcess.setDumpable(false)
            try system("setsid") { setsid() }
            if let cpus = setup.placement.initialCPUs { try CallingProcess.setAffinity(cpus) }
            // The container's limits hold before anything of it can happen in this process.
            try entry.join()
            if let cpus = setup.placement.finalCPUs {
                try CallingProcess.setAffinity(cpus)
            } else if setup.placement.initialCPUs == nil {
                try CallingProcess.resetAffinity()
            }
        }
        try launching { () throws(SystemError) in
            if !namespaces.isEmpty { try joinNamespaces(target, namespaces) }
            if hasUser { try becomeRootOfNamespace() }
            try console?.open(asDeviceConsole: false)
        }
        try channel.expect(.proceed, orDied: "the runtime is gone")
        try setup.prepare(channel)
        try setup.confine(channel)
        let program = try setup.findProgram()
        let environment = setup.completedEnvironment()
        signals?.restore()
        try setup.execute(program, environment: environment, channel)
    }
}
