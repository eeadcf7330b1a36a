import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Create: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Create a container.")

    @OptionGroup var creation: CreationOptions
    @OptionGroup var id: ContainerArgument

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.creation = CreationOptions.read(values)
        command.id = ContainerArgument.read(values)
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        try failing(as: "runc create") { () throws(RuntimeError) in
            let request = try creation.request(id.containerID, runtime, .command)
            try checkConsole(
                hasTerminal: request.spec.process?.terminal == true, socket: request.consoleSocket, detach: true)
            var staged = try createContainer(request)
            do throws(RuntimeError) {
                try staged.publish()
            } catch {
                throw staged.abandon(because: error)
            }
            return 0
        }
    }
}
