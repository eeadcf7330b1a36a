import CheckpointImages
import Testing

@testable import ContainerRuntime

@Suite struct CriuAnswerTests {
    private let kernel = KernelRelease("6.18.5-cloud-amd64")

    @Test func versionAndRefusals() throws {
        #expect(try CriuAnswer.text(to: ["--version"], version: "9").hasPrefix("Version: 4.2\nstasis 9"))
        #expect(try CriuAnswer.text(to: ["-V"], version: "9") == CriuAnswer.text(to: ["--version"], version: "9"))
        for words in [[], ["dump", "-t", "1"], ["swrk", "x"], ["swrk"], ["--version", "check"]] {
            #expect(throws: RuntimeError.self) { try CriuAnswer.text(to: words, version: "9") }
        }
    }

    @Test func features() throws {
        #expect(try CriuAnswer.check([], on: kernel) == "Looks good.\n")
        #expect(try CriuAnswer.check(["--feature", "timens", "--feature=timer_cr_ids"], on: kernel) == "Looks good.\n")
        #expect(try CriuAnswer.check(["--feature", "list"], on: kernel).contains(" mem_dirty_track "))
        #expect(try CriuAnswer.check(["--feature", "mem_dirty_track"], on: kernel) == "Looks good.\n")
        for name in ["lazy_pages", "network_lock_nftables", "no-such-thing"] {
            #expect(throws: RuntimeError.self) { try CriuAnswer.check(["--feature", name], on: kernel) }
        }
        // An older kernel lets the engine do less.
        let old = KernelRelease("5.4.0")
        #expect(throws: RuntimeError.self) { try CriuAnswer.check(["--feature", "get_rseq_conf"], on: old) }
        // What can be tried is tried, whatever the kernel calls itself.
        #expect(try CriuAnswer.check(["--feature", "kcmp"], on: KernelRelease("1.0")) == "Looks good.\n")
        #expect(throws: RuntimeError.self) { try CriuAnswer.check(["--extra"], on: kernel) }
    }

    @Test func requests() throws {
        // The very bytes that go-criu exchanges with CRIU.
        let version = CriuAnswer.response(to: try CriuReq(serializedBytes: [0x08, 0x0a] as [UInt8]))
        #expect(version.success && version.version.majorNumber == 4 && version.version.minorNumber == 2)
        // go-criu takes a gitid for a release between two versions.
        #expect(!version.version.hasGitid)
        let features = CriuAnswer.response(
            to: try CriuReq(serializedBytes: [0x08, 0x09, 0x2a, 0x02, 0x08, 0x01] as [UInt8]))
        #expect(features.success && features.features.memTrack)
        #expect(!features.features.hasLazyPages)
        var dump = CriuReq()
        dump.type = .dump
        for refused in [CriuAnswer.response(to: dump), CriuAnswer.response(to: nil)] {
            #expect(!refused.success && refused.crErrmsg.contains("stasis"))
        }
    }
}
