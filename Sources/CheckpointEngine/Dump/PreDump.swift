import CheckpointImages
import LinuxSystem
import Tracee

/// Writes the memory of a container that goes on running: the parent of a checkpoint that has less to write then.
///
/// Nothing is stopped. A page that changes while it is read is any of what it was; the next checkpoint compares each page
/// with what is here, byte for byte, and writes it again unless it is the same. So nothing that is in here wrongly does harm,
/// and nothing that a checkpoint would refuse is asked for. Memory that processes share is left to checkpoints.
///
/// - Parameters:
///   - directory: a new one.
///   - publish: called with all images durable in `directory`.
package func preDump(
    _ request: CheckpointRequest, into directory: borrowing OwnedDescriptor, publish: () throws -> Void
) throws -> CheckpointStatistics {
    var statistics = CheckpointStatistics()
    let start = microseconds()
    var pages = PageDump(parents: try request.parents(of: directory))
    for member in try request.members() {
        do {
            let process = try CapturedProcess(hostPid: member, parent: nil)
            if process.isZombie { continue }
            let flags = try mappingFlags(of: process.task)
            let ranges = try memoryMap(of: process.task).filter { PreDump.reads($0, flags[$0.range]) }.map(\.range)
            try pages.add(running: process, ranges)
        } catch {
            // It has ended meanwhile.
            guard (try? ProcessStatus(member))?.isZombie ?? true else { throw error }
        }
    }
    try pages.write(into: directory.raw)
    statistics.memoryDump = microseconds() - start
    var images = ImageSet(early: directory.raw)
    try pages.describe(in: &images)
    // Without a tree of processes nobody takes it for a whole checkpoint.
    try images.add(.inventory, entries: [InventoryEntry(preDump: true)])
    try images.write(into: directory)
    try publish()
    statistics.memoryWrite = microseconds() - start - statistics.memoryDump
    statistics.count(pages)
    return statistics
}

private enum PreDump {
    /// Memory of devices and of hugetlbfs, such as a userfaultfd watches, and what the kernel may drop (see ``PageDump``).
    static let passedOver: MappingFlags = ["io", "pf", "ht", "um", "uw", "ui", "dp"]

    /// - Parameter flags: VmFlags; unknown of a mapping that is a moment old.
    static func reads(_ line: MemoryMapLine, _ flags: MappingFlags?) -> Bool {
        !line.isShared && !line.name.hasPrefix("[v") && flags?.isDisjoint(with: passedOver) == true
    }
}

extension CheckpointRequest {
    /// - Parameter directory: of the new images, inside of the image directory.
    func parents(of directory: borrowing OwnedDescriptor) throws -> ParentChain? {
        guard let parentPath else { return nil }
        return try ParentChain(of: directory.raw, isInside: true, named: parentPath)
    }
}

extension InventoryEntry {
    init(preDump: Bool) {
        self.init()
        imgVersion = 2
        fdinfoPerID = true
        nsPerID = true
        lsmtype = SecurityModules.hasAppArmor ? .apparmor : .noLsm
        dumpUptime = microseconds()
        // As CRIU numbers them: memory is read from outside.
        if preDump { preDumpMode = 2 }
    }
}

/// The pages of a task that runs. Those that go away while they are read are zeros.
final class PassingPages: PageSource {
    private let pages: TaskPages?

    init(_ task: SourceTask) { pages = try? TaskPages(task) }

    func read(_ piece: PagePiece, into buffer: inout PageBuffer) throws {
        do {
            guard let pages else { return buffer.clear(piece.length) }
            try pages.read(piece, into: &buffer)
        } catch {
            // Whatever the reason is, a checkpoint that meets it again will tell.
            buffer.clear(piece.length)
        }
    }
}
