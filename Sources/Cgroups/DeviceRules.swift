import OCISpec

/// The device rules of a container, reduced to what is allowed or denied in the end.
///
/// Rules of config.json apply in order; a rule for all devices forgets the ones before it.
struct DeviceRules: Equatable, Sendable {
    enum Kind: String, Sendable { case character = "c", block = "b" }

    struct Access: OptionSet, Sendable {
        let rawValue: UInt8
        static let read = Access(rawValue: 1)
        static let write = Access(rawValue: 2)
        static let mknod = Access(rawValue: 4)
        static let all: Access = [.read, .write, .mknod]

        var letters: String {
            (contains(.read) ? "r" : "") + (contains(.write) ? "w" : "") + (contains(.mknod) ? "m" : "")
        }
    }

    struct Rule: Equatable, Sendable {
        var kind: Kind
        /// nil is any.
        var major: Int64?
        var minor: Int64?
        var access: Access

        /// A line of `devices.allow` and `devices.deny`.
        var line: String {
            "\(kind.rawValue) \(major.map(String.init) ?? "*"):\(minor.map(String.init) ?? "*") \(access.letters)"
        }

        func isSameDevice(as other: Rule) -> Bool {
            kind == other.kind && major == other.major && minor == other.minor
        }
    }

    var allowsByDefault = false
    /// What differs from the default.
    var exceptions: [Rule] = []

    /// Everything is denied, but for what the configuration allows and what every container may use.
    init(_ configured: [DeviceCgroup]) throws(CgroupError) {
        for (index, rule) in configured.enumerated() {
            try add(rule, field: "linux.resources.devices[\(index)]")
        }
        for rule in Self.everyContainers { add(rule, allow: true) }
    }

    private mutating func add(_ rule: DeviceCgroup, field: String) throws(CgroupError) {
        var access: Access = []
        for letter in rule.access ?? "" {
            switch letter {
            case "r": access.insert(.read)
            case "w": access.insert(.write)
            case "m": access.insert(.mknod)
            default: throw CgroupError("\(field).access: unknown letter \"\(letter)\"")
            }
        }
        let major = rule.major.flatMap { $0 < 0 ? nil : $0 }
        let minor = rule.minor.flatMap { $0 < 0 ? nil : $0 }
        switch rule.type ?? "a" {
        case "a", "":
            // The kernel knows "all devices" only as a whole.
            self.allowsByDefault = rule.allow
            exceptions = []
        case "c", "u": add(Rule(kind: .character, major: major, minor: minor, access: access), allow: rule.allow)
        case "b": add(Rule(kind: .block, major: major, minor: minor, access: access), allow: rule.allow)
        case let other: throw CgroupError("\(field).type: unknown value \"\(other)\"")
        }
    }

    private mutating func add(_ rule: Rule, allow: Bool) {
        let index = exceptions.firstIndex { $0.isSameDevice(as: rule) }
        if allow == allowsByDefault {
            guard let index else { return }
            exceptions[index].access.subtract(rule.access)
            if exceptions[index].access.isEmpty { exceptions.remove(at: index) }
        } else if let index {
            exceptions[index].access.formUnion(rule.access)
        } else if !rule.access.isEmpty {
            exceptions.append(rule)
        }
    }

    /// runc's list: any device may be made, and null, zero, full, random, urandom, tty, ptmx, ptys and tun be used.
    static let everyContainers: [Rule] = [
        Rule(kind: .character, access: .mknod),
        Rule(kind: .block, access: .mknod),
        Rule(kind: .character, major: 1, minor: 3, access: .all),
        Rule(kind: .character, major: 1, minor: 8, access: .all),
        Rule(kind: .character, major: 1, minor: 7, access: .all),
        Rule(kind: .character, major: 5, minor: 0, access: .all),
        Rule(kind: .character, major: 1, minor: 5, access: .all),
        Rule(kind: .character, major: 1, minor: 9, access: .all),
        Rule(kind: .character, major: 136, access: .all),
        Rule(kind: .character, major: 5, minor: 2, access: .all),
        Rule(kind: .character, major: 10, minor: 200, access: .all),
    ]
}
