import CheckpointImages
import LinuxSystem
import Tracee

/// The mappings of a process on their way: made, filled, and protected as they were.
///
/// Pages that a child has not written since it was forked it shares with its parent (copy-on-write). No image tells of it,
/// so it is found again by content: memory that both have at the same place is filled before the child is born, and of
/// what a child inherits so only those pages are written that differ.
final class ProcessMemory {
    /// What is smaller is copied sooner than compared.
    private static let leastShared: UInt64 = 64 << 10

    /// This machine's setting of transparent huge pages.
    private static let hugePages = (try? readText("/sys/kernel/mm/transparent_hugepage/enabled")) ?? ""

    private let mappings: [VmaEntry]
    private let guards: [VmaEntry]
    private let pages: StoredPages?
    /// Stored pages, each run in one mapping, and for each mapping the part of `runs` that is its own.
    private let runs: [PageRun]
    private let runsOf: [Range<Int>]
    /// The kernel's code is there already; its pages are passed over.
    private let code: VmaEntry?
    private let hasHugePages: Bool

    /// Which mappings are made and filled.
    private var ready: Set<Int> = []
    /// Which of them were there at birth.
    private var taken: Set<Int> = []
    /// Of the files of pages read so far.
    private var sums = PageSums()
    /// What was in memory at birth: mappings of the parent, and which of their pages.
    private var heritage: (mappings: [VmaEntry], pages: [Range<UInt64>]) = ([], [])

    init(_ mm: MmEntry, guards: [VmaEntry], _ pages: StoredPages?) throws {
        let mappings = mm.vmas
        self.mappings = mappings
        self.guards = guards
        self.pages = pages
        code = mappings.first { $0.kind.contains(.vdso) }
        hasHugePages = !mm.thpDisabled
        var (runs, runsOf) = ([PageRun](), [Range<Int>]())
        try pages?.forEachRun { run in
            var run = run
            while !run.range.isEmpty {
                let start = run.range.lowerBound
                while let next = mappings.dropFirst(runsOf.count).first,
                    !next.isPrivate || start < next.start || start >= next.end
                {
                    runsOf.append((runsOf.last?.upperBound ?? 0)..<runs.count)
                }
                guard let mapping = mappings.dropFirst(runsOf.count).first else {
                    throw CheckpointError("\(pages?.name ?? ""): page \(RemoteAddress(start)) is in no private mapping")
                }
                let end = min(run.range.upperBound, mapping.end)
                runs.append(PageRun(offset: run.offset, range: start..<end, file: run.file))
                run = PageRun(offset: run.offset + (end - start), range: end..<run.range.upperBound, file: run.file)
            }
        }
        while runsOf.count < mappings.count { runsOf.append((runsOf.last?.upperBound ?? 0)..<runs.count) }
        (self.runs, self.runsOf) = (runs, runsOf)
    }

    // MARK: Before the children are born

    /// Makes and fills what children have at the same place.
    func share(with children: [ProcessMemory], in images: RestoreImages, by runner: inout ProgramRunner) throws {
        let shared = mappings.indices.filter { index in
            mappings[index].isInherited && storedBytes(index) >= Self.leastShared
                && children.contains { !$0.heirs(of: mappings[index]).isEmpty }
        }
        guard !shared.isEmpty else { return }
        let kept = try takeHeritage(by: &runner)
        try make(shared.filter { !kept.contains($0) }, files: [], by: &runner)
        try fill(Set(shared).union(kept), kept: kept, in: images, by: &runner)
        heritage.mappings = ready.sorted().map { mappings[$0] }
        heritage.pages = ready.sorted().flatMap { runs[runsOf[$0]].map(\.range) }
        try runner.flush()
    }

    /// A child was born of the process that has this memory.
    func inherit(from parent: ProcessMemory) {
        heritage = parent.heritage
    }

    private func storedBytes(_ index: Int) -> UInt64 { runs[runsOf[index]].reduce(0) { $0 + UInt64($1.range.count) } }

    /// Which mappings begin in one of the parent's, and can be what was inherited of it.
    private func heirs(of old: VmaEntry) -> [Int] {
        let begin = mappings.firstIndex(ordered: { $0.start >= old.start })
        let end = mappings.firstIndex(ordered: { $0.start >= old.end })
        return (begin..<end).filter { mappings[$0].isInherited && mappings[$0].sort == old.sort }
    }

    /// Brings what was in memory at birth to the bounds that it has here, and takes the rest of it away.
    ///
    /// - Returns: the mappings that are there then, with pages of the parent's.
    private func takeHeritage(by runner: inout ProgramRunner) throws -> Set<Int> {
        var kept: [(index: Int, range: Range<UInt64>, protection: UInt32)] = []
        for old in heritage.mappings {
            var gap = old.start
            for index in heirs(of: old) {
                let mapping = mappings[index]
                try unmap(gap..<mapping.start, by: &runner)
                gap = min(mapping.end, old.end)
                kept.append((index, mapping.start..<gap, old.prot))
            }
            try unmap(gap..<old.end, by: &runner)
        }
        for (index, range, protection) in kept {
            let mapping = mappings[index]
            if range.upperBound < mapping.end {
                let arguments = [mapping.start, UInt64(range.count), mapping.length, 0]
                try runner.add {
                    $0.call(
                        "mremap of \(RemoteAddress(mapping.start))", Int(SYS_mremap), arguments,
                        expecting: Int(mapping.start))
                }
            }
            if protection | 2 != mapping.prot | 2 {
                let arguments = [mapping.start, mapping.length, UInt64(mapping.prot | 2)]
                try runner.add { $0.call("mprotect of what was inherited", Int(SYS_mprotect), arguments) }
            }
            for pages in emptied(runs[runsOf[index]], in: range) {
                let arguments = [pages.lowerBound, UInt64(pages.count), UInt64(MADV_DONTNEED)]
                try runner.add { $0.call("emptying of what was inherited", Int(SYS_madvise), arguments) }
            }
        }
        taken = Set(kept.map(\.index))
        return taken
    }

