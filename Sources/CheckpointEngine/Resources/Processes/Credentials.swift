import CheckpointImages
import LinuxSystem
import Tracee

/// User and group ids, capability sets, securebits and no_new_privs of one thread. credentials(7), capabilities(7).
enum Credentials {
    static func capture(
        _ status: ProcessStatus, secureBits: Int, in userNamespace: UserNamespace
    ) throws -> CredsEntry {
        let users = try status.users.map { try userNamespace.inside(user: $0) }
        let groups = try status.groups.map { try userNamespace.inside(group: $0) }
        let supplementary = try status.supplementaryGroups.map { try userNamespace.inside(group: $0) }
        guard users.count == 4, groups.count == 4 else { throw CheckpointError("no ids in its status") }
        func words(_ set: String) -> [UInt32] {
            let value = status.capabilities(set)
            return [UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: value >> 32)]
        }
        return CredsEntry.with {
            $0.uid = users[0]
            $0.euid = users[1]
            $0.suid = users[2]
            $0.fsuid = users[3]
            $0.gid = groups[0]
            $0.egid = groups[1]
            $0.sgid = groups[2]
            $0.fsgid = groups[3]
            $0.capInh = words("Inh")
            $0.capPrm = words("Prm")
            $0.capEff = words("Eff")
            $0.capBnd = words("Bnd")
            $0.capAmb = words("Amb")
            $0.secbits = UInt32(secureBits)
            $0.groups = supplementary
            $0.noNewPrivs = status.noNewPrivileges ? 1 : 0
        }
    }

    static func set(_ words: [UInt32]) -> UInt64 {
        UInt64(words.first ?? 0) | UInt64(words.count > 1 ? words[1] : 0) << 32
    }

    /// Lowers a thread that may still do everything to what it was, in the order that the kernel's checks demand:
    /// bounding set and securebits while CAP_SETPCAP is there, groups before users, capabilities after users.
    ///
    /// - Parameters:
    ///   - now: what the thread is, still.
    ///   - hasGroups: whether it has its supplementary groups, which some user namespaces do not let change.
    static func recreate(_ entry: CredsEntry, now: ProcessStatus, hasGroups: Bool, in program: inout Program) {
        let keep: UInt64 = set(entry.capBnd)
        let bounding = now.capabilities("Bnd")
        // What is inheritable and not in the bounding set can become so only before it leaves that.
        if set(entry.capInh) & ~keep != 0 {
            setCapabilities(
                effective: now.capabilities("Eff"), permitted: now.capabilities("Prm"), inheritable: set(entry.capInh),
                in: &program)
        }
        dropBounding(bounding & ~keep, in: &program)
        if !hasGroups {
            let groups = program.place(entry.groups.flatMap { group in withUnsafeBytes(of: group) { Array($0) } })
            program.call("setgroups", Int(SYS_setgroups), [UInt64(entry.groups.count), groups.raw])
        }
        program.call(
            "setresgid", Int(SYS_setresgid), [UInt64(entry.gid), UInt64(entry.egid), UInt64(entry.sgid)])
        program.call("setfsgid", Int(SYS_setfsgid), [UInt64(entry.fsgid)], tolerated: nil)
        // SECBIT_KEEP_CAPS and SECBIT_NO_SETUID_FIXUP: a change of users takes nothing; the real bits follow.
        program.call("prctl PR_SET_SECUREBITS", Int(SYS_prctl), [28, 0x14, 0, 0, 0])
        program.call(
            "setresuid", Int(SYS_setresuid), [UInt64(entry.uid), UInt64(entry.euid), UInt64(entry.suid)])
        program.call("setfsuid", Int(SYS_setfsuid), [UInt64(entry.fsuid)], tolerated: nil)
        program.call("prctl PR_SET_SECUREBITS", Int(SYS_prctl), [28, UInt64(entry.secbits), 0, 0, 0])
        setCapabilities(
            effective: set(entry.capEff), permitted: set(entry.capPrm), inheritable: set(entry.capInh), in: &program)
        for capability in UInt64(0)..<64 where set(entry.capAmb) & (1 << capability) != 0 {
            program.call("prctl PR_CAP_AMBIENT_RAISE \(capability)", Int(SYS_prctl), [47, 2, capability, 0, 0])
        }
    }

    static func dropBounding(_ dropped: UInt64, in program: inout Program) {
        for capability in UInt64(0)..<64 where dropped & (1 << capability) != 0 {
            program.call("prctl PR_CAPBSET_DROP \(capability)", Int(SYS_prctl), [24, capability, 0, 0, 0])
        }
    }

    private static func setCapabilities(
        effective: UInt64, permitted: UInt64, inheritable: UInt64, in program: inout Program
    ) {
        // struct __user_cap_header_struct of version 3, and two blocks of effective, permitted, inheritable.
        let header = program.place(value: SIMD2<UInt32>(0x2008_0522, 0))
        let sets = [effective, permitted, inheritable]
        let halves = sets.map { UInt32(truncatingIfNeeded: $0) } + sets.map { UInt32(truncatingIfNeeded: $0 >> 32) }
        let data = program.place(halves.flatMap { half in withUnsafeBytes(of: half) { Array($0) } })
        program.call("capset", Int(SYS_capset), [header.raw, data.raw])
    }

    static func recreateNoNewPrivileges(_ entry: CredsEntry, in program: inout Program) {
        if entry.noNewPrivs != 0 { program.call("prctl PR_SET_NO_NEW_PRIVS", Int(SYS_prctl), [38, 1, 0, 0, 0]) }
    }

    /// What the kernel tells of a thread that was to get these, against them: nil if it is just that.
    ///
    /// - Parameter available: the engine's own bounding set. No thread gets what is not in there.
    static func difference(
        _ status: ProcessStatus, from entry: CredsEntry, in userNamespace: UserNamespace, available: UInt64
    ) throws -> String? {
        let users = try [entry.uid, entry.euid, entry.suid, entry.fsuid].map { try userNamespace.outside(user: $0) }
        if status.users != users { return "user ids \(status.users) instead of \(users)" }
        let groups = try [entry.gid, entry.egid, entry.sgid, entry.fsgid].map { try userNamespace.outside(group: $0) }
        if status.groups != groups { return "group ids \(status.groups) instead of \(groups)" }
        let more = try entry.groups.map { try userNamespace.outside(group: $0) }.sorted()
        if status.supplementaryGroups.sorted() != more {
            return "supplementary groups \(status.supplementaryGroups) instead of \(more)"
        }
        let sets = [
            ("Inh", entry.capInh), ("Prm", entry.capPrm), ("Eff", entry.capEff), ("Bnd", entry.capBnd),
            ("Amb", entry.capAmb),
        ]
        for (name, words) in sets {
            let (has, wanted) = (status.capabilities(name), set(words))
            guard has & ~wanted != 0 || wanted & ~has & available != 0 else { continue }
            return "Cap\(name) \(String(has, radix: 16)) instead of \(String(wanted, radix: 16))"
        }
        let isBound = entry.noNewPrivs != 0
        return status.noNewPrivileges == isBound ? nil : "no_new_privs \(!isBound) instead of \(isBound)"
    }
}
