import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Update: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Update container resource constraints.")

    @Option(name: .shortAndLong, help: "File with the resources to update, or '-' for the standard input.")
    var resources: String?
    @OptionGroup var id: ContainerArgument

    func perform(_ runtime: Runtime) throws -> CInt { throw notBuiltYet("update") }
}
