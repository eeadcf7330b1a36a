/// Which security modules the running kernel enforces.
public enum SecurityModules {
    public static let hasAppArmor = (try? readText("/sys/module/apparmor/parameters/enabled"))?.hasPrefix("Y") == true

    /// Its file system is there only if it is switched on.
    public static let hasSELinux = (try? status("/sys/fs/selinux/enforce")) != nil
}
