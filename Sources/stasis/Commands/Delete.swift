import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Delete: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete any resources held by the container.")

    @Flag(name: .shortAndLong, help: "Forcibly delete the container if it is still running (uses SIGKILL).")
    var force = false
    @OptionGroup var id: ContainerArgument

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.force = values.isOn("force")
        command.id = ContainerArgument.read(values)
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        try Container.delete(id.containerID, in: runtime.store, force: force)
        return 0
    }
}
