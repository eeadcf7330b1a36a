/// What `state` prints and hooks read on their standard input. runtime-spec runtime.md, "State"; `rootfs`, `created`
/// and `owner` are runc's.
package struct State: Equatable, Sendable {
    package var ociVersion: String
    package var id: String
    package var status: String
    /// 0 when stopped. nil leaves it out, as hooks expect of a container that has none.
    package var pid: Int32?
    package var bundle: String
    package var rootfs: String?
    package var created: String?
    package var annotations: [String: String] = [:]
    package var owner: String?

    package init(ociVersion: String, id: String, status: String, pid: Int32?, bundle: String) {
        self.ociVersion = ociVersion
        self.id = id
        self.status = status
        self.pid = pid
        self.bundle = bundle
    }

    /// The members in runc's order.
    package var json: JSONText {
        var members: [(String, JSONText)] = [
            ("ociVersion", .string(ociVersion)), ("id", .string(id)),
        ]
        if let pid { members.append(("pid", .number(Int(pid)))) }
        members += [("status", .string(status)), ("bundle", .string(bundle))]
        if let rootfs { members.append(("rootfs", .string(rootfs))) }
        if let created { members.append(("created", .string(created))) }
        if !annotations.isEmpty {
            let sorted = annotations.sorted { $0.key < $1.key }
            members.append(("annotations", .object(sorted.map { ($0.key, .string($0.value)) })))
        }
        if let owner { members.append(("owner", .string(owner))) }
        return .object(members)
    }
}
