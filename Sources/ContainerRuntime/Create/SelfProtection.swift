import LinuxSystem

/// Makes this process run from a file that nobody can write through it: /proc/PID/exe of a process that enters a
/// container leads to the runtime's binary, and root in there could overwrite it (CVE-2019-5736).
///
/// To be called first in every command that makes a process in a container. The process then runs from a read-only mount
/// of its file that is attached nowhere: the mappings of the file are replaced, which takes a third of the time that
/// the fallback takes, to start the program once more from there. Where no such mount can be made, it is started from a
/// sealed copy in memory.
package func protectOwnBinary() throws(RuntimeError) {
    try launching("protect own binary") { () throws(SystemError) in
        if try isProtected() { return }
        let file = (try? readOnlyMount()) ?? nil
        if let file, (try? OwnExecutable.replace(by: file)) != nil, try isProtected() {
            close(file)
            return
        }
        let protected = if let file { file } else { try sealedCopy() }
        try CallingProcess.execute(
            descriptor: protected, arguments: CommandLine.arguments, environment: currentEnvironment())
    }
}

/// What counts is what the kernel says of the running file; nothing that the caller or a container could set.
private func isProtected() throws(SystemError) -> Bool {
    var information = statvfs()
    try system("statvfs of /proc/self/exe") { statvfs("/proc/self/exe", &information) }
    if information.f_flag & UInt(ST_RDONLY) != 0 {
        // A file that is a whole mount, attached nowhere, has no name; on an attached read-only mount, which the host
        // may make writable again one day, it has.
        return try linkTarget("/proc/self/exe") == "/"
    }
    let file = try openAt(AT_FDCWD, "/proc/self/exe", O_RDONLY)
    // -1 for a file that cannot have seals.
    let seals = clinux_fcntl(file.raw, CLINUX_F_GET_SEALS, 0)
    return seals >= 0 && seals & sealed == sealed
}

private func readOnlyMount() throws(SystemError) -> CInt {
    let file = try openAt(AT_FDCWD, "/proc/self/exe", CLINUX_O_PATH)
    let mount = try cloneMount(at: file.raw)
    try changeMount(mount.raw, MountAttributeChange(set: .readOnly))
    return mount.release()
}

private func sealedCopy() throws(SystemError) -> CInt {
    let file = try openAt(AT_FDCWD, "/proc/self/exe", O_RDONLY)
    let copy = try makeMemoryFile("stasis", sealable: true)
    try copyAll(from: file.raw, to: copy.raw, name: "/proc/self/exe")
    try system("seal copy of own binary") { clinux_fcntl(copy.raw, CLINUX_F_ADD_SEALS, Int(sealed)) }
    return copy.release()
}

/// F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE.
private let sealed: CInt = 0xf
