package struct Mount: Codable, Equatable, Sendable {
    /// Inside the container; a relative one is taken from `/`.
    package var destination: String
    package var type: String?
    /// A device, a file system's name, or for a bind a host path (relative to the bundle).
    package var source: String?
    @OrEmpty package var options: [String] = []
    @OrEmpty package var uidMappings: [IDMapping] = []
    @OrEmpty package var gidMappings: [IDMapping] = []

    package init(destination: String, type: String? = nil, source: String? = nil, options: [String] = []) {
        self.destination = destination
        self.type = type
        self.source = source
        self.options = options
    }
}

/// One line of `/proc/PID/uid_map`. user_namespaces(7).
package struct IDMapping: Codable, Equatable, Sendable {
    package var containerID: UInt32
    package var hostID: UInt32
    package var size: UInt32

    package init(containerID: UInt32, hostID: UInt32, size: UInt32) {
        self.containerID = containerID
        self.hostID = hostID
        self.size = size
    }
}
