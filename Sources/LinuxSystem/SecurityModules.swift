/// Which security modules the running kernel enforces.
public enum SecurityModules {
    public static let hasAppArmor = (try? readText("/sys/module/apparmor/parameters/enabled"))?.hasPrefix("Y") == true

    /// Its file system is there only if it is switched on.
    public static let hasSELinux = (try? status("/sys/fs/selinux/enforce")) != nil

    /// By the version that landlock_create_ruleset(2) tells; it fails where the kernel has no Landlock, or has it switched off.
    public static let hasLandlock = clinux_syscall(Int(SYS_landlock_create_ruleset), 0, 0, 1, 0, 0, 0) > 0
}
