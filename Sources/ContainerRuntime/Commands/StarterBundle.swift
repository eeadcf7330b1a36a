import LinuxSystem
import OCISpec

/// Writes the config.json of a new bundle, as `spec` does.
package func writeStarterBundle(in bundle: String, rootless: Bool) throws(RuntimeError) {
    let path = "\(bundle)/config.json"
    let isUnified = (try? status("/sys/fs/cgroup/cgroup.controllers")) != nil
    let text =
        rootless
        ? Spec.rootlessStarterText(uid: geteuid(), gid: getegid(), cgroup: isUnified)
        : Spec.starterText(cgroup: isUnified)
    do throws(SystemError) {
        let file = try openAt(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o666)
        try writeAll(file.raw, Array(text.utf8), name: path)
    } catch {
        if error.errno == .fileExists { throw RuntimeError("File config.json exists. Remove it first") }
        throw RuntimeError(error.description)
    }
}
