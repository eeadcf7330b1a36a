import CheckpointImages
import LinuxSystem
import Tracee

/// ``SharedMemory`` on its way back: each object is made once, when somebody has it first, and mapped by its owners.
///
/// The engine makes it empty; the first process that has it fills it, so that its pages are charged to the container.
final class SharedMemoryStore: KindState {
    private struct Object {
        let size: UInt64
        let pages: StoredPages
        let make: () throws -> OwnedDescriptor
        var descriptor: CInt?
        var isFilled = false

        var end: UInt64 { pages.end }
    }

    private var objects: [UInt64: Object] = [:]

    deinit { for object in objects.values { if let descriptor = object.descriptor { close(descriptor) } } }

    /// Plans an object, whose pages are in `pagemap-shmem-ID.img`.
    ///
    /// - Parameter make: makes it empty, of this size; anonymous memory if there is no other way.
    func add(
        _ id: UInt64, size: UInt64, from images: RestoreImages, make: (() throws -> OwnedDescriptor)? = nil
    ) throws {
        let pages = try StoredPages(.shmemPagemap, id, in: images)
        let object = Object(size: size, pages: pages, make: make ?? { try Self.anonymous(size) })
        guard object.end <= 1 << 46, object.end <= size || object.end - size < 4096 else {
            throw CheckpointError("pagemap-shmem-\(id).img: a page behind the end of the memory")
        }
        guard objects.updateValue(object, forKey: id) == nil else {
            throw CheckpointError("shared memory \(id) is there twice")
        }
    }

    /// The number of the object that a mapping maps, `nil` if it maps something else.
    static func id(of mapping: VmaEntry, _ images: RestoreImages) throws -> UInt64? {
        if mapping.kind.contains(.anonymousShared) { return mapping.shmid }
        guard !mapping.kind.isDisjoint(with: [.fileShared, .filePrivate]) else { return nil }
        return try id(of: images.files[UInt32(truncatingIfNeeded: mapping.shmid)], images)
    }

    /// The same for an open file.
    static func id(of file: FileEntry?, _ images: RestoreImages) throws -> UInt64? {
        guard let file, file.hasMemfd else { return nil }
        guard let inode = images.memoryFiles[file.memfd.inodeID] else {
            throw CheckpointError("memfd.img: no memory file \(file.memfd.inodeID)")
        }
        return UInt64(inode.shmid)
    }

    /// Those that a process has and nobody has filled yet.
    func empty(in plan: ProcessPlan, _ images: RestoreImages) throws -> [UInt64] {
        let opened = plan.everyDescriptor.map(\.id)
        let files = (opened + images.filesUnderWay(to: opened) + [plan.mm.exeFileID]).map { images.files[$0] }
        let ids = try plan.mm.vmas.map { try Self.id(of: $0, images) } + files.map { try Self.id(of: $0, images) }
        return Set(ids.compactMap { $0 }).filter { objects[$0]?.isFilled == false }.sorted()
    }

    /// The room that a task needs to fill the largest object.
    var largest: UInt64 { objects.values.map(\.end).max() ?? 0 }

    /// The object as a file that may be read and written.
    func descriptor(_ id: UInt64) throws -> CInt {
        guard let object = objects[id] else { throw CheckpointError("no shared memory \(id)") }
        if let known = object.descriptor { return known }
        let made = try object.make().release()
        objects[id]?.descriptor = made
        return made
    }

    /// The same, if it was made.
    func made(_ id: UInt64) -> CInt? { objects[id]?.descriptor }

    private static func anonymous(_ size: UInt64) throws -> OwnedDescriptor {
        let address = mmap(nil, Int(size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
        guard let address, Int(bitPattern: address) != -1 else {
            throw SystemError(.current, "make shared memory of \(size) bytes")
        }
        defer { munmap(address, Int(size)) }
        let start = UInt(bitPattern: address)
        let link = "/proc/self/map_files/" + String(start, radix: 16) + "-" + String(start + UInt(size), radix: 16)
        return try openAt(AT_FDCWD, link, O_RDWR)
    }

    /// Fills an object.
    ///
    /// - Parameters:
    ///   - descriptor: of the object, in the task that runs the program.
    ///   - place: where it may be mapped meanwhile.
    func fill(
        _ id: UInt64, descriptor: CInt, at place: RemoteAddress, from images: RestoreImages,
        by runner: inout ProgramRunner
    ) throws {
        guard let object = objects[id], !object.isFilled else { return }
        objects[id]?.isFilled = true
        guard object.end > 0 else { return }
        try runner.add {
            $0.call(
                "mmap of shared memory", Int(SYS_mmap),
                [place.raw, object.end, 3, 0x10_0001, UInt64(descriptor), 0], expecting: Int(place.raw))
        }
        try PageFill.run(shared: object.pages, at: place, from: images, by: &runner)
        try runner.add { $0.call("munmap of shared memory", Int(SYS_munmap), [place.raw, object.end]) }
    }
}

extension PageFill {
    /// Fills shared memory that a task has mapped at `place`.
    static func run(
        shared pages: StoredPages, at place: RemoteAddress, from images: RestoreImages, by runner: inout ProgramRunner
    ) throws {
        var runs: [PageRun] = []
        pages.forEachRun { run in
            let range = place.raw + run.range.lowerBound..<place.raw + run.range.upperBound
            runs.append(PageRun(offset: run.offset, range: range, file: run.file))
        }
        let sums = try PageFill(runner.stub.hostProcess).run(
            runs, of: pages, from: place.raw, in: images, by: &runner)
        try pages.check(sums, in: images)
    }
}
