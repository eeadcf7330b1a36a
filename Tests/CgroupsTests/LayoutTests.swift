import OCISpec
import Testing

@testable import Cgroups

@Suite struct LayoutTests {
    private let hybrid = """
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
        99 31 0:32 /x /mnt/memory rw,relatime - cgroup cgroup rw,memory
        """
    private let pure = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

    @Test func hierarchiesOfAHybridMachine() throws {
        let layout = try CgroupLayout(mountinfo: hybrid)
        #expect(Set(layout.hierarchies.keys) == ["", "cpu", "cpuacct", "memory", "name=systemd"])
        #expect(layout.hierarchies["memory"]?.mountPoint == "/sys/fs/cgroup/memory")
        #expect(!layout.isPureV2)
    }

    /// What a `state.json` may have killed and removed.
    @Test func aHierarchyOrWhatIsOutsideIsNoContainersCgroup() {
        func stray(_ layout: CgroupSet.Layout, _ path: String) -> String? {
            CgroupSet(layout: layout, paths: ["": path]).strayPath
        }
        for path in [
            "", "/", "/tmp/x/y", "/sys/fs/cgroup", "/sys/fs/cgroup/", "/sys/fs/cgroup/..", "/sys/fs/cgroup/a/../..",
            "/sys/fs/cgroup/a/../../../b", "/sys/fs/cgroup/a/./b", "/sys/fs/cgroup//a/b", "/sys/fs/cgroups/a/b",
        ] {
            #expect(stray(.v1, path) == path && stray(.v2, path) == path)
        }
        #expect(stray(.v1, "/sys/fs/cgroup/memory") != nil && stray(.v1, "/sys/fs/cgroup/memory/x") == nil)
        #expect(stray(.v2, "/sys/fs/cgroup/x") == nil)
    }

    @Test func pureV2() throws {
        #expect(try CgroupLayout(mountinfo: pure).isPureV2)
        #expect(throws: CgroupError.self) { try CgroupLayout(mountinfo: "") }
    }

    @Test func withoutAPathTheIdIsBeneathTheRuntimesOwnCgroup() throws {
        let set = try CgroupSet.plan(
            id: "c", cgroupsPath: nil, layout: try CgroupLayout(mountinfo: hybrid),
            own: parseMembership("5:memory:/session/x\n2:cpu,cpuacct:/\n1:name=systemd:/a\n0::/\n"))
        #expect(set.layout == .v1)
        #expect(
            set.paths == [
                "memory": "/sys/fs/cgroup/memory/session/x/c", "cpu": "/sys/fs/cgroup/cpu,cpuacct/c",
                "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/c", "name=systemd": "/sys/fs/cgroup/systemd/a/c",
                "": "/sys/fs/cgroup/unified/c",
            ])
    }

    @Test func anAbsolutePathCountsFromTheHierarchysRoot() throws {
        let set = try CgroupSet.plan(
            id: "c", cgroupsPath: "/a/../b", layout: try CgroupLayout(mountinfo: hybrid),
            own: parseMembership("5:memory:/session/x\n"))
        #expect(set.paths["memory"] == "/sys/fs/cgroup/memory/b")
    }

    @Test func onV2ARelativePathIsBesideTheRuntimesOwnCgroup() throws {
        let layout = try CgroupLayout(mountinfo: pure)
        let own = parseMembership("0::/user/session\n")
        let relative = try CgroupSet.plan(id: "c", cgroupsPath: "../../x", layout: layout, own: own)
        #expect(relative.layout == .v2)
        #expect(relative.paths == ["": "/sys/fs/cgroup/user/x"])
        let root = try CgroupSet.plan(id: "c", cgroupsPath: "", layout: layout, own: parseMembership("0::/\n"))
        #expect(root.paths == ["": "/sys/fs/cgroup/c"])
    }

    @Test(arguments: ["/", "..", "/a/..", "."])
    func theMachinesOwnCgroupIsNoContainers(path: String) throws {
        let layout = try CgroupLayout(mountinfo: hybrid)
        #expect(throws: CgroupError.self) {
            try CgroupSet.plan(id: "c", cgroupsPath: path, layout: layout, own: parseMembership("0::/\n"))
        }
    }

    @Test func partOfAHierarchyMounted() throws {
        let layout = try CgroupLayout(
            mountinfo: "1 2 0:3 /docker/1 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n")
        let set = try CgroupSet.plan(
            id: "c", cgroupsPath: nil, layout: layout, own: parseMembership("3:pids:/docker/1/inner\n"))
        #expect(set.paths == ["pids": "/sys/fs/cgroup/pids/inner/c"])
    }

    @Test func sharesBecomeWeights() {
        #expect(weight(shares: 2) == 1)
        #expect(weight(shares: 1024) == 100)
        #expect(weight(shares: 262_144) == 10_000)
        #expect(weight(shares: .max) == 10_000)
    }
}
