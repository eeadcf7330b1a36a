import LinuxSystem

/// A cgroup that could not be made, limited or emptied.
package struct CgroupError: Error, CustomStringConvertible, Sendable {
    package var description: String

    package init(_ description: String) { self.description = description }

    init(_ error: SystemError) { self.init(error.description) }

    /// `checkBeforeUpdate` found that a limit would make the kernel kill.
    static func inUse(_ usage: Int64, limit: Int64) -> CgroupError {
        CgroupError("linux.resources.memory.limit: \(limit) is below the present usage of \(usage)")
    }

    /// The configuration asks for a limit that nothing here can enforce.
    ///
    /// - Parameter file: what the controller's cgroup lacks, if there is one.
    static func missing(_ controller: String, _ file: String? = nil, for field: String) -> CgroupError {
        let what = file.map { "\($0) of the \(controller) controller" } ?? "\(controller) controller"
        return CgroupError("linux.resources.\(field): no \(what) in this machine's cgroup hierarchy")
    }
}

extension Errno {
    /// ENOENT for a removed cgroup's path, ENODEV for a file of it that was still open.
    var meansRemoved: Bool { self == .noSuchFileOrDirectory || self == .operationNotSupportedByDevice }
}
