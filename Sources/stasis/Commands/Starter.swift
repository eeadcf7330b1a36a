import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Starter: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "spec", abstract: "Create a new specification file.")

    @Option(name: .shortAndLong, help: "Path to the root of the bundle directory.") var bundle = "."
    @Flag(help: "Generate a configuration for a rootless container.") var rootless = false

    func perform(_ runtime: Runtime) throws -> CInt {
        try writeStarterBundle(in: bundle.isEmpty ? "." : bundle, rootless: rootless)
        return 0
    }
}
