import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Pause: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Suspend all processes inside the container.")

    @OptionGroup var id: ContainerArgument

    static func read(_ values: FlagValues) -> Self {
        var command = Self()
        command.id = ContainerArgument.read(values)
        return command
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        let lock = try runtime.store.lock(id.containerID)
        try runtime.container(id.containerID).pause()
        _ = lock
        return 0
    }
}
