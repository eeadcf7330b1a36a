import Glibc

/// The image that clients run: Debian's busybox, made without a registry.
enum ClientImage {
    /// An archive of the OCI layout, with one image, `bb`.
    static var layout: String { get throws(Failure) { try made("bb-oci.tar") } }
    /// The same for `docker load`, as `bb:latest`.
    static var dockerArchive: String { get throws(Failure) { try made("bb-docker.tar") } }

    static func fillRoot(_ rootfs: String) throws(Failure) {
        for name in ["bin", "etc", "dev", "proc", "sys", "tmp", "run", "root", "state"] {
            try Files.makeFolder("\(rootfs)/\(name)", mode: name == "tmp" ? 0o777 : 0o755)
        }
        try Bundle.fill(rootfs, with: .busybox)
        try Files.write("root:x:0:0:root:/root:/bin/sh\n", to: rootfs + "/etc/passwd")
    }

    /// Made now unless that was done since this file changed.
    private static func made(_ name: String) throws(Failure) -> String {
        let folder = Runtime.packageFolder + "/.build/clients"
        if Files.changed(#filePath) >= Files.changed("\(folder)/\(name)") { try make(folder) }
        return "\(folder)/\(name)"
    }

    private static func make(_ folder: String) throws(Failure) {
        let work = "\(folder)/\(getpid())"
        let image = "\(work)/oci:bb"
        defer { _ = try? Command("rm", "-rf", "--one-file-system", work).run() }
        try Files.makeFolder(work)
        try Command("umoci", "init", "--layout", work + "/oci").run().succeeded()
        try Command("umoci", "new", "--image", image).run().succeeded()
        try Command("umoci", "unpack", "--image", image, work + "/bundle").run().succeeded()
        try fillRoot(work + "/bundle/rootfs")
        try Command("umoci", "repack", "--image", image, work + "/bundle").run().succeeded()
        try Command("tar", "-C", work + "/oci", "-cf", work + "/bb-oci.tar", ".").run().succeeded()
        try Command("skopeo", "copy", "oci:" + image, "docker-archive:\(work)/bb-docker.tar:bb:latest").run()
            .succeeded()
        for name in ["bb-oci.tar", "bb-docker.tar"] {
            try check(rename("\(work)/\(name)", "\(folder)/\(name)"), "rename \(work)/\(name)")
        }
    }
}
