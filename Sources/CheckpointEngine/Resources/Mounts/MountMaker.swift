import LinuxSystem
import Tracee

/// Does again what ``MountChanges`` says, by the container's first process while it is alone: in its namespaces, root and
/// profile, as the user and with the capabilities that config.json gives, so that the kernel refuses what it would have
/// refused to the container. Every place is found beneath the descriptor of the mount that it lies on, without following
/// links or getting onto another mount. fsopen(2), open_tree(2), move_mount(2), mount_setattr(2).
struct MountMaker {
    private let changes: MountChanges
    private let workshop: Workshop
    private let opener: Opener
    /// As /proc has it here.
    private let process: pid_t
    /// The mounts of the new container, by the ids of those of the start.
    private var actual: [Int: MountLine] = [:]
    private let before: [MountLine]
    /// Descriptors in the process: of mounts of the start by their ids then, and of those that were made by their ids now.
    private var kept: [Int: UInt64] = [:]
    private var made: [Int: UInt64] = [:]
    /// Detached copies that wait to be attached, by the id that the mount has now.
    private var copies: [Int: UInt64] = [:]
    private(set) var expected = ExpectedMounts()
    /// Of file systems that were made here.
    private(set) var devices: Set<String> = []

    init(_ changes: MountChanges, _ first: ProcessPlan, _ workshop: Workshop, _ area: InjectedArea) throws {
        (self.changes, self.workshop) = (changes, workshop)
        opener = try Opener(first, workshop.policy, area)
        process = first.stubs[0].hostProcess
        before = try MountChanges.order(try MountLine.all(of: "\(process)"))
        actual = Self.counterparts(of: changes.start, in: before)
    }

    /// Those of this container that are what others were at the start of another: of the same type, at the same point of the
    /// mount that is the counterpart of theirs.
    private static func counterparts(of start: [MountLine], in lines: [MountLine]) -> [Int: MountLine] {
        var found: [Int: MountLine] = [:]
        let (startIDs, ids) = (Set(start.map(\.id)), Set(lines.map(\.id)))
        func visit(_ old: MountLine, _ new: MountLine) {
            guard old.type == new.type || !startIDs.contains(old.parent) else { return }
            found[old.id] = new
            for child in start where child.parent == old.id {
                guard let other = lines.first(where: { $0.parent == new.id && $0.point == child.point }) else {
                    continue
                }
                visit(child, other)
            }
        }
        if let top = start.first(where: { $0.point == "/" && !startIDs.contains($0.parent) }),
            let root = lines.first(where: { $0.point == "/" && !ids.contains($0.parent) })
        {
            visit(top, root)
        }
        return found
    }

    /// - Parameter isInner: whether it is a copy of another namespace, whose files are there, and whose mounts share theirs with it.
    mutating func run(isInner: Bool = false) throws {
        for line in before { expected.lines[line.id] = line }
        for one in changes.made { try copySource(of: one, ofRemoved: true) }
        if isInner {
            for one in changes.made { try copySource(of: one, ofRemoved: false) }
            for change in changes.changed { try leaveGroups(change.old, change.new) }
        }
        for line in changes.removed { try about("\(line.type) at \(line.point)") { try remove(line) } }
        // While nothing new hides them.
        for change in changes.changed { _ = try keptTop(change.old.id) }
        for one in changes.made { if let old = changes.kept[one.line.parent] { _ = try keptTop(old.id) } }
        for group in changes.groups.all { _ = try group.seed.flatMap { changes.kept[$0] }.map { try keptTop($0.id) } }
        // Nobody copies one that is unbindable.
        for change in changes.changed where change.old.isUnbindable && !isInner {
            try leaveGroups(change.old, change.new)
        }
        // Room first, and what nobody may write to last.
        for change in changes.changed { try reconfigure(change.old, change.new, isLast: false) }
        if !isInner {
            try MemoryFileSystem.fill(in: workshop)
            for one in changes.made { try copySource(of: one, ofRemoved: false) }
            for change in changes.changed where !change.old.isUnbindable { try leaveGroups(change.old, change.new) }
        }
        for one in changes.made {
            try about("\(one.line.type) at \(one.line.point)") { try make(one) }
        }
        for change in changes.changed {
            try about("\(change.new.type) at \(change.new.point)") {
                try reconfigure(change.old, change.new, isLast: true)
                try setAttributes(change.old, change.new)
            }
        }
        try makeGroups()
        try run { program in
            Opener.closeAll(in: &program)
            let root = program.place(path: "/")
            program.call("chdir", Int(SYS_chdir), [root.raw])
        }
    }

