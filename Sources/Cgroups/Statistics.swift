import LinuxSystem
import OCISpec

extension CgroupSet {
    /// What the container uses, as runc's `events` shows it: names, order and what is left out when it is 0.
    package func statistics() -> JSONText {
        switch layout {
        case .v1: LegacyStatistics(paths: paths).json
        case .v2: UnifiedStatistics(files: ControlFiles(directory: paths[""], controller: "")).json
        case .disabled: .object([])
        }
    }
}

/// The members of an object, most of which are left out when they are 0.
struct Members {
    private var members: [(String, JSONText)] = []

    var json: JSONText { .object(members) }

    mutating func add(_ name: String, _ value: UInt64?) { members.append((name, .unsigned(value ?? 0))) }
    mutating func add(_ name: String, _ value: JSONText) { members.append((name, value)) }

    mutating func addIfAny(_ name: String, _ value: UInt64?) {
        if let value, value != 0 { add(name, value) }
    }

    mutating func addIfAny(_ name: String, _ values: [JSONText]) {
        if !values.isEmpty { add(name, .array(values)) }
    }
}

extension ControlFiles {
    func number(_ file: String) -> UInt64? { read(file).flatMap { UInt64($0) } }

    /// A file of lines such as `cache 4096`.
    func table(_ file: String) -> [String: UInt64] {
        var table: [String: UInt64] = [:]
        for line in (read(file) ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, let value = UInt64(words[1]) { table[String(words[0])] = value }
        }
        return table
    }

    /// cpuset(7), list format: `0-3,7`.
    func list(_ file: String) -> [JSONText] {
        (read(file) ?? "").split(separator: ",").flatMap { range in
            let ends = range.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return [JSONText]() }
            return (first...last).map { .number($0) }
        }
    }

    /// Page sizes that the kernel counts, by their names in file names: `2MB`.
    func pageSizes(suffix: String) -> [String] {
        guard let directory, let names = try? directoryEntries(directory) else { return [] }
        return names.filter { $0.hasPrefix("hugetlb.") && $0.hasSuffix(suffix) && !$0.hasSuffix(".rsvd" + suffix) }
            .map { String($0.dropFirst("hugetlb.".count).dropLast(suffix.count)) }.sorted()
    }
}

extension [String: UInt64] {
    /// In the order of the names, as Go writes it.
    var json: JSONText { .object(sorted { $0.key < $1.key }.map { ($0.key, .unsigned($0.value)) }) }
}

/// One count of one device.
func deviceCount(_ device: Substring, op: String, _ value: UInt64) -> JSONText {
    let numbers = device.split(separator: ":").map { UInt64($0) }
    var entry = Members()
    if numbers.count == 2 {
        entry.addIfAny("major", numbers[0])
        entry.addIfAny("minor", numbers[1])
    }
    entry.add("op", .string(op))
    entry.addIfAny("value", value)
    return entry.json
}
