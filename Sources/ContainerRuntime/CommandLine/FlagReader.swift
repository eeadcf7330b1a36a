/// Reads words by the rules of Go's flag package.
struct FlagReader {
    enum Stop: Equatable {
        case flag, help, version
        case argument(String)
    }

    let flags: [CommandFlag]
    var words: ArraySlice<String>
    private var onlyArguments = false
    private(set) var values = FlagValues()

    init(flags: [CommandFlag], words: ArraySlice<String>) {
        self.flags = flags
        self.words = words
    }

    /// Takes the next word, and the one after it if that is its value. nil at the end.
    mutating func readFlag() throws(UsageError) -> Stop? {
        guard let word = words.popFirst() else { return nil }
        if onlyArguments || !word.hasPrefix("-") || word == "-" { return .argument(word) }
        if word == "--" {
            onlyArguments = true
            return .flag
        }
        let body = word.dropFirst(word.hasPrefix("--") ? 2 : 1)
        if body.hasPrefix("-") || body.hasPrefix("=") { throw UsageError("bad flag syntax: \(word)") }
        let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let joined = parts.count > 1 ? String(parts[1]) : nil
        guard let flag = flags.first(where: { $0.name == name || $0.letter == name }) else {
            if name == "help" || name == "h" { return .help }
            if name == "version" || name == "v" { return .version }
            throw UsageError("flag provided but not defined: -\(name)")
        }
        values.add(try value(of: flag, spelled: name, joined: joined), for: flag)
        return .flag
    }

    private mutating func value(of flag: CommandFlag, spelled name: String, joined: String?)
        throws(UsageError) -> String
    {
        if case .toggle = flag.kind {
            switch joined {
            case nil, "1", "t", "T", "true", "TRUE", "True": return "true"
            case "0", "f", "F", "false", "FALSE", "False": return "false"
            case let value?:
                throw UsageError("invalid boolean value \"\(value)\" for -\(name): parse error")
            }
        }
        guard let value = joined ?? words.popFirst() else {
            throw UsageError("flag needs an argument: -\(name)")
        }
        if case .number = flag.kind, Int32(value) == nil {
            throw UsageError("invalid value \"\(value)\" for flag -\(name): parse error")
        }
        return value
    }
}
