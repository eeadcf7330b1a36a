/// Programs that run at points of the container's life. runtime-spec config.md, "POSIX-platform Hooks".
package struct Hooks: Codable, Equatable, Sendable {
    /// Deprecated, but what GPU and network hooks of the field still use.
    @OrEmpty package var prestart: [Hook] = []
    @OrEmpty package var createRuntime: [Hook] = []
    @OrEmpty package var createContainer: [Hook] = []
    @OrEmpty package var startContainer: [Hook] = []
    @OrEmpty package var poststart: [Hook] = []
    @OrEmpty package var poststop: [Hook] = []

    package init() {}
}

package struct Hook: Codable, Equatable, Sendable {
    package var path: String
    @OrEmpty package var args: [String] = []
    /// Absent and empty are not the same.
    package var env: [String]?
    /// Seconds.
    package var timeout: Int?

    package init(path: String, args: [String] = []) {
        self.path = path
        self.args = args
    }
}
