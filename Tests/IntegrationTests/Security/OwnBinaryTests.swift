import Glibc
import Testing

extension Integration {
    /// Root in a container must not be able to rewrite the program that the host's root runs.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct OwnBinary {
        enum Way: String, CaseIterable {
            /// The kernel opens a script's interpreter when /proc/self/exe is still the runtime.
            case script, program, link

            /// - Returns: what is to be executed.
            func prepare(in rootfs: String) throws(Failure) -> String {
                switch self {
                case .script: try Files.write("#!/proc/self/exe\n", to: rootfs + "/trap", mode: 0o755)
                case .link: try check(symlink("/proc/self/exe", rootfs + "/trap"), "link /trap")
                case .program: return "/proc/self/exe"
                }
                return "/trap"
            }
        }

        /// Enters the container until the attacker has caught a process, and waits for what it says of that.
        private func attempts(
            at container: Container, by exec: Command
        ) throws(Failure) -> String {
            let notes = container.stateInRootfs + "/attempts"
            for _ in 0..<40 {
                if Files.exists(notes) { break }
                _ = try exec.run()
            }
            _ = until(seconds: 10) { Files.text(of: notes)?.isEmpty == false }
            return Files.text(of: notes) ?? ""
        }

        @Test(
            "it cannot be overwritten by /proc/PID/exe (CVE-2019-5736)", .timeLimit(.minutes(2)),
            arguments: Way.allCases
        )
        func overwritten(way: Way) throws {
            let notes = try attack(way) { [$0] }
            #expect(notes.hasPrefix("Read-only file system\n"), "it said: \(notes)")
        }

        /// Of a file that comes from another mount namespace no mount can be made: it runs from a sealed copy.
        @Test("nor can the copy that stands in for it", .timeLimit(.minutes(2)), arguments: Way.allCases)
        func copied(way: Way) throws {
            let notes = try attack(way) { program in
                [
                    "sh", "-c",
                    "exec 9<\(program); exec unshare --mount --propagation unchanged /proc/self/fd/9 \"$@\"", "sh",
                ]
            }
            #expect(notes.hasPrefix("Operation not permitted\n"), "it said: \(notes)")
        }

        /// - Parameter start: the words that start the program.
        /// - Returns: what the attacker says of its attempts.
        private func attack(_ way: Way, start: (String) -> [String]) throws -> String {
            var notes = ""
            try TestBed.use { bed in
                // Of a file that others run, too, the attacker would be told that it is busy.
                let program = bed.folder + "/stasis"
                try Files.copy(bed.runtime.executable, to: program)
                let before = try Files.bytes(of: program)
                let container = try bed.container(.workload("hostile/own_binary"), arguments: ["/workload"])
                // One that is not linked statically runs in there only with its libraries.
                try Bundle.fill(container.bundle.rootfs, with: .programs([program]))
                let entered = try way.prepare(in: container.bundle.rootfs)
                try container.run()
                #expect(until(seconds: 10) { Files.exists(container.stateInRootfs + "/ready") })
                let exec = start(program) + ["--root", bed.runtime.stateFolder, "exec", container.id, entered]
                notes = try attempts(at: container, by: Command(exec))
                #expect(try Files.bytes(of: program) == before, "the program was overwritten")
            }
            return notes
        }
    }
}
