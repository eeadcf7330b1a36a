import ContainerRuntime
import LinuxSystem
import OCISpec

enum Version {
    static let number = "0.1.0"

    /// go-runc wants the first line to read `NAME version NUMBER`, docker parses the others.
    static var text: String {
        """
        stasis version \(number)
        commit: \(String(cString: clinux_built_from()))
        spec: \(Spec.version)
        libseccomp: \(SeccompLibrary.version)
        """
    }
}
