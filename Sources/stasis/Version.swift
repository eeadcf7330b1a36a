import ContainerRuntime
import OCISpec

enum Version {
    static let number = "0.1.0"

    /// go-runc wants the first line to read `NAME version NUMBER`, docker parses the others.
    static var text: String {
        """
        stasis version \(number)
        commit: \(commit)
        spec: \(Spec.version)
        """
    }

    /// Filled in by packaging.
    private static let commit = "unreleased"
}