    // MARK: Calls

    @discardableResult
    private func run(_ body: (inout Program) -> Void) throws -> Program.Results {
        try opener.run(as: opener.granted, keeping: nil, body)
    }

    /// A descriptor that a call has brought.
    private func descriptor(_ body: (inout Program) -> Program.Reference) throws -> UInt64 {
        var call: Program.Reference?
        let results = try run { call = body(&$0) }
        guard let call, results[call] >= 0 else { throw CheckpointError("no descriptor") }
        return UInt64(results[call])
    }

    private static let here = UInt64(bitPattern: Int64(AT_FDCWD))
    private static let emptyPath = UInt64(CLINUX_AT_EMPTY_PATH)

    private static func open(
        _ path: String, from directory: UInt64, _ resolve: Resolve, in program: inout Program
    ) -> Program.Reference {
        let name = program.place(path: path)
        let flags = UInt64(CLINUX_O_PATH | O_NOFOLLOW | O_CLOEXEC)
        let how = program.place(value: SIMD4<UInt64>(flags, 0, resolve.rawValue, 0))
        return program.call("find \(path)", Int(CLINUX_SYS_openat2), [directory, name.raw, how.raw, 24])
    }

    /// A place beneath a mount's top, and on that mount; its top for no path.
    private func place(_ path: String, on mount: UInt64) throws -> UInt64 {
        if path.isEmpty { return mount }
        return try descriptor { Self.open(path, from: mount, [.beneath, .noSymlinks, .noCrossMounts], in: &$0) }
    }

    private func mountID(_ descriptor: UInt64) throws -> Int {
        try DescriptorInfo(process: process, number: CInt(descriptor)).mount
    }

    /// The top of a mount of the start.
    private mutating func keptTop(_ id: Int) throws -> UInt64 {
        if let known = kept[id] { return known }
        guard let line = actual[id] else {
            let point = changes.start.first { $0.id == id }?.point ?? ""
            throw CheckpointError("config.json mounts nothing of that type at \(point) any more")
        }
        let top = try descriptor { Self.open(line.point, from: Self.here, .noSymlinks, in: &$0) }
        guard try mountID(top) == line.id else { throw CheckpointError("something else is mounted over \(line.point)") }
        kept[id] = top
        return top
    }

    // MARK: Steps

    /// From its parent directory: the umount of a path would follow what is mounted over it.
    private mutating func remove(_ line: MountLine) throws {
        guard let there = actual[line.id], expected.lines[there.id] != nil else { return }
        _ = try keptTop(line.id)
        let parts = there.point.split(separator: "/")
        let parent = "/" + parts.dropLast().joined(separator: "/")
        try run { program in
            let directory = Self.open(parent, from: Self.here, .noSymlinks, in: &program)
            let change = program.call("fchdir", Int(SYS_fchdir), [0])
            program.pass(directory, to: change, argument: 0)
            let name = program.place(path: String(parts.last ?? "."))
            // MNT_DETACH, UMOUNT_NOFOLLOW
            program.call("unmount", Int(SYS_umount2), [name.raw, 2 | 8])
        }
        var gone: Set = [there.id]
        for line in before where gone.contains(line.parent) { gone.insert(line.id) }
        for id in gone { expected.lines[id] = nil }
    }

    private mutating func copySource(of one: MountChanges.Made, ofRemoved: Bool) throws {
        guard case .start(let id, let path) = one.origin,
            changes.removed.contains(where: { $0.id == id }) == ofRemoved
        else { return }
        try about("\(one.line.type) at \(one.line.point)") {
            let copy = try copy(of: try place(path, on: try keptTop(id)))
            copies[one.line.id] = copy
            // A copy goes on to share its mounts with its source.
            if let source = changes.source(of: one), let there = actual[id] {
                try leaveGroups(copy, of: there, source.sharing, one.line.sharing)
            }
        }
    }

