import LinuxSystem
import TestSupport
import Testing

/// A root directory with every way out of it that a hostile file system may have; outside lies a file called `secret`.
@Suite struct PathTests {
    private let scratch = Scratch()
    private let root: CInt

    init() throws {
        try scratch.makeDirectory("root")
        try scratch.makeDirectory("root/inner")
        try scratch.put("secret", "outside")
        try scratch.put("root/secret", "inside")
        try scratch.link("root/absolute", to: "\(scratch.path)/secret")
        try scratch.link("root/up", to: "../secret")
        try scratch.link("root/inner/far", to: "../../../../../../../../secret")
        try scratch.link("root/top", to: "/secret")
        try scratch.link("root/inner/directory", to: "/")
        try scratch.link("root/itself", to: "itself")
        root = try scratch.open("root").release()
    }

    private func text(_ path: String, _ resolve: Resolve) throws -> String {
        String(decoding: try readFile(at: root, path, resolve: resolve), as: UTF8.self)
    }

    /// Each of these leads out when it is walked without care.
    @Test(arguments: ["../secret", "up", "inner/far"]) func theWaysOutWork(path: String) throws {
        guard path != "inner/far" else { return #expect(errno { _ = try text(path, []) } == .noSuchFileOrDirectory) }
        #expect(try text(path, []) == "outside")
    }

    @Test(arguments: [
        "secret", "/secret", "../secret", "/../../secret", "inner/../../secret", "up", "inner/far", "top",
        "inner/directory/secret", "inner/directory/../secret",
    ])
    func inRootNothingLeadsOut(path: String) throws {
        #expect(try text(path, .inRoot) == "inside")
    }

    @Test func inRootAnAbsoluteLinkIsTakenFromTheRoot() {
        // The link's target does not exist beneath the root, although it does on this machine.
        #expect(errno { _ = try text("absolute", .inRoot) } == .noSuchFileOrDirectory)
        #expect(errno { _ = try text("itself", .inRoot) } == .tooManySymbolicLinkLevels)
    }

    @Test(arguments: ["../secret", "up", "top", "/secret", "inner/far"]) func beneathRefuses(path: String) {
        #expect(errno { _ = try text(path, .beneath) } == .improperLink)
    }

    @Test func noSymlinksAndNoMagicLinks() throws {
        #expect(errno { _ = try text("top", .noSymlinks) } == .tooManySymbolicLinkLevels)
        #expect(errno { _ = try text("inner/directory/secret", .noSymlinks) } == .tooManySymbolicLinkLevels)
        #expect(try text("inner/../secret", [.noSymlinks, .beneath]) == "inside")
        let link = "/proc/self/fd/\(root)"
        #expect(
            errno { _ = try openAt(AT_FDCWD, link, O_RDONLY, resolve: .noMagicLinks) } == .tooManySymbolicLinkLevels)
        _ = try openAt(AT_FDCWD, link, O_RDONLY)
    }

    @Test func whatIsOpenedIsCloseOnExec() throws {
        let file = try openAt(root, "secret", O_RDONLY)
        #expect(clinux_fcntl(file.raw, F_GETFD, 0) & FD_CLOEXEC != 0)
    }

    @Test func aMissingFileIsNamed() {
        do {
            _ = try openAt(root, "no/such", O_RDONLY)
            Issue.record("opened")
        } catch {
            #expect(error.errno == .noSuchFileOrDirectory)
            #expect(error.description == "open no/such: no such file or directory")
        }
    }
}
