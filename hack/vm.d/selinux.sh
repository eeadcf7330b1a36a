# SELinux without a policy, permissive: the kernel takes labels and enforces nothing. What is seen here is that the
# runtime hands them over where the kernel wants them.

check_module_is_on() { [ -e /sys/fs/selinux/enforce ]; }

check_labels_are_taken() {
    config '.process.selinuxLabel = "kernel"'
    start
    [ "$(tr -d '\0' <"/proc/$(pid)/attr/current")" = kernel ]
    runtime exec --process-label kernel $id true
}

# Mount contexts need a policy.
check_mount_label_reaches_the_kernel() {
    config '.linux.mountLabel = "kernel"'
    refused 'context=kernel' runtime run -b "$bundle" $id
}

check_apparmor_profile_is_refused_where_it_is_off() {
    config '.process.apparmorProfile = "docker-default"'
    refused 'apparmor is not enabled' runtime run -b "$bundle" $id
}
