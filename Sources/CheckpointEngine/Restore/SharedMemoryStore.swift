import CheckpointImages
import LinuxSystem
import Tracee

/// Memory that processes share (MAP_SHARED | MAP_ANONYMOUS): each object is made once and mapped by its owners.
///
/// The engine makes it empty; the first process that maps it fills it, so that its pages are charged to the container.
final class SharedMemoryStore {
    private struct Object {
        var descriptor: CInt
        var size: UInt64
        var isFilled = false
    }

    private let images: RestoreImages
    private let sizes: [UInt64: UInt64]
    private var objects: [UInt64: Object] = [:]

    init(_ first: ProcessPlan, _ images: RestoreImages) throws {
        self.images = images
        var sizes: [UInt64: UInt64] = [:]
        for plan in first.all {
            for mapping in plan.mm.vmas {
                guard let id = try Self.id(of: mapping, images) else { continue }
                let (end, overflow) = mapping.pgoff.addingReportingOverflow(mapping.length)
                guard !overflow, end < 1 << 46 else { throw CheckpointError("\(plan): shared memory of \(end) bytes") }
                sizes[id] = max(sizes[id] ?? 0, end)
            }
        }
        self.sizes = sizes
    }

    deinit { for object in objects.values { close(object.descriptor) } }

    /// The number of the object that a mapping maps, `nil` if it maps something else. CRIU from 3.x writes it as an
    /// unlinked memory file named `/dev/zero`; both are the same to the kernel.
    static func id(of mapping: VmaEntry, _ images: RestoreImages) throws -> UInt64? {
        if mapping.kind.contains(.anonymousShared) { return mapping.shmid }
        guard mapping.kind.contains(.fileShared), let file = images.files[UInt32(truncatingIfNeeded: mapping.shmid)],
            file.hasMemfd
        else { return nil }
        guard let inode = images.memoryFiles[file.memfd.inodeID], inode.name == "/dev/zero" else {
            throw CheckpointError("a mapped memory file (memfd) cannot be restored yet")
        }
        return UInt64(inode.shmid)
    }

    /// The largest object, for which the tasks need a spare place in their memory.
    var largest: UInt64 { sizes.values.max() ?? 0 }

    func descriptor(_ id: UInt64) throws -> CInt {
        if let known = objects[id] { return known.descriptor }
        guard let size = sizes[id] else { throw CheckpointError("no shared memory \(id)") }
        let address = mmap(nil, Int(size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
        guard let address, Int(bitPattern: address) != -1 else {
            throw SystemError(.current, "make shared memory of \(size) bytes")
        }
        defer { munmap(address, Int(size)) }
        let start = UInt(bitPattern: address)
        let link = "/proc/self/map_files/" + String(start, radix: 16) + "-" + String(start + UInt(size), radix: 16)
        let made = try openAt(AT_FDCWD, link, O_RDWR).release()
        objects[id] = Object(descriptor: made, size: size)
        return made
    }

    /// Fills an object, if nobody has yet.
    ///
    /// - Parameters:
    ///   - descriptor: of the object, in the task that runs the program.
    ///   - place: where it may be mapped meanwhile.
    func fill(_ id: UInt64, descriptor: CInt, at place: RemoteAddress, by runner: inout ProgramRunner) throws {
        guard let object = objects[id], !object.isFilled else { return }
        objects[id]?.isFilled = true
        let pagemap = try images.directory.pagemap(.shmemPagemap, id)
        for entry in pagemap.entries where entry.vaddr + entry.pageCount * 4096 > object.size {
            throw CheckpointError("pagemap-shmem-\(id).img: a page behind the end of the memory")
        }
        let size = object.size
        try runner.add {
            $0.call(
                "mmap of shared memory", Int(SYS_mmap),
                [place.raw, size, 3, 0x10_0001, UInt64(descriptor), 0], expecting: Int(place.raw))
        }
        let ranges = pagemap.entries.filter(\.isStored).map {
            (place.raw + $0.vaddr)..<(place.raw + $0.vaddr + $0.pageCount * 4096)
        }
        try PageFill.run(ranges, of: pagemap, in: images, by: &runner)
        try runner.add { $0.call("munmap of shared memory", Int(SYS_munmap), [place.raw, size]) }
    }
}
