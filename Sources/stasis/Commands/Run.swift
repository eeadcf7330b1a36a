import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Run: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "Create and run a container.")

    @OptionGroup var creation: CreationOptions
    @Flag(name: .shortAndLong, help: "Detach from the container's process.") var detach = false
    @Flag(help: "Do not delete the container after it exits.") var keep = false
    @Flag(help: "Do not reap reparented processes.") var noSubreaper = false
    @OptionGroup var id: ContainerArgument

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.creation = CreationOptions.read(values)
        command.detach = values.isOn("detach")
        command.keep = values.isOn("keep")
        command.noSubreaper = values.isOn("no-subreaper")
        command.id = ContainerArgument.read(values)
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        try failing(as: "runc run") { () throws(RuntimeError) in
            var options = RunOptions()
            options.detach = detach
            options.keep = keep
            options.noSubreaper = noSubreaper
            return try runContainer(try creation.request(id.containerID, runtime, .commandAtOnce), options)
        }
    }
}
