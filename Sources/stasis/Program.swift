import ArgumentParser
import ContainerRuntime
import LinuxSystem
import OCISpec

/// Reads the command line, runs one command, and turns its result into an exit code.
@main
enum Program {
    static func main() {
        let words = Array(CommandLine.arguments.dropFirst())
        if let name = CommandLine.arguments.first, name == "criu" || name.hasSuffix("/criu") { answerAsCriu(words) }
        // What shells and the manual are made from is ArgumentParser's.
        if let first = words.first, first == "--generate-completion-script" || first == "--experimental-dump-help" {
            Stasis.main(words)
        }
        protectBeforeAnythingElse(words)
        do throws(UsageError) {
            switch try Invocation(words) {
            case .version: show(Version.text)
            case .help(nil): show(Stasis.helpMessage())
            case .help(let name?): try showHelp(name)
            case .command(let name, let global, let values): run(name, global, values)
            }
            exit(0)
        } catch {
            fail(error)
        }
    }

    private static func answerAsCriu(_ words: [String]) -> Never {
        do throws(RuntimeError) {
            show(try CriuAnswer.text(to: words, version: Version.number), newline: false)
            exit(0)
        } catch {
            try? writeAll(2, Array("Error: \(error.message.printable)\n".utf8), name: "standard error")
            exit(error.exitCode)
        }
    }

    /// Commands that put a process of this program into a container; see `protectOwnBinary`.
    private static func protectBeforeAnythingElse(_ words: [String]) {
        guard words.contains(where: { ["create", "run", "exec", "restore"].contains($0) }) else { return }
        do throws(RuntimeError) {
            try protectOwnBinary()
        } catch {
            ErrorLog().report(error.message)
            exit(error.exitCode)
        }
    }

    private static func run(_ name: String, _ global: FlagValues, _ values: FlagValues) {
        guard let type = Stasis.commands.first(where: { $0._commandName == name }) else { return }
        var log = ErrorLog()
        do {
            let options = GlobalOptions.read(global)
            log = try ErrorLog(options)
            if options.debug { traceSteps(of: name, values, in: log) }
            let code = try type.read(values).perform(Runtime(options))
            for warning in Warnings.take() { log.warn(warning) }
            exit(code)
        } catch let error as RuntimeError {
            log.report(error.message)
            exit(error.exitCode)
        } catch {
            log.report(type.message(for: error))
            exit(1)
        }
    }

    private static func traceSteps(of name: String, _ values: FlagValues, in log: ErrorLog) {
        log.debug("stasis \(Version.number): \(([name] + values.words).joined(separator: " "))")
        Trace.begin { log.debug($0) }
    }

    private static func showHelp(_ name: String) throws(UsageError) {
        guard let type = Stasis.commands.first(where: { $0._commandName == name }) else {
            throw UsageError.unknownCommand(name)
        }
        show(Stasis.helpMessage(for: type))
    }

    private static func fail(_ error: UsageError) -> Never {
        if !error.wasUnderstood {
            show(error.heading + "\n")
            let type = Stasis.commands.first { $0._commandName == error.command }
            show(type.map { Stasis.helpMessage(for: $0) } ?? Stasis.helpMessage())
        }
        let log = (try? ErrorLog(GlobalOptions.read(error.globalFlags))) ?? ErrorLog()
        log.report(error.description)
        exit(error.exitCode)
    }
}

/// Writes to standard output at once: a container that runs later must not find our text in a buffer.
func show(_ text: String, newline: Bool = true) {
    let ending = newline && !text.hasSuffix("\n") ? "\n" : ""
    try? writeAll(1, Array((text + ending).utf8), name: "standard output")
}
