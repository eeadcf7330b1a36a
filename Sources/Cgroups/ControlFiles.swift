import LinuxSystem
import OCISpec

/// Values to write into one cgroup directory, each with the field of config.json that asked for it.
struct ControlFiles {
    var directory: String?
    var controller: String

    /// Writes a limit. Without the controller, or without the file, that is an error which names the field.
    func set(_ file: String, _ value: String, field: String) throws(CgroupError) {
        guard let directory else { throw .missing(controller, for: field) }
        do throws(SystemError) {
            try writeControl("\(directory)/\(file)", value)
        } catch {
            if error.errno == .noSuchFileOrDirectory { throw .missing(controller, file, for: field) }
            throw CgroupError("linux.resources.\(field): \(error)")
        }
    }

    func has(_ file: String) -> Bool {
        guard let directory else { return false }
        return (try? status("\(directory)/\(file)")) != nil
    }

    /// nil where there is no such file, or nothing to be read.
    func read(_ file: String) -> String? {
        guard let directory else { return nil }
        return (try? readText("\(directory)/\(file)"))?.trimmed
    }

    func set<Value: BinaryInteger>(_ file: String, _ value: Value?, field: String) throws(CgroupError) {
        if let value { try set(file, String(value), field: field) }
    }
}
