import DBus
import OCISpec
import Testing

@testable import Cgroups

@Suite struct SystemdUnitTests {
    @Test(arguments: [
        ("system.slice", "/system.slice"), ("-.slice", ""), ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
    ])
    func slices(name: String, path: String) throws { #expect(try expandSlice(name) == path) }

    @Test(arguments: ["system", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice", ".slice", ""])
    func slicesThatAreNone(name: String) { #expect(throws: CgroupError.self) { try expandSlice(name) } }

    @Test(arguments: [
        (nil as String?, "system.slice", "stasis-c.scope", "/system.slice/stasis-c.scope"),
        ("", "system.slice", "stasis-c.scope", "/system.slice/stasis-c.scope"),
        ("machine.slice:libpod:x", "machine.slice", "libpod-x.scope", "/machine.slice/libpod-x.scope"),
        (":cri:x", "system.slice", "cri-x.scope", "/system.slice/cri-x.scope"),
        ("a-b.slice::x", "a-b.slice", "x.scope", "/a.slice/a-b.slice/x.scope"),
        ("a.slice:p:pod.slice", "a.slice", "pod.slice", "/a.slice/pod.slice"),
        ("a.slice:p:x+y", "a.slice", "p-x\\x2by.scope", "/a.slice/p-x\\x2by.scope"),
    ])
    func names(path: String?, slice: String, unit: String, directory: String) throws {
        let made = try SystemdUnit(id: "c", cgroupsPath: path, isUsers: false)
        #expect(made.slice == slice)
        #expect(made.name == unit)
        #expect(try made.path == directory)
    }

    @Test func usersHaveASliceOfTheirOwn() throws {
        #expect(try SystemdUnit(id: "c", cgroupsPath: nil, isUsers: true).slice == "user.slice")
    }

    @Test(arguments: ["/a/b", "a.slice:b", "a.slice:b:c:d", "a.slice:b:", "x:b:c"])
    func pathsThatAreNone(path: String) {
        #expect(throws: CgroupError.self) { try SystemdUnit(id: "c", cgroupsPath: path, isUsers: false) }
    }
}

@Suite struct SystemdPropertyTests {
    private func limits(_ json: String, isV2: Bool = true) throws -> [String: DBusValue] {
        let resources = try decodeDocument(Resources.self, Array(json.utf8), name: "resources")
        let properties = try [SystemdProperty](resources, isV2: isV2)
        return Dictionary(uniqueKeysWithValues: properties.map { ($0.name, $0.value) })
    }

    @Test func limitsOfV2() throws {
        let json = """
            {"memory": {"limit": 1000, "swap": 3000, "reservation": 500}, "pids": {"limit": 0},
             "cpu": {"shares": 1024, "quota": 12345, "period": 50000, "cpus": "0-2,9", "mems": "0"},
             "blockIO": {"weight": 10}, "unified": {"memory.high": "max", "memory.min": "50%"}}
            """
        #expect(
            try limits(json) == [
                "MemoryMax": .uint64(1000), "MemorySwapMax": .uint64(2000), "MemoryLow": .uint64(500),
                "TasksMax": .uint64(1), "CPUWeight": .uint64(100), "CPUQuotaPeriodUSec": .uint64(50_000),
                // 246,900 µs a second, rounded up to 10 ms.
                "CPUQuotaPerSecUSec": .uint64(250_000), "AllowedCPUs": .array(of: "y", [.byte(7), .byte(2)]),
                "AllowedMemoryNodes": .array(of: "y", [.byte(1)]), "IOWeight": .uint64(1),
                "MemoryHigh": .uint64(.max),
            ])
    }

    @Test func limitsOfV1() throws {
        let json = """
            {"memory": {"limit": -1, "swap": 3000}, "pids": {"limit": -1}, "cpu": {"shares": 512, "quota": -1},
             "blockIO": {"weight": 300}}
            """
        #expect(
            try limits(json, isV2: false) == [
                "MemoryLimit": .uint64(.max), "TasksMax": .uint64(.max), "CPUShares": .uint64(512),
                "CPUQuotaPerSecUSec": .uint64(.max), "BlockIOWeight": .uint64(300),
            ])
    }

    @Test func cpuMaxOfUnified() throws {
        #expect(
            try limits(#"{"unified": {"cpu.max": "20000 200000"}}"#) == [
                "CPUQuotaPeriodUSec": .uint64(200_000), "CPUQuotaPerSecUSec": .uint64(100_000),
            ])
        #expect(try limits(#"{"unified": {"cpu.max": "max"}}"#) == ["CPUQuotaPerSecUSec": .uint64(.max)])
    }

    @Test(arguments: ["a", "3-1", "1-2-3", "9000", "-1"]) func listsThatAreNone(list: String) {
        #expect(throws: CgroupError.self) { try bitMask(list) }
    }

    @Test func annotations() throws {
        let properties = try [SystemdProperty].annotated([
            "other": "x", "org.systemd.property.TimeoutStopSec": "uint64 5",
            "org.systemd.property.RuntimeMaxSec": "1.5",
            "org.systemd.property.TasksMax": "uint64 7",
        ])
        #expect(
            properties == [
                SystemdProperty("RuntimeMaxUSec", .uint64(1_500_000)), SystemdProperty("TasksMax", .uint64(7)),
                SystemdProperty("TimeoutStopUSec", .uint64(5_000_000)),
            ])
    }

    @Test(arguments: [("TimeoutStopSec", "'x'"), ("Ab", "1"), ("Na_me", "1"), ("Name", "["), ("TimeoutStopSec", "-1")])
    func annotationsThatAreNone(name: String, value: String) {
        #expect(throws: CgroupError.self) {
            try [SystemdProperty].annotated(["org.systemd.property.\(name)": value])
        }
    }

    @Test func devices() throws {
        let rules = try DeviceRules([
            DeviceCgroup(allow: false, access: "rwm"),
            DeviceCgroup(allow: true, type: "b", major: 8, minor: 1, access: "r"),
            DeviceCgroup(allow: true, type: "c", minor: 7, access: "r"),
        ])
        let drivers = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n"
        let properties = rules.systemdProperties(drivers: drivers)
        #expect(properties.first == SystemdProperty("DevicePolicy", .string("strict")))
        guard case .array("(ss)", let allowed)? = properties.last?.value else {
            Issue.record("no list of devices")
            return
        }
        func entry(_ device: String, _ access: String) -> DBusValue { .structure([.string(device), .string(access)]) }
        for expected in [
            entry("/dev/block/8:1", "r"), entry("/dev/char/1:3", "rwm"), entry("char-*", "m"), entry("block-*", "m"),
            entry("char-pts", "rwm"),
        ] { #expect(allowed.contains(expected)) }
        // Ten of every container's own and the first of the two configured; the other systemd cannot express.
        #expect(allowed.count == DeviceRules.everyContainers.count + 1)
    }

    @Test func allDevices() throws {
        let rules = try DeviceRules([DeviceCgroup(allow: true, access: "rwm")])
        #expect(rules.systemdProperties(drivers: "") == [SystemdProperty("DevicePolicy", .string("auto"))])
    }
}
