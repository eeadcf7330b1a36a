import LinuxSystem
import Testing

@testable import CheckpointEngine

/// Thousands of damaged and lying checkpoints: each is restored or refused; none traps, hangs or takes the machine.
///
/// The mutants run in processes of their own. What the last one was stands in the copy's file `mutant`.
@Suite
struct MutationTests {
    private static let mutantsPerSeed = 500

    /// Images that a restore reads, the richer ones more often; not the pages, whose bytes are nobody's business.
    private static func targets(in directory: String) throws -> [String] {
        let unread = ["cgroup", "ipcns", "mountpoints", "mutant", "pages-", "tmpfs", "utsns"]
        let names = try directoryEntries(directory).filter { name in !unread.contains { name.hasPrefix($0) } }.sorted()
        let rich = names.filter { ["core-1.img", "files.img", "mm-1.img", "mm-6.img"].contains($0) }
        return names + rich + rich + rich
    }

    /// Images of which open files are made.
    private static let makers: Set<String> = ["files.img", "pipes-data.img", "sk-queues.img", "descriptors.json"]

    @Test(arguments: [0x5741_5349, 0x2008_0610, 0x7e57_ab1e, 0x00c0_ffee] as [UInt64])
    func everyMutantIsRefusedOrRestored(seed: UInt64) async throws {
        let copy = try ImageCopy()
        let path = copy.path
        let result = await #expect(processExitsWith: .success, "seed \(seed)") {
            [seed = seed as UInt64, path = path as String] in
            try Self.run(seed: seed, in: ImageCopy(at: path))
        }
        if result == nil {
            let last = (try? readText("\(path)/mutant")) ?? "none"
            Issue.record("seed \(seed): mutant \(last)")
        }
    }

    private static func run(seed: UInt64, in copy: ImageCopy) throws {
        // What hangs is ended by SIGALRM.
        alarm(120)
        var mutator = Mutator(generator: SeededGenerator(seed: seed))
        let names = try targets(in: copy.path)
        var refused = 0
        for number in 0..<mutantsPerSeed {
            let name = names.randomElement(using: &mutator.generator) ?? ""
            let before = try copy.bytes(name)
            if number % 50 == 0 {
                try copy.put("mutant", Array("\(number): no \(name)".utf8))
                copy.drop(name)
            } else {
                var (bytes, what) = mutator.mutate(before)
                if number % 4 == 0 {
                    let more = mutator.mutate(bytes)
                    (bytes, what) = (more.bytes, "\(what), \(more.what)")
                }
                try copy.put("mutant", Array("\(number): \(name): \(what)".utf8))
                try copy.put(name, bytes)
            }
            do {
                let rehearsal = try Rehearsal(copy)
                if geteuid() == 0, makers.contains(name) { try rehearsal.makeFiles() }
                try rehearsal.run()
            } catch { refused += 1 }
            try copy.put(name, before)
        }
        // Neither everything nor nothing: otherwise the mutants would not reach what they are to test.
        guard refused > mutantsPerSeed / 10, refused < mutantsPerSeed else { exit(3) }
    }

    /// The mutants run in a copy like this one, unharmed.
    @Test func theSampleItselfPasses() throws {
        let copy = try ImageCopy()
        try Rehearsal(copy).run()
    }

    @Test func theSameSeedMakesTheSameMutant() throws {
        let bytes = try ImageCopy().bytes("core-1.img")
        var first = Mutator(generator: SeededGenerator(seed: 1))
        var second = Mutator(generator: SeededGenerator(seed: 1))
        for _ in 0..<50 { #expect(first.mutate(bytes) == second.mutate(bytes)) }
    }
}
