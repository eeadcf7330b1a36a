import Testing

@testable import ContainerRuntime

@Suite struct InvocationTests {
    private func words(_ line: String) throws -> [String] {
        guard
            case .command(let name, let global, let values) = try Invocation(
                line.split(separator: " ").map(String.init))
        else { return [] }
        return global.words.dropLast() + [name] + values.words
    }

    private func complaint(_ line: String) -> String? {
        do {
            _ = try Invocation(line.split(separator: " ").map(String.init))
            return nil
        } catch {
            return error.description
        }
    }

    @Test func whatClientsReallySend() throws {
        // go-runc, with one dash.
        #expect(
            try words(
                "--root /r --log /l --log-format json restore --image-path /i --detach -no-subreaper --bundle /b c")
                == [
                    "--root=/r", "--log=/l", "--log-format=json", "restore", "--image-path=/i", "--detach",
                    "--no-subreaper", "--bundle=/b", "--", "c",
                ])
        // podman repeats a flag, and joins others.
        #expect(
            try words("--log-format=json checkpoint --leave-running --leave-running --image-path=/i c")
                == ["--log-format=json", "checkpoint", "--leave-running", "--image-path=/i", "--", "c"])
        // CRI-O.
        #expect(try words("--root=/r kill -a c 15") == ["--root=/r", "kill", "--all", "--", "c", "15"])
        // containerd.
        #expect(try words("update --resources - c") == ["update", "--resources=-", "--", "c"])
    }

    @Test func flagsMayFollowTheId() throws {
        #expect(try words("run c -d -b /b") == ["run", "--detach", "--bundle=/b", "--", "c"])
        #expect(try words("delete c --force") == ["delete", "--force", "--", "c"])
    }

    @Test func theProgramsFlagsAreItsOwn() throws {
        #expect(try words("exec -t c ls -l --all") == ["exec", "--tty", "--", "c", "ls", "-l", "--all"])
        #expect(try words("ps c -o pid,cmd") == ["ps", "--", "c", "-o", "pid,cmd"])
        #expect(try words("kill c -9") == ["kill", "--", "c", "-9"])
        #expect(try words("exec -e A=1 --env=B=2,3 c env") == ["exec", "--env=A=1", "--env=B=2,3", "--", "c", "env"])
        #expect(try words("exec -- c --help") == ["exec", "--", "c", "--help"])
    }

    @Test func toggles() throws {
        #expect(try words("list --quiet=false") == ["list", "--"])
        #expect(try words("list -q=T") == ["list", "--quiet", "--"])
        #expect(try words("--rootless=false state c") == ["--rootless=false", "state", "--", "c"])
        #expect(complaint("list --quiet=maybe") == "invalid boolean value \"maybe\" for -quiet: parse error")
    }

    @Test(arguments: [
        ("restore --lsm-mount-context", "flag needs an argument: -lsm-mount-context"),
        ("list -f", "flag needs an argument: -f"),
        ("--root", "flag needs an argument: -root"),
        ("state --bogus c", "flag provided but not defined: -bogus"),
        ("exec --preserve-fds=x c ls", "invalid value \"x\" for flag -preserve-fds: parse error"),
        ("state", "stasis: \"state\" requires exactly 1 argument(s)"),
        ("kill", "stasis: \"kill\" requires a minimum of 1 argument(s)"),
        ("kill a b c", "stasis: \"kill\" requires a maximum of 2 argument(s)"),
        ("exec", "stasis: \"exec\" requires a minimum of 1 argument(s)"),
        ("state ---x c", "bad flag syntax: ---x"),
        ("nonsense", "No help topic for 'nonsense'"),
    ])
    func mistakes(line: String, message: String) { #expect(complaint(line) == message) }

    @Test func headings() {
        let error = #expect(throws: UsageError.self) { try Invocation(["restore", "--lsm-mount-context"]) }
        #expect(error?.heading == "Incorrect Usage: flag needs an argument: -lsm-mount-context")
        #expect(error?.command == "restore")
        let unknown = #expect(throws: UsageError.self) { try Invocation(["nonsense"]) }
        #expect(unknown?.exitCode == 3)
    }

    @Test func aUsageErrorKnowsWhereToLog() {
        let error = #expect(throws: UsageError.self) { try Invocation(["--log", "/l", "state"]) }
        #expect(error?.globalFlags["log"] == "/l")
    }

    @Test func helpAndVersion() throws {
        #expect(try Invocation([]) == .help(nil))
        #expect(try Invocation(["--help"]) == .help(nil))
        #expect(try Invocation(["help", "run"]) == .help("run"))
        #expect(try Invocation(["checkpoint", "--help"]) == .help("checkpoint"))
        #expect(try Invocation(["--debug", "-v"]) == .version)
        #expect(throws: UsageError.self) { try Invocation(["state", "--version", "c"]) }
    }

    @Test func everyFlagIsNamedOnce() {
        for command in CommandSyntax.commands {
            let names = command.flags.flatMap { [$0.name] + ($0.letter.map { [$0] } ?? []) }
            #expect(Set(names).count == names.count, "\(command.name)")
        }
    }
}
