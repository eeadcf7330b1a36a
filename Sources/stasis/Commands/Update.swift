import ArgumentParser
import ContainerRuntime
import LinuxSystem
import OCISpec

struct Update: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Update container resource constraints.")

    @Option(
        name: .shortAndLong,
        help: "File with the resources to update, or '-' for the standard input; other flags are ignored then.")
    var resources: String?
    @Option(help: "Weight of block I/O (10-1000).") var blkioWeight: String?
    @Option(help: "Period of the CPU quota in microseconds.") var cpuPeriod: String?
    @Option(help: "CPU time in each period in microseconds; -1 is no limit.") var cpuQuota: String?
    @Option(help: "CPU time beyond the quota that may be saved up, in microseconds.") var cpuBurst: String?
    @Option(help: "CPU shares: weight against other containers.") var cpuShare: String?
    @Option(help: "Period of the realtime runtime in microseconds.") var cpuRtPeriod: String?
    @Option(help: "Realtime CPU time in each period in microseconds.") var cpuRtRuntime: String?
    @Option(help: "CPUs to use.") var cpusetCpus: String?
    @Option(help: "Memory nodes to use.") var cpusetMems: String?
    @Option(help: "1 makes the container run only when nothing else wants the CPU.") var cpuIdle: String?
    @Option(help: .hidden) var kernelMemory: String?
    @Option(help: .hidden) var kernelMemoryTcp: String?
    @Option(help: "Memory limit in bytes, or with a unit as in 64m; -1 is no limit.") var memory: String?
    @Option(help: "Memory reservation or soft limit.") var memoryReservation: String?
    @Option(help: "Limit of memory and swap together; -1 is no limit.") var memorySwap: String?
    @Option(help: "Maximum number of processes; -1 is no limit.") var pidsLimit: String?
    @Option(help: "Intel RDT/CAT L3 cache schema.") var l3CacheSchema: String?
    @Option(help: "Intel RDT/MBA memory bandwidth schema.") var memBwSchema: String?
    @OptionGroup var id: ContainerArgument

    private var flags: [String: String?] {
        [
            "blkio-weight": blkioWeight, "cpu-period": cpuPeriod, "cpu-quota": cpuQuota, "cpu-burst": cpuBurst,
            "cpu-share": cpuShare, "cpu-rt-period": cpuRtPeriod, "cpu-rt-runtime": cpuRtRuntime,
            "cpuset-cpus": cpusetCpus, "cpuset-mems": cpusetMems, "cpu-idle": cpuIdle, "kernel-memory": kernelMemory,
            "kernel-memory-tcp": kernelMemoryTcp, "memory": memory, "memory-reservation": memoryReservation,
            "memory-swap": memorySwap, "pids-limit": pidsLimit, "l3-cache-schema": l3CacheSchema,
            "mem-bw-schema": memBwSchema,
        ]
    }

    func perform(_ runtime: Runtime) throws -> CInt {
        // An unknown container is to be said before anything about its limits.
        _ = try runtime.container(id.containerID)
        let change =
            if let file = resources.nonEmpty { try readResources(file) } else { try ResourceFlags(flags).resources() }
        try ContainerRuntime.Container.update(id.containerID, in: runtime.store, with: change)
        return 0
    }
}