    private func copy(of place: UInt64) throws -> UInt64 {
        try descriptor { program in
            let empty = program.place(path: "")
            return program.call(
                "open_tree", Int(CLINUX_SYS_open_tree),
                [place, empty.raw, UInt64(OPEN_TREE_CLONE) | UInt64(O_CLOEXEC) | Self.emptyPath])
        }
    }

    // MARK: Groups

    private mutating func leaveGroups(_ old: MountLine, _ new: MountLine) throws {
        guard let there = actual[old.id], old.sharing != new.sharing else { return }
        try about("\(new.type) at \(new.point)") {
            try leaveGroups(try keptTop(old.id), of: there, old.sharing, new.sharing)
        }
    }

    /// - Parameter there: the mount of this container with whose groups it is now.
    private func leaveGroups(_ mount: UInt64, of there: MountLine, _ old: MountSharing, _ new: MountSharing) throws {
        let left = old.left(in: new)
        if left.shared != nil || there.sharing == MountSharing() { return }
        if left.master != nil, there.sharedGroup == nil { return }
        let isSlave = left.master != nil && left.master == old.shared
        try setAttributes(mount, propagation: isSlave ? .slave : .private)
    }

    private mutating func makeGroups() throws {
        var seeds: [Substring: UInt64] = [:]
        for group in changes.groups.all {
            guard let id = group.seed else { continue }
            let seed = try copy(of: try top(id))
            if group.master.map(changes.groups.outside.contains) != true {
                try setAttributes(seed, propagation: .private)
            }
            if let master = group.master.flatMap({ seeds[$0] }) { try join(seed, master, asSlave: true) }
            try setAttributes(seed, propagation: .shared)
            seeds[group.number] = seed
        }
        let changed = changes.changed.filter { $0.old.sharing != $0.new.sharing }.map(\.new)
        for line in changes.made.map(\.line) + changed {
            try about("\(line.type) at \(line.point)") {
                let mount = try top(line.id)
                if let seed = line.sharedGroup.flatMap({ seeds[$0] }) {
                    try join(mount, seed)
                } else {
                    if let master = line.masterGroup.flatMap({ seeds[$0] }) { try join(mount, master, asSlave: true) }
                    if changes.groups[line.sharedGroup] != nil { try setAttributes(mount, propagation: .shared) }
                }
                if line.isUnbindable { try setAttributes(mount, propagation: .unbindable) }
                expectGroups(of: line, try mountID(mount))
            }
        }
    }

    /// Only a private mount gets a group.
    private func join(_ mount: UInt64, _ member: UInt64, asSlave: Bool = false) throws {
        try setAttributes(mount, propagation: .private)
        try run { program in
            let empty = program.place(path: "")
            let flags = UInt64(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | MOVE_MOUNT_SET_GROUP)
            program.call(
                "move_mount MOVE_MOUNT_SET_GROUP", Int(CLINUX_SYS_move_mount),
                [member, empty.raw, mount, empty.raw, flags])
        }
        if asSlave { try setAttributes(mount, propagation: .slave) }
    }

    /// The top of a mount by its id now.
    private mutating func top(_ id: Int) throws -> UInt64 {
        if let made = made[id] { return made }
        guard let old = changes.kept[id] else { throw CheckpointError("a mount that is not there") }
        return try keptTop(old.id)
    }

    private mutating func expectGroups(of line: MountLine, _ id: Int) {
        let old = changes.kept[line.id] ?? changes.made.first { $0.line.id == line.id }.flatMap(changes.source)
        let there = old.flatMap { actual[$0.id] }
        func group(_ number: Substring?, _ here: Substring?) -> Substring? {
            number.flatMap { changes.groups[$0] == nil ? here : ExpectedMounts.madeGroup($0) }
        }
        let wasPeer = line.masterGroup == old?.sharedGroup
        expected.lines[id]?.sharedGroup = group(line.sharedGroup, there?.sharedGroup)
        expected.lines[id]?.masterGroup = group(line.masterGroup, wasPeer ? there?.sharedGroup : there?.masterGroup)
    }

