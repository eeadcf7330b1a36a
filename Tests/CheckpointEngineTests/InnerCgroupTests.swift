import CheckpointImages
import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine

/// Cgroups of an image: none where config.json mounts none, none above the container's, no file outside of its own folder.
@Suite
struct InnerCgroupTests {
    private static func policy(writesCgroups: Bool) -> RestorePolicy {
        var policy = RestorePolicy(
            capabilities: 0, noNewPrivileges: true, seccomp: nil, user: 1000, groups: [100], limits: .most)
        policy.writesCgroups = writesCgroups
        return policy
    }

    /// What the plan says to an image with the cgroup `/container/box/deep`, in which its process is.
    private func plan(
        writesCgroups: Bool = true, _ change: (inout CgroupEntry) -> Void = { _ in }
    ) throws -> String {
        var entry = CgroupEntry.with {
            $0.controllers = [
                .with {
                    $0.cnames = ["cpu", "cpuacct"]
                    $0.dirs = [folder("container", [folder("box", [folder("deep")])])]
                }
            ]
            $0.sets = [
                .with {
                    $0.id = 2
                    $0.ctls = [.with { ($0.name, $0.path, $0.cgnsPrefix) = ("cpu,cpuacct", "/container/box/deep", 10) }]
                }
            ]
        }
        change(&entry)
        let copy = try ImageCopy()
        var image = ImageWriter(.cgroup)
        try image.append(entry)
        try copy.put(image.name, image.bytes)
        return copy.plan([InnerCgroup.self], Self.policy(writesCgroups: writesCgroups))
    }

    private func folder(_ name: String, _ children: [CgroupDirEntry] = []) -> CgroupDirEntry {
        .with { ($0.dirName, $0.children) = (name, children) }
    }

    @Test func whoMayHaveThem() throws {
        let said = try plan()
        #expect(said == "no error")
        #expect(try plan(writesCgroups: false).contains("config.json mounts no cgroups"))
    }

    @Test func placesThatCannotBe() throws {
        for name in ["", ".", "..", "a/b", "/", "x\0", String(repeating: "x", count: 256)] {
            #expect(try plan { $0.controllers[0].dirs[0].children.append(folder(name)) }.contains("cannot be a cgroup"))
            let property = CgroupPropEntry.with { ($0.name, $0.value) = (name, "1") }
            let complaint = try plan { $0.controllers[0].dirs[0].children[0].properties = [property] }
            #expect(complaint.contains("cannot be a cgroup"))
        }
        #expect(try plan { $0.controllers[0].dirs[0].children.append(folder("box")) }.contains("cannot be a cgroup"))
        #expect(try plan { $0.controllers[0].dirs.append(folder("other")) }.contains("none of its container's"))
        #expect(try plan { $0.controllers[0].dirs[0].dirName = "other" }.contains("none of its container's"))
        #expect(try plan { $0.controllers.append($0.controllers[0]) }.contains("twice"))
        let many = (0..<1000).map { folder("\($0)") }
        #expect(try plan { $0.controllers[0].dirs[0].children += many }.contains("cannot be a cgroup"))
        let deep = (0..<40).reduce(folder("deepest")) { inner, _ in folder("deep", [inner]) }
        #expect(try plan { $0.controllers[0].dirs[0].children.append(deep) }.contains("cannot be a cgroup"))
    }

    @Test func placesOfProcesses() throws {
        #expect(try plan { $0.sets[0].ctls[0].path = "/container" } == "no error")
        for path in ["/container/other", "/container/box/..", "/container/../other", "/containerbox", "/container/"] {
            #expect(try plan { $0.sets[0].ctls[0].path = path }.contains("none of its container's"), "\(path)")
        }
        #expect(try plan { $0.sets[0].ctls[0].name = "pids" }.contains("none of its container's"))
        #expect(try plan { $0.sets[0].ctls[0].cgnsPrefix = .max } == "no error")
        #expect(try plan { $0.sets[0].id = 7 }.contains("which cgroup.img does not have"))
    }

    /// Whoever is named by the image of a list of tasks would be moved into the container, and end with it.
    @Test func filesThatAreNoSettings() throws {
        let scratch = Scratch()
        let names = [
            "pids.max", "cgroup.procs", "tasks", "cgroup.threads", "freezer.state", "cgroup.freeze", "devices.deny",
        ]
        for name in names { _ = try scratch.put(name, "1") }
        try system("chmod") { chmod(scratch.path("devices.deny"), 0o200) }
        let entry = CgroupDirEntry.with {
            $0.properties = names.map { name in .with { ($0.name, $0.value) = (name, "5") } }
        }
        let directory = try openAt(AT_FDCWD, scratch.path, O_RDONLY | O_DIRECTORY)
        _ = try entry.set(at: directory.raw, "", .own)
        for name in names {
            #expect(try scratch.bytes(name) == [UInt8(ascii: name == "pids.max" ? "5" : "1")], "\(name)")
        }
    }

    @Test func ownLimitsStay() throws {
        let copy = try ImageCopy()
        let top = CgroupDirEntry.with {
            ($0.dirName, $0.children) = ("container", [folder("box")])
            $0.properties = ["pids.max", "cgroup.subtree_control"].map { name in
                .with { ($0.name, $0.value) = (name, "") }
            }
        }
        let entry = CgroupEntry.with {
            $0.controllers = [.with { ($0.cnames, $0.dirs) = (["pids"], [top]) }]
            $0.sets = [.with { ($0.id, $0.ctls) = (2, [.with { ($0.name, $0.path) = ("pids", "/container") }]) }]
        }
        var image = ImageWriter(.cgroup)
        try image.append(entry)
        try copy.put(image.name, image.bytes)
        let (images, policy) = (try copy.images(), Self.policy(writesCgroups: true))
        let plan = RestorePlan(
            images: images, first: try copy.tree(), policy: policy, options: DumpOptions(), states: KindStates())
        try InnerCgroup.plan(plan)
        #expect(
            plan[InnerCgroup.self].controllers.flatMap(\.dirs).flatMap(\.properties).map(\.name) == [
                "cgroup.subtree_control"
            ])
    }
}
