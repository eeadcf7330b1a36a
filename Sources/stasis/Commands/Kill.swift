import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Kill: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill", abstract: "Send the specified signal (default: SIGTERM) to the container's init process.")

    @Flag(name: .shortAndLong, help: "Send the signal to all processes inside the container.") var all = false
    @OptionGroup var id: ContainerArgument
    @Argument(help: "The signal, by name or number.") var signal = "SIGTERM"

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.all = values.isOn("all")
        command.id = ContainerArgument.read(values)
        command.signal = values.arguments.dropFirst().first ?? "SIGTERM"
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        let container = try runtime.container(id.containerID)
        try container.signal(try Signals.number(signal), toAll: all)
        return 0
    }
}
