import CheckpointImages
import LinuxSystem

/// Kernel objects that a task has for itself or shares with others, as clone(2) was told. Threads of one process share all
/// of them; of processes the images tell by ids which have the same.
///
/// Who shares was born so: of a stub that has the object, which is the parent's, or a brother's that the parent is given a
/// child by (CLONE_PARENT). All are born before the first one gets anything; the last one fills the object.
enum SharedObject: CInt, CaseIterable {
    // The numbers of kcmp(2).
    case memory = 1
    case descriptors
    case directory
    case actions

    /// As messages name it.
    var name: String {
        switch self {
        case .memory: "memory"
        case .descriptors: "table of descriptors"
        case .directory: "working directory"
        case .actions: "signal actions"
        }
    }

    /// CLONE_VM, CLONE_FILES, CLONE_FS, CLONE_SIGHAND
    var flag: UInt64 {
        switch self {
        case .memory: 0x100
        case .descriptors: 0x400
        case .directory: 0x200
        case .actions: 0x800
        }
    }

    func id(_ ids: TaskKobjIdsEntry) -> UInt32 {
        switch self {
        case .memory: ids.vmID
        case .descriptors: ids.filesID
        case .directory: ids.fsID
        case .actions: ids.sighandID
        }
    }

    /// Whether the images of two processes that share it say the same of it.
    private func isOne(of plan: ProcessPlan, _ other: ProcessPlan) -> Bool {
        switch self {
        case .memory:
            plan.mm == other.mm && plan.guards == other.guards
                && plan.pages?.pagemap.pagesID == other.pages?.pagemap.pagesID
        case .descriptors: true
        case .directory: plan.directories == other.directories
        // CLONE_SIGHAND goes with CLONE_VM.
        case .actions: plan.task.sigactions == other.task.sigactions && plan.ids.vmID == other.ids.vmID
        }
    }

    /// Those which two processes have in common.
    static func common(_ one: ProcessPlan, _ other: ProcessPlan) -> Set<SharedObject> {
        guard !one.isZombie, !other.isZombie else { return [] }
        return Set(allCases.filter { $0.id(one.ids) == $0.id(other.ids) })
    }

    /// Finds out who completes each object, and fails on such as cannot be one.
    static func plan(_ first: ProcessPlan) throws {
        for object in allCases {
            var last: [UInt32: ProcessPlan] = [:]
            for plan in first.all where !plan.isZombie {
                guard let other = last.updateValue(plan, forKey: object.id(plan.ids)) else { continue }
                guard object.isOne(of: plan, other) else {
                    throw CheckpointError("\(plan): shares its \(object.name) with \(other), and has another one")
                }
                other.completed.remove(object)
                if object == .memory { plan.memory = other.memory }
            }
        }
    }
}

/// Whether processes that are to share an object can be born so.
struct SharedBirths {
    private var known: [SharedObject: [UInt32: ProcessPlan]] = [:]

    init(_ first: ProcessPlan) {
        for object in SharedObject.allCases { known[object] = [object.id(first.ids): first] }
    }

    /// Finds for each of some processes, who are born together, the one that it is born of.
    ///
    /// - Parameter parent: a process whose objects their parent has at that moment.
    mutating func plan(_ plans: [ProcessPlan], of parent: ProcessPlan?) throws {
        var sources = parent.map { [$0] } ?? []
        for plan in plans where !plan.isZombie {
            var shared: Set<SharedObject> = []
            for object in SharedObject.allCases {
                if let other = known[object]?[object.id(plan.ids)] {
                    shared.insert(object)
                    guard sources.contains(where: { SharedObject.common($0, plan).contains(object) }) else {
                        throw CheckpointError(
                            "\(plan): shares its \(object.name) with \(other), which is neither its parent nor a child that "
                                + "its parent had with it; this cannot be restored yet")
                    }
                }
                known[object, default: [:]][object.id(plan.ids)] = plan
            }
            guard
                let source = sources.first(where: { SharedObject.common($0, plan).isSuperset(of: shared) })
                    ?? (shared.isEmpty ? plan : nil)
            else {
                let names = shared.map(\.name).sorted().joined(separator: " and ")
                throw CheckpointError(
                    "\(plan): shares its \(names) with one process each; this cannot be restored yet")
            }
            plan.source = source === parent || shared.isEmpty ? nil : source
            plan.born = shared
            sources.append(plan)
        }
    }
}
