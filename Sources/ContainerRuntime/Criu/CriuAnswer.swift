import CheckpointImages
import Glibc
import LinuxSystem

/// What the program answers when it is called by the name `criu`.
///
/// podman, CRI-O and containerd's CRI ask a program of that name what can be checkpointed before they call the runtime,
/// and do it over go-criu. Checkpoints themselves are the runtime's: nothing else is answered.
package enum CriuAnswer {
    /// Whose images the engine reads and writes: clients compare it with the oldest CRIU that they take.
    static let level = (major: 4, minor: 2)

    /// Answers the words that follow the name; the text is for standard output.
    ///
    /// - Throws: What belongs on standard error, with the exit code 1, as CRIU's.
    package static func text(to words: [String], version: String) throws(RuntimeError) -> String {
        switch words.first {
        case "--version" where words.count == 1, "-V" where words.count == 1:
            return "Version: \(level.major).\(level.minor)\nstasis \(version), for its own engine\n"
        case "check":
            return try check(words.dropFirst(), on: runningKernel())
        case "swrk" where words.count == 2:
            guard let socket = CInt(words[1]), socket >= 0 else {
                throw RuntimeError("swrk: no such socket: \(words[1])")
            }
            try serve(socket)
            return ""
        default:
            throw RuntimeError(
                "this is stasis, not CRIU: it answers to `criu --version`, `criu check [--feature NAME]` and "
                    + "`criu swrk FD`; a container is checkpointed with `stasis checkpoint`")
        }
    }

    private static func runningKernel() throws(RuntimeError) -> KernelRelease {
        do {
            return KernelRelease(try readText("/proc/sys/kernel/osrelease"))
        } catch {
            throw RuntimeError("\(error)")
        }
    }

    // MARK: check

    static func check(_ words: ArraySlice<String>, on kernel: KernelRelease) throws(RuntimeError) -> String {
        if words.isEmpty {
            let missing = KernelFeature.missing.filter(\.isNeeded)
            guard missing.isEmpty else {
                let names = missing.map { "\($0) (\($0.origin))" }.joined(separator: ", ")
                throw RuntimeError("this kernel lacks what every checkpoint needs: \(names)")
            }
            return "Looks good.\n"
        }
        var names: [String] = []
        var rest = words
        while let word = rest.popFirst() {
            if word == "--feature", let name = rest.popFirst() {
                names.append(name)
            } else if word.hasPrefix("--feature=") {
                names.append(String(word.dropFirst(10)))
            } else {
                throw RuntimeError("check: stasis takes --feature NAME only, not \(word)")
            }
        }
        if names == ["list"] { return CriuFeature.all.map(\.name).joined(separator: " ") + "\n" }
        for name in names {
            guard let feature = CriuFeature.all.first(where: { $0.name == name }) else {
                throw RuntimeError("unknown feature: \(name)")
            }
            if !feature.isThere(on: kernel) { throw RuntimeError("stasis's engine cannot do \(name) here") }
        }
        return "Looks good.\n"
    }

    // MARK: swrk

    /// Answers requests on a SOCK_SEQPACKET socket until the other end closes it.
    private static func serve(_ socket: CInt) throws(RuntimeError) {
        do {
            while true {
                let message = try receiveMessage(socket, limit: 64 << 10)
                if message.bytes.isEmpty { return }
                let request = try? CriuReq(serializedBytes: message.bytes)
                let answer = response(to: message.truncated ? nil : request)
                try sendMessage(socket, try answer.serializedBytes())
                if request?.keepOpen != true { return }
            }
        } catch {
            throw RuntimeError("swrk: \(error)")
        }
    }

    static func response(to request: CriuReq?) -> CriuResp {
        var response = CriuResp()
        response.type = request?.type ?? .empty
        response.success = true
        switch request?.type {
        case .version:
            response.version.majorNumber = Int32(level.major)
            response.version.minorNumber = Int32(level.minor)
            response.version.name = "stasis"
        case .featureCheck:
            // Those that were asked for.
            let asked = request?.features ?? CriuFeatures()
            // Pages are compared, which needs nothing of the kernel.
            if asked.hasMemTrack { response.features.memTrack = true }
            if asked.hasLazyPages { response.features.lazyPages = false }
            if asked.hasPidfdStore { response.features.pidfdStore = false }
            if !response.hasFeatures { response.features = CriuFeatures() }
        default:
            response.success = false
            response.crErrno = ENOTSUP
            response.crErrmsg = "this is stasis, not CRIU: containers are checkpointed and restored by the runtime"
        }
        return response
    }
}
