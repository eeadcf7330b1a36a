import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct StateReport: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "state", abstract: "Output the state of a container.")

    @OptionGroup var id: ContainerArgument

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.id = ContainerArgument.read(values)
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        show(try runtime.container(id.containerID).report().json.text(indent: "  "), newline: false)
        return 0
    }
}
