/// What a command line asks for.
///
/// runc's clients write `-flag`, `--flag=value`, `-f value`, repeat booleans, and put flags behind the container's id.
package enum Invocation: Equatable, Sendable {
    /// With the flags before the command and those after it.
    case command(String, global: FlagValues, FlagValues)
    /// For one command, or for the program.
    case help(String?)
    case version

    package init(_ words: [String]) throws(UsageError) {
        var reader = FlagReader(flags: CommandSyntax.globalFlags, words: words[...])
        while let stop = try reader.readFlag() {
            switch stop {
            case .flag: continue
            case .help: self = .help(nil)
            case .version: self = .version
            case .argument(let name): self = try .init(name, reader.words, global: reader)
            }
            return
        }
        self = .help(nil)
    }

    private init(_ name: String, _ words: ArraySlice<String>, global: FlagReader) throws(UsageError) {
        if name == "help" || name == "h" {
            self = .help(words.first)
            return
        }
        guard let syntax = CommandSyntax.commands.first(where: { $0.name == name }) else {
            throw UsageError.unknownCommand(name).with(command: nil, globalFlags: global.values)
        }
        var reader = FlagReader(flags: syntax.flags, words: words)
        var arguments: [String] = []
        do throws(UsageError) {
            while let stop = try reader.readFlag() {
                switch stop {
                case .flag: continue
                case .help:
                    self = .help(name)
                    return
                // Only the program has a version; a command does not know the flag.
                case .version: throw UsageError("flag provided but not defined: -v")
                case .argument(let argument):
                    arguments.append(argument)
                    if syntax.stopsAtArgument {
                        arguments += reader.words
                        reader.words = []
                    }
                }
            }
            guard syntax.arguments.contains(arguments.count) else {
                throw UsageError(syntax.complaint(about: arguments.count))
            }
        } catch {
            throw error.with(command: name, globalFlags: global.values)
        }
        var values = reader.values
        values.arguments = arguments
        self = .command(name, global: global.values, values)
    }
}

/// A command line that makes no sense.
package struct UsageError: Error, Equatable, CustomStringConvertible, Sendable {
    package var description: String
    /// Whose help is to be shown.
    package var command: String?
    /// What was understood before the command: it says where to log.
    package var globalFlags = FlagValues()
    package var exitCode: CInt
    /// No help is needed with this one.
    package var wasUnderstood: Bool

    init(
        _ description: String, command: String? = nil, exitCode: CInt = 1, wasUnderstood: Bool = false
    ) {
        self.description = description
        self.command = command
        self.exitCode = exitCode
        self.wasUnderstood = wasUnderstood
    }

    /// What stands above the help, as runc (and what podman looks for).
    package var heading: String {
        if description.hasPrefix("stasis: ") { return "Incorrect Usage." }
        return "Incorrect Usage\(command == nil ? "." : ":") \(description)"
    }

    package static func unknownCommand(_ name: String) -> UsageError {
        UsageError("No help topic for '\(name)'", exitCode: 3, wasUnderstood: true)
    }

    fileprivate func with(command: String?, globalFlags: FlagValues) -> UsageError {
        var error = self
        error.command = command
        error.globalFlags = globalFlags
        return error
    }
}

extension CommandSyntax {
    fileprivate func complaint(about count: Int) -> String {
        let (few, many) = (arguments.lowerBound, arguments.upperBound)
        let rule = few == many ? "exactly \(few)" : count < few ? "a minimum of \(few)" : "a maximum of \(many)"
        return "stasis: \"\(name)\" requires \(rule) argument(s)"
    }
}