    // MARK: Making

    private mutating func make(_ one: MountChanges.Made) throws {
        let line = one.line
        let mount: UInt64
        switch one.origin {
        case .new(let options):
            mount = try makeFileSystem(line, options)
        case .start, .made:
            guard let copy = copies[line.id] else { throw CheckpointError("what it shows is not there") }
            mount = copy
            try setAttributes(of: mount, to: line)
        }
        let parent: (top: UInt64, line: MountLine)
        if let top = made[line.parent], let there = changes.now.first(where: { $0.id == line.parent }) {
            parent = (top, there)
        } else if let old = changes.kept[line.parent] {
            parent = (try keptTop(old.id), old)
        } else {
            throw CheckpointError("what it lies on is not there")
        }
        let path = String(line.point.dropFirst(parent.line.point.utf8.count).drop { $0 == "/" })
        let target = try place(path, on: parent.top)
        try run { program in
            let empty = program.place(path: "")
            program.call(
                "move_mount", Int(CLINUX_SYS_move_mount),
                [mount, empty.raw, target, empty.raw, UInt64(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)])
        }
        made[line.id] = mount
        try expect(one, mount, on: try mountID(parent.top))
        // As long as nothing lies on it.
        for other in changes.made {
            guard case .made(let source, let path) = other.origin, source == line.id else { continue }
            try about("\(other.line.type) at \(other.line.point)") {
                copies[other.line.id] = try copy(of: try place(path, on: mount))
            }
        }
    }

    private mutating func expect(_ one: MountChanges.Made, _ mount: UInt64, on parent: Int) throws {
        let id = try mountID(mount)
        func beneath(_ root: String, _ path: String) -> String {
            path.isEmpty ? root : root == "/" ? "/" + path : "\(root)/\(path)"
        }
        let (device, root): (String, String)
        switch one.origin {
        case .new(let options):
            let top = try opener.take(CInt(mount))
            (device, root) = (try MountLine.device(of: top.raw), "/")
            if !MountOption.isShared(one.line.type) { expected.options[id] = options }
        case .start(let source, let path):
            (device, root) = (actual[source]?.device ?? "", beneath(actual[source]?.root ?? "", path))
        case .made(let source, let path):
            let source = expected.lines[try mountID(made[source] ?? 0)]
            (device, root) = (source?.device ?? "", beneath(source?.root ?? "", path))
        }
        expected.lines[id] = MountLine(one.line, id: id, parent: parent, device: device, root: root)
    }

    private mutating func makeFileSystem(_ line: MountLine, _ options: [MountOption]) throws -> UInt64 {
        let userNamespace = workshop.userNamespace
        let later = options.filter { $0.key == "ro" || line.type == "tmpfs" && $0.key == "nr_inodes" }
        // A user namespace gets sysfs and proc only with what the ones that it has forbid; a tmpfs is filled first.
        let attributes = line.type == "tmpfs" ? line.attributes.subtracting(.readOnly) : line.attributes
        let context = try descriptor { program in
            let type = program.place(path: String(line.type))
            return program.call("fsopen \(line.type)", Int(CLINUX_SYS_fsopen), [type.raw, 1])
        }
        let source = [MountOption(key: "source", value: line.source)].filter { $0.value?.isEmpty == false }
        let mount = try descriptor { program in
            Self.configure(context, source + options.filter { !later.contains($0) }, FSCONFIG_CMD_CREATE, in: &program)
            return program.call("fsmount", Int(CLINUX_SYS_fsmount), [context, 1, attributes.rawValue])
        }
        if let content = workshop[MadeMount.self].contents[line.id] {
            let outside = try opener.take(CInt(mount))
            let top = try openAt(outside.raw, ".", O_RDONLY | O_DIRECTORY)
            let device = try MountLine.device(of: top.raw)
            guard line.type == "tmpfs", try !MountLine.all(of: "self").contains(where: { $0.device == device }),
                !before.contains(where: { $0.device == device })
            else { throw CheckpointError("is no file system of its own") }
            devices.insert(device)
            try workshop.asOwner(user: 0, group: 0) {
                var tree = try MemoryFileTree(content, top: top.raw, userNamespace)
                try tree.make()
            }
        }
        if !later.isEmpty { try reconfigure(mount, later) }
        if attributes != line.attributes { try setAttributes(mount, set: .readOnly) }
        return mount
    }

