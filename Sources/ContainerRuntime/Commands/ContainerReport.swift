import LinuxSystem
import OCISpec

extension Container {
    /// The container as `state` and `list` describe it.
    package func report() -> State {
        let status = status()
        var report = State(
            ociVersion: state.ociVersion, id: id, status: status.rawValue,
            pid: status == .stopped ? 0 : state.initPid,
            bundle: state.bundle)
        report.rootfs = state.rootfs
        report.created = state.created
        report.annotations = state.annotations
        report.owner = ""
        return report
    }
}

/// What `list` prints.
package struct ContainerList: Sendable {
    package enum Format: String, Sendable { case table, json }

    private let reports: [State]

    package init(_ store: StateStore) throws(RuntimeError) {
        let users = UserNames()
        reports = try store.list().map { state in
            var report = Container(state, in: store).report()
            report.owner = (try? status(store.path(state.id))).map { users.name($0.st_uid) } ?? ""
            return report
        }
    }

    package var ids: String { reports.map { $0.id + "\n" }.joined() }

    package func text(_ format: Format) -> String {
        switch format {
        // As Go encodes a list that was never made.
        case .json: reports.isEmpty ? "null" : JSONText.array(reports.map(\.json)).text()
        case .table: table
        }
    }

    private var table: String {
        let rows = reports.map {
            [$0.id, String($0.pid ?? 0), $0.status, $0.bundle, $0.created ?? "", $0.owner ?? ""]
        }
        return aligned([["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]] + rows)
    }
}

/// Columns as Go's tabwriter sets them for runc: at least 12 wide, 3 apart, the last one ragged.
func aligned(_ rows: [[String]]) -> String {
    guard let columns = rows.first?.count else { return "" }
    let widths = (0..<columns).map { column in max(12, (rows.map { $0[column].count }.max() ?? 0) + 3)
    }
    return rows.map { row in
        let padded = row.enumerated().map { column, text in
            column == columns - 1
                ? text : text + String(repeating: " ", count: widths[column] - text.count)
        }
        return padded.joined() + "\n"
    }.joined()
}

/// User names from `/etc/passwd` alone: a static program cannot ask the name service.
private struct UserNames {
    private var names: [UInt32: String] = [:]

    init() {
        for line in ((try? readText("/etc/passwd")) ?? "").split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count > 2, let id = UInt32(fields[2]), names[id] == nil else { continue }
            names[id] = String(fields[0])
        }
    }

    func name(_ id: UInt32) -> String { names[id] ?? "#\(id)" }
}
