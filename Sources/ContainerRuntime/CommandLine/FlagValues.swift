/// The flags and arguments of a command, understood.
package struct FlagValues: Equatable, Sendable {
    private struct Entry: Equatable, Sendable {
        var name: String
        var kind: CommandFlag.Kind
        var value: String
    }

    private var entries: [Entry] = []
    package var arguments: [String] = []

    init() {}

    mutating func add(_ value: String, for flag: CommandFlag) {
        if flag.kind != .list { entries.removeAll { $0.name == flag.name } }
        entries.append(Entry(name: flag.name, kind: flag.kind, value: value))
    }

    package func isOn(_ name: String) -> Bool { self[name] == "true" }

    /// The last value given; nil for a flag that is missing or, as some clients pass it, empty.
    package subscript(name: String) -> String? {
        entries.last { $0.name == name && !$0.value.isEmpty }?.value
    }

    package func list(_ name: String) -> [String] { entries.filter { $0.name == name }.map(\.value) }

    package func number(_ name: String) -> CInt? { self[name].flatMap { CInt($0) } }

    /// In the one spelling that every parser of options reads alike: `--name` if it is on, `--name=value`, then `--`
    /// and the arguments.
    package var words: [String] {
        var words: [String] = []
        for entry in entries {
            if entry.kind != .toggle {
                words.append("--\(entry.name)=\(entry.value)")
            } else if entry.value == "true" {
                words.append("--\(entry.name)")
            }
        }
        return words + ["--"] + arguments
    }
}
