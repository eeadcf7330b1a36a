import Cgroups
import LinuxSystem
import OCISpec

extension Container {
    /// `update`: changes limits of a container that has not stopped, and records the new ones.
    ///
    /// What was changed before an error is put back as far as the recorded limits say it.
    package static func update(
        _ id: String, in store: StateStore, with change: Resources
    ) throws(RuntimeError) {
        let directory = try store.lock(id)
        defer { _ = directory.path }
        var container = try Container(id, in: store)
        if container.status() == .stopped { throw .notRunning }
        let configured = try store.loadConfiguration(id).linux?.resources
        let before = container.state.resources ?? configured ?? Resources()
        let after = before.updated(with: change)
        do throws(CgroupError) {
            try container.state.cgroups.update(change)
        } catch {
            try? container.state.cgroups.update(before.restricted(to: change))
            throw RuntimeError(error.description)
        }
        container.state.resources = after
        try store.save(container.state)
    }
}

/// Reads the changes that `update --resources` names: a file, or `-` for standard input.
package func readResources(_ path: String) throws(RuntimeError) -> Resources {
    do {
        let text = path == "-" ? try readAll(0, name: "standard input") : try readFile(path)
        let name = path == "-" ? "standard input" : path
        let resources = try decodeDocument(Resources.self, text, name: name)
        try resources.validate(document: name)
        return resources
    } catch let error as SystemError {
        throw RuntimeError(error.description)
    } catch {
        throw RuntimeError("\(error)")
    }
}