    /// fsconfig(2) for each option, and what is to be done with them.
    private static func configure(
        _ context: UInt64, _ options: [MountOption], _ command: fsconfig_command, in program: inout Program
    ) {
        for option in options {
            let key = program.place(path: option.key)
            let value = option.value.map { program.place(path: $0).raw } ?? 0
            let kind = option.value == nil ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING
            program.call(
                "option \(option.key)\(option.value.map { "=\($0)" } ?? "")", Int(CLINUX_SYS_fsconfig),
                [context, UInt64(kind.rawValue), key.raw, value, 0])
        }
        program.call("fsconfig", Int(CLINUX_SYS_fsconfig), [context, UInt64(command.rawValue), 0, 0, 0])
    }

    private mutating func reconfigure(_ old: MountLine, _ new: MountLine, isLast: Bool) throws {
        let options = try MountOption.changes(old, new).filter { ($0.key == "ro") == isLast }
        if options.isEmpty { return }
        try about("\(new.type) at \(new.point)") { try reconfigure(try keptTop(old.id), options) }
    }

    private func reconfigure(_ mount: UInt64, _ options: [MountOption]) throws {
        let context = try descriptor { program in
            let empty = program.place(path: "")
            // FSPICK_CLOEXEC, FSPICK_EMPTY_PATH
            return program.call("fspick", Int(CLINUX_SYS_fspick), [mount, empty.raw, 1 | 8])
        }
        try run { Self.configure(context, options, FSCONFIG_CMD_RECONFIGURE, in: &$0) }
    }

    /// Of a mount of the start.
    private mutating func setAttributes(_ old: MountLine, _ new: MountLine) throws {
        guard let there = actual[old.id] else { return }
        try setAttributes(of: try keptTop(old.id), to: new)
        expected.lines[there.id] = MountLine(
            new, id: there.id, parent: there.parent, device: there.device, root: there.root)
        if MountOption.words(old) != MountOption.words(new) {
            expected.options[there.id] = try MountOption.changes(old, new).filter { $0.key != "rw" }
        }
    }

    /// What a copy has of its source, or a mount by config.json, becomes what a line says. A user namespace does not let
    /// locked attributes be cleared, even if they are to be as they are.
    private func setAttributes(of mount: UInt64, to line: MountLine) throws {
        let id = try mountID(mount)
        let wanted = line.attributes
        let now: MountAttributes
        if let there = before.first(where: { $0.id == id }) {
            now = there.attributes
        } else {
            let outside = try opener.take(CInt(mount))
            now = try MountAttributes(of: outside.raw)
        }
        if now == wanted { return }
        var (set, clear) = (wanted.subtracting(now), now.subtracting(wanted))
        if !set.union(clear).isDisjoint(with: .accessTimeMask) {
            clear.formUnion(.accessTimeMask)
            set.formUnion(wanted.intersection(.accessTimeMask))
        }
        try setAttributes(mount, set: set, clear: clear)
    }

    private func setAttributes(
        _ mount: UInt64, set: MountAttributes = [], clear: MountAttributes = [], propagation: MountPropagation? = nil
    ) throws {
        try run { program in
            let empty = program.place(path: "")
            // struct mount_attr: set, clear, propagation, user namespace.
            let attributes = program.place(
                value: SIMD4<UInt64>(set.rawValue, clear.rawValue, propagation?.rawValue ?? 0, 0))
            program.call(
                "mount_setattr", Int(CLINUX_SYS_mount_setattr), [mount, empty.raw, Self.emptyPath, attributes.raw, 32])
        }
    }
}
