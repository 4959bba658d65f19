//! Tells one start of the machine from the next. Nothing is kept here.
//!
//! Called by whoever left notes on the disk that hold only while the machine stays up.

/// A text that is another after each start of the machine. Where it cannot be told, it is another at each call.
#[cfg(not(target_os = "macos"))]
pub fn id() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    told.map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

/// The same; sysctl(3), `kern.bootsessionuuid`.
#[cfg(target_os = "macos")]
pub fn id() -> String {
    crate::sysctl::text("kern.bootsessionuuid").unwrap_or_else(unknown)
}

fn unknown() -> String {
    format!("{:?}", std::time::SystemTime::now())
}
