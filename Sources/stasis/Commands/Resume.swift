import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Resume: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Resume all processes that have been previously paused.")

    @OptionGroup var id: ContainerArgument

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.id = ContainerArgument.read(values)
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        let lock = try runtime.store.lock(id.containerID)
        try runtime.container(id.containerID).resume()
        _ = lock
        return 0
    }
}
