import CheckpointImages
import LinuxSystem
import Tracee

/// Whom audit(7) holds responsible for what a process does: /proc/PID/loginuid. The kernel gives the number of the audit
/// session with it, anew.
enum LoginUser: ProcessKind {
    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {
        if let user = capture(process.task) { images.task.loginuid = user }
    }

    /// Of nobody who has logged in.
    private static let unset = UInt32.max

    /// As the host sees it; `nil` where nobody has logged in, or where the kernel has no audit.
    static func capture(_ process: pid_t) -> UInt32? {
        guard let text = try? readText("/proc/\(process)/loginuid"), let user = UInt32(text[...].trimmed), user != unset
        else { return nil }
        return user
    }

    /// Anybody may set it once; to change it takes CAP_AUDIT_CONTROL, which config.json must grant.
    ///
    /// - Returns: why it is not what it was, if it is not.
    static func recreate(
        _ plan: ProcessPlan, _ policy: RestorePolicy, _ userNamespace: UserNamespace, area: InjectedArea
    ) throws -> String? {
        for stub in [plan.stubs[0]] + plan.early.values {
            if let difference = try recreate(plan, by: stub, policy, userNamespace, area: area) { return difference }
        }
        return nil
    }

    private static func recreate(
        _ plan: ProcessPlan, by stub: Stub, _ policy: RestorePolicy, _ userNamespace: UserNamespace, area: InjectedArea
    ) throws -> String? {
        let now = capture(stub.tid)
        guard plan.task.hasLoginuid, plan.task.loginuid != unset, now != plan.task.loginuid else { return nil }
        let wanted = "\(plan): audit's login user (loginuid) was \(plan.task.loginuid)"
        if let now, policy.capabilities & (1 << 30) == 0 {
            return "\(wanted), is \(now): config.json does not grant CAP_AUDIT_CONTROL"
        }
        guard let user = try? userNamespace.inside(user: plan.task.loginuid) else {
            return "\(wanted), who has no place in the container's user namespace"
        }
        var program = Program(area.main)
        let path = program.place(path: "/proc/thread-self/loginuid")
        let text = Array("\(user)".utf8)
        let content = program.place(text)
        let file = plan.freeDescriptor(of: stub.thread)
        // In a user namespace its own files in /proc are its own only so.
        program.call("prctl PR_SET_DUMPABLE", Int(SYS_prctl), [4, 1, 0, 0, 0])
        program.call(
            "open /proc/thread-self/loginuid", Int(SYS_openat),
            [UInt64(bitPattern: Int64(AT_FDCWD)), path.raw, UInt64(O_WRONLY)], expecting: Int(file))
        program.call("set loginuid", Int(SYS_write), [file, content.raw, UInt64(text.count)])
        program.call("close", Int(SYS_close), [file], tolerated: nil)
        program.call("prctl PR_SET_DUMPABLE", Int(SYS_prctl), [4, 0, 0, 0, 0])
        do throws(TraceeError) { try stub.run(program, agent: area.base) } catch {
            guard case .refused(_, let call, let errno) = error else { throw error }
            return "\(wanted): \(call): \(errno)"
        }
        return nil
    }
}
