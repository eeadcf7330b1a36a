import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Start: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Execute the user defined process in a created container.")

    @OptionGroup var id: ContainerArgument

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.id = ContainerArgument.read(values)
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        try runtime.container(id.containerID).start(notifySocket: environmentVariable("NOTIFY_SOCKET"))
        return 0
    }
}