    /// Pages that the parent has in a range, and this process has not.
    private func emptied(_ own: ArraySlice<PageRun>, in range: Range<UInt64>) -> [Range<UInt64>] {
        var found: [Range<UInt64>] = []
        var position = range.lowerBound
        for end in own.map(\.range) + [range.upperBound..<range.upperBound] {
            let gap = position..<max(position, min(end.lowerBound, range.upperBound))
            let next = heritage.pages.firstIndex(ordered: { $0.upperBound > gap.lowerBound })
            if !gap.isEmpty, next < heritage.pages.count, heritage.pages[next].lowerBound < gap.upperBound {
                found.append(gap)
            }
            position = max(position, end.upperBound)
        }
        return found
    }

    private func unmap(_ range: Range<UInt64>, by runner: inout ProgramRunner) throws {
        guard !range.isEmpty else { return }
        try runner.add {
            $0.call(
                "munmap of what was inherited", Int(SYS_munmap), [range.lowerBound, UInt64(range.count)])
        }
    }

    // MARK: When the process has its files

    /// Makes and fills everything that is not there yet, and protects it.
    ///
    /// - Parameters:
    ///   - files: descriptors in the task of what is mapped, one for each mapping.
    ///   - attach: maps System V shared memory.
    ///   - place: maps what takes no address, before most of the others are there.
    func complete(
        _ files: [CInt?], in images: RestoreImages, by runner: inout ProgramRunner,
        attach: (VmaEntry, inout Program) -> Void, place: (inout ProgramRunner) throws -> Set<UInt64>
    ) throws {
        let kept = ready.isEmpty ? try takeHeritage(by: &runner) : []
        let rest = mappings.indices.filter { !ready.contains($0) }
        let made = rest.filter { !kept.contains($0) }
        for index in made where mappings[index].kind.contains(.systemV) {
            try runner.add { attach(mappings[index], &$0) }
        }
        let placed = try place(&runner)
        try make(made.filter { !placed.contains(mappings[$0].start) }, files: files, by: &runner)
        try fill(Set(rest), kept: kept, in: images, by: &runner)
        try pages?.check(sums, in: images)
        try protect(by: &runner)
    }

    private func make(_ indices: [Int], files: [CInt?], by runner: inout ProgramRunner) throws {
        for index in indices {
            let mapping = mappings[index]
            if !mapping.kind.isDisjoint(with: [.vsyscall, .vdso, .systemV]) { continue }
            if mapping.kind.contains(.vvar) {
                try runner.add { KernelCode.recreate(at: mapping.start, in: &$0) }
                continue
            }
            let isFilled = !runsOf[index].isEmpty
            let file = files.isEmpty ? nil : files[index]
            try runner.add { MemoryMapping.recreate(mapping, descriptor: file, isFilled: isFilled, in: &$0) }
        }
    }

    private func fill(
        _ indices: Set<Int>, kept: Set<Int>, in images: RestoreImages, by runner: inout ProgramRunner
    ) throws {
        ready.formUnion(indices)
        let parts = indices.sorted().flatMap { runs[runsOf[$0]] }
        guard let pages, !parts.isEmpty else { return }
        let known = kept.sorted().map { mappings[$0].start..<mappings[$0].end }
        let skipped = code.map { $0.start..<$0.end }
        let setting = hasHugePages ? Self.hugePages : ""
        let huge = indices.subtracting(kept).sorted().map { mappings[$0] }.filter { $0.getsHugePages(setting) }
        let sink = PageFill(
            runner.stub.hostProcess, except: skipped, known: known, roomy: huge.map { $0.start..<$0.end })
        sums.add(try sink.run(parts, of: pages, in: images, by: &runner))
    }

    private func protect(by runner: inout ProgramRunner) throws {
        var rest = guards[...]
        for (index, mapping) in mappings.enumerated() where mapping.kind.isDisjoint(with: [.vsyscall, .vdso, .vvar]) {
            let inside = rest.prefix { $0.start < mapping.end }
            rest = rest.dropFirst(inside.count)
            for pages in ProgramRunner.portions(Array(inside)) {
                try runner.add { MemoryMapping.installGuards(pages, in: &$0) }
            }
            let isFilled = !runsOf[index].isEmpty || taken.contains(index)
            try runner.add {
                MemoryMapping.protect(mapping, isFilled: isFilled, hasGuards: !inside.isEmpty, in: &$0)
            }
        }
    }
}

extension VmaEntry {
    /// Whether a fork(2) gives it to the child, and with what is in it. The stack is too small to matter, and grows.
    fileprivate var isInherited: Bool {
        kind.contains(.anonymousPrivate) && kind.isDisjoint(with: [.vdso, .vvar, .vsyscall]) && sort & 0x10f == 2
            // MADV_DONTFORK, MADV_WIPEONFORK
            && madv & (1 << 10 | 1 << 18) == 0
    }

    /// What cannot be changed any more: MAP_PRIVATE, MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_NORESERVE.
    fileprivate var sort: UInt32 { flags & 0x412f }
}
